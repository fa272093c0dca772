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
        turning: share of camera moves drawn from zooms and rotations alone, rather than from all.
    """

    until: float
    full_size: float
    plain: float
    sprites: float
    ends: float
    sections: int
    turning: float = 0.0


CURRICULUM = (
    # Nine plain sentences.
    Lesson(until=0.28, full_size=0.0, plain=1.0, sprites=0.0, ends=0.0, sections=1),
    # Other words, sprites, end pictures, longer clips. Pans are known by now.
    Lesson(until=0.45, full_size=0.05, plain=0.35, sprites=0.22, ends=0.25, sections=4),
    # Zooms and rotations, which move little at a time, and more so in small pictures.
    Lesson(until=0.75, full_size=0.45, plain=0.75, sprites=0.1, ends=0.12, sections=2, turning=0.5),
    # Everything, mostly at the default size.
    Lesson(until=1.0, full_size=0.75, plain=0.25, sprites=0.25, ends=0.3, sections=4, turning=0.2),
)


def lesson_at(progress: float) -> Lesson:
    """The lesson at a share 0..1 of the training."""
    return next((lesson for lesson in CURRICULUM if progress < lesson.until), CURRICULUM[-1])
