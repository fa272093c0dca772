"""What the transformer is taught, in order: the same task, with more of the world each time.

A model this small finds the camera words only when little else competes for its attention.
So plain captions and small pictures come first, the rest of the world second, and the
default size last, when what moves where is settled and only has to be drawn larger.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """What the batches of one part of the training hold.

    Attributes:
        until: where the lesson ends, as a share of all steps.
        full_size: share of batches at the default resolution; the rest have a quarter of it.
        plain: share of camera captions that are the first phrase of their motion and no more.
        sprites: share of sprites among clips without an end picture.
        ends: share of clips with an end picture among sections that can have one.
        sections: the most sections between the start of a clip and the one to be made.
    """

    until: float
    full_size: float
    plain: float
    sprites: float
    ends: float
    sections: int


CURRICULUM = (
    Lesson(until=0.28, full_size=0.0, plain=1.0, sprites=0.0, ends=0.0, sections=1),
    Lesson(until=0.50, full_size=0.05, plain=0.35, sprites=0.22, ends=0.25, sections=4),
    Lesson(until=1.00, full_size=0.75, plain=0.25, sprites=0.25, ends=0.3, sections=4),
)


def lesson_at(progress: float) -> Lesson:
    """The lesson at a share 0..1 of the training."""
    return next((lesson for lesson in CURRICULUM if progress < lesson.until), CURRICULUM[-1])
