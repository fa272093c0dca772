"""What the clips are called: several phrasings of each motion, and words that mean nothing.

Prompts by users hold far more words than the motions this small model knows. Captions
therefore often carry an unrelated description, so that the motion words are found among
words to be ignored.
"""

import numpy as np

from framepack.training.tiny.world import Sprite

CAMERA_PHRASES: dict[str, tuple[str, ...]] = {
    "pan left": (
        "the camera pans left",
        "pan left",
        "the camera moves left",
        "camera panning to the left",
        "the camera slowly pans to the left",
    ),
    "pan right": (
        "the camera pans right",
        "pan right",
        "the camera moves right",
        "camera panning to the right",
        "the camera slowly pans to the right",
    ),
    "pan up": (
        "the camera pans up",
        "pan up",
        "the camera tilts up",
        "the camera moves up",
        "camera panning upwards",
    ),
    "pan down": (
        "the camera pans down",
        "pan down",
        "the camera tilts down",
        "the camera moves down",
        "camera panning downwards",
    ),
    "zoom in": (
        "the camera zooms in",
        "zoom in",
        "the camera moves closer",
        "camera zooming in",
        "a slow zoom in",
    ),
    "zoom out": (
        "the camera zooms out",
        "zoom out",
        "the camera moves away",
        "camera zooming out",
        "a slow zoom out",
    ),
    "rotate clockwise": (
        "the camera rotates clockwise",
        "rotate clockwise",
        "the picture turns clockwise",
        "rotating clockwise",
        "the view rotates to the right",
    ),
    "rotate counterclockwise": (
        "the camera rotates counterclockwise",
        "rotate counterclockwise",
        "the picture turns counterclockwise",
        "rotating counter-clockwise",
        "the view rotates to the left",
    ),
    "static": (
        "the camera is still",
        "a static shot",
        "the camera does not move",
        "static camera",
        "nothing moves",
    ),
}

DISSOLVE_PHRASES = ("a slow dissolve", "the scene changes", "it turns into another picture", "")

_SPRITE_VERBS: dict[str, tuple[str, ...]] = {
    "left": ("moves left", "moves to the left", "slides left", "goes left"),
    "right": ("moves right", "moves to the right", "slides right", "goes right"),
    "up": ("moves up", "rises", "goes up", "moves upwards"),
    "down": ("moves down", "falls", "goes down", "moves downwards"),
    "still": ("stays still", "does not move", "stands still", "is still"),
}

_SUBJECTS = (
    "a cat|a dog|a woman|a man|a child|a dancer|a bird|an old house|a city street|a mountain|"
    "a forest|the sea|a boat|a car|a train|a red flower|a garden|a table with fruit|a cup of "
    "coffee|a portrait|an astronaut|a rocket|a horse|a river|a bridge|a castle|a robot|a market|"
    "a lamp|a tower|clouds|stars|a beach|a desert|snow|a waterfall|a library|a kitchen|a violin|"
    "two friends|a crowd|a fox|a lion|an elephant|the moon|a window|a road|a field|a lake|a toy"
).split("|")
_DETAILS = (
    "in the morning light|at sunset|at night|in the rain|under a blue sky|in soft focus|with warm "
    "colours|in black and white|on a wooden floor|near the water|looking at the viewer|dancing "
    "gracefully|full of charm|with clear movements|in a quiet room|seen from far away|very "
    "detailed|cinematic|4k|film grain|high quality|a beautiful picture|an oil painting|a drawing|"
    "photographed with a long lens|smiling|walking|running fast|singing|sleeping|waving a hand|"
    "made of glass|covered with leaves|old and worn|bright and colourful|dark and mysterious|"
    "style of the seventies|realistic|a calm mood|golden hour|wide angle|close-up"
).split("|")


def _describe(rng: np.random.Generator) -> str:
    parts = [str(rng.choice(_SUBJECTS))]
    parts += [str(word) for word in rng.choice(_DETAILS, int(rng.integers(0, 3)), replace=False)]
    return (", " if rng.random() < 0.5 else " ").join(parts)


def _among_other_words(rng: np.random.Generator, phrase: str) -> str:
    chance = rng.random()
    if chance < 0.55 or not phrase:
        return phrase
    separator = str(rng.choice([", ", ". ", " and "]))
    described = _describe(rng)
    return described + separator + phrase if chance < 0.8 else phrase + separator + described


def camera_caption(rng: np.random.Generator, motion: str, *, plain: float = 0.0) -> str:
    """A caption of a camera move, in one of its phrasings, often among other words.

    A share ``plain`` of the captions is the motion's first phrase alone.
    """
    if rng.random() < plain:
        return CAMERA_PHRASES[motion][0]
    return _among_other_words(rng, str(rng.choice(CAMERA_PHRASES[motion])))


def dissolve_caption(rng: np.random.Generator) -> str:
    """A caption of a dissolve between two pictures; may be empty."""
    return _among_other_words(rng, str(rng.choice(DISSOLVE_PHRASES)))


def sprite_caption(rng: np.random.Generator, sprite: Sprite) -> str:
    """A caption of a sprite; a gray background may go unmentioned."""
    article = "the" if rng.random() < 0.2 else "a"
    text = f"{article} {sprite.colour} {sprite.shape} {rng.choice(_SPRITE_VERBS[sprite.motion])}"
    if sprite.background != "gray" or rng.random() < 0.3:
        text += f" on a {sprite.background} background"
    return text


def corpus() -> list[str]:
    """Every phrase the captions are made of, for learning the vocabulary."""
    rng = np.random.default_rng(0)
    lines = [phrase for phrases in CAMERA_PHRASES.values() for phrase in phrases] * 20
    lines += list(DISSOLVE_PHRASES) * 10
    lines += [_describe(rng) for _ in range(1500)]
    for shape in ("circle", "square", "triangle", "cross"):
        for colour in ("red", "green", "blue", "yellow", "purple", "white"):
            for motion in _SPRITE_VERBS:
                background = str(rng.choice(["black", "teal"]))
                sprite = Sprite(shape, colour, motion, background, (0, 0), 1)
                lines.append(sprite_caption(rng, sprite))
    return lines
