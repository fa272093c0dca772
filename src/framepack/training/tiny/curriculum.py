"""What the transformer is taught, in order: the same task, with more of the world each time.

A model this small finds the camera words only when little else competes for its attention.
So plain captions and small pictures come first, the hard motions second, and the rest of the
world last, when what moves where is settled and only has to be drawn larger.
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
        turns: share of camera moves with history that change, where the section meets it, from or
            into another motion, as sections with prompts of their own do.
        siblings: share of batches that hold families of sprites, alike but for their shapes and
            with the same noise, so that only what the shape changes is left to learn from.
        still: share of sprites that stand still, beyond those that do so anyway.
        guidance: share of what the caption changes in the prediction of a sprite that is added to
            its target, so that the model answers as classifier-free guidance of about
            1 / (1 - share) would make it, at no cost when it generates. Not of camera moves:
            section after section they grew harsh.
    """

    until: float
    full_size: float
    plain: float
    sprites: float
    ends: float
    sections: int
    turning: float = 0.0
    still: float = 0.0
    turns: float = 0.0
    siblings: float = 0.0
    guidance: float = 0.0


CURRICULUM = (
    # Nine plain sentences; the pans come first.
    Lesson(until=0.18, full_size=0.0, plain=1.0, sprites=0.0, ends=0.0, sections=1),
    # Zooms and rotations alone. They need what pans do not, the place of a pixel in the frame,
    # and in 3000 steps among everything else they were not learnt.
    Lesson(until=0.32, full_size=0.0, plain=1.0, sprites=0.0, ends=0.0, sections=0, turning=0.85),
    # Sprites alone, most of them in one place: among moving ones, 2000 steps taught colour,
    # ground and motion but no shape; in one place shapes were learnt within 500.
    Lesson(
        until=0.40,
        full_size=0.0,
        plain=1.0,
        sprites=0.9,
        ends=0.0,
        sections=0,
        turning=0.4,
        still=0.6,
    ),
    # The same at the default size, where batches hold a quarter as many, in families: with them
    # 1000 steps raised the share of right shapes from 0.56 to 0.80, without them 1400 from 0.42
    # to 0.56.
    Lesson(
        until=0.48,
        full_size=0.9,
        plain=1.0,
        sprites=0.9,
        ends=0.0,
        sections=1,
        still=0.6,
        siblings=0.9,
    ),
    # The same on the move: 1300 steps raised the share of right shapes in whole videos from 0.64
    # to 0.73. It was all there but faint, and guidance in the targets brought it out: 0.97 after
    # 600 steps more.
    Lesson(
        until=0.58,
        full_size=0.85,
        plain=0.5,
        sprites=0.3,
        ends=0.2,
        sections=3,
        turning=0.3,
        turns=0.1,
        siblings=0.8,
        guidance=0.5,
    ),
    # Everything: other words, end pictures, long clips.
    Lesson(
        until=1.00,
        full_size=0.6,
        plain=0.3,
        sprites=0.28,
        ends=0.25,
        sections=4,
        turning=0.35,
        turns=0.2,
        siblings=0.3,
        guidance=0.5,
    ),
)


def lesson_at(progress: float) -> Lesson:
    """The lesson at a share 0..1 of the training."""
    return next((lesson for lesson in CURRICULUM if progress < lesson.until), CURRICULUM[-1])
