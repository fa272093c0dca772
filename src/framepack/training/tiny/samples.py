"""Training examples for the transformer: one section of one clip, with its packed context.

All examples of a batch share a layout (the transformer's indices are common to a batch);
what happens in the clip, the caption and the history differ from example to example.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.domain.packing import FrameIndices, forward_indices, inverted_indices
from framepack.training.tiny.captions import (
    CAMERA_PHRASES,
    camera_caption,
    dissolve_caption,
    sprite_caption,
)
from framepack.training.tiny.components import VISION_SIZE_PX
from framepack.training.tiny.curriculum import Lesson
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.latent_space import FRAMES_PER_LATENT, LatentSpace
from framepack.training.tiny.meaning import Meaning
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    SPRITE_SHAPES,
    Sprite,
    Turn,
    camera_clip,
    dissolve_clip,
    random_sprite,
    sprite_area,
    sprite_clip,
)

WINDOW = 9
HISTORY = (1, 2, 16)
SMALL_SIZES = ((64, 64), (48, 80), (80, 48))  # (height, width) in pixels
TURNING = ("zoom in", "zoom out", "rotate clockwise", "rotate counterclockwise")
# A sprite covers a fifteenth of the picture and its shape a third of that: counted like the
# rest, shapes are lost in the noise of the ground.
FOCUS = 7.0
FULL_SIZES = ((128, 128), (96, 160), (160, 96))


@dataclass(frozen=True)
class Layout:
    """What a batch has in common.

    Attributes:
        inverted: bi-directional (True) or forward-only.
        section: sections between the start of the clip and this one.
        neighbours: whole sections already there: after this one if inverted, else before it.
        height, width: pixels.
        dissolves: the clips change into another picture, which stands in the post slot.
    """

    inverted: bool
    section: int
    neighbours: int
    height: int
    width: int
    with_end: bool

    @property
    def indices(self) -> FrameIndices:
        """Frame indices of start, noisy and history latents."""
        if self.inverted:
            return inverted_indices(self.section, WINDOW)
        return forward_indices(WINDOW)


@dataclass(frozen=True)
class Batch:
    """Clean targets and their context, on the training device.

    Attributes:
        latents: [B, C, 9, h, w], what the section should become.
        start: [B, C, 1, h, w], the start picture (black for text-to-video).
        history: newest or nearest first as the layout wants it: 1x [B, C, 1, h, w],
            2x [B, C, 2, h, w], 4x [B, C, 16, h, w].
        vision: [B, 3, 64, 64] in -1..1, and ``vision_end`` where an end picture is given.
        captions: B strings, and ``meanings`` what they say.
        weights: [B, 1, 9, h, w], how much an error counts at each place; 1 on average.
        family: so many examples in a row differ in one word only, and get the same noise.
    """

    layout: Layout
    latents: Tensor
    start: Tensor
    history_1x: Tensor
    history_2x: Tensor
    history_4x: Tensor
    vision: Tensor
    vision_end: Tensor | None
    captions: list[str]
    meanings: list[Meaning]
    weights: Tensor
    family: int = 1


@dataclass(frozen=True)
class _Scene:
    """A clip as a function of frame numbers, its caption, and its anchors in 0..1.

    ``focus`` gives the places [F, H, W] that matter more than the rest, as 0..1.
    """

    frames: Callable[[Tensor], Tensor]
    caption: str
    start: Tensor
    end: Tensor | None = None
    meaning: Meaning = field(default_factory=dict)
    focus: Callable[[Tensor], Tensor] | None = None


class _Example(NamedTuple):
    """The fields of a ``Batch``, of one example."""

    latents: Tensor
    start: Tensor
    history_1x: Tensor
    history_2x: Tensor
    history_4x: Tensor
    vision: Tensor
    vision_end: Tensor | None
    caption: str
    meaning: Meaning
    weights: Tensor


def _motion(rng: np.random.Generator, lesson: Lesson) -> str:
    if lesson.turning and rng.random() < lesson.turning:
        return str(rng.choice(TURNING))
    return str(rng.choice(list(CAMERA_MOTIONS)))


def _pick(rng: np.random.Generator, weights: dict[int, float], most: int) -> int:
    numbers = [number for number in weights if number <= most]
    chances = np.array([weights[number] for number in numbers])
    return int(rng.choice(numbers, p=chances / chances.sum()))


def choose_layout(rng: np.random.Generator, lesson: Lesson) -> Layout:
    """Draw a layout that the lesson allows."""
    sizes = FULL_SIZES if rng.random() < lesson.full_size else SMALL_SIZES
    height, width = sizes[int(rng.choice(3, p=[0.5, 0.25, 0.25]))]
    inverted = bool(rng.random() < 0.5)
    if inverted:
        section = _pick(rng, {0: 0.3, 1: 0.26, 2: 0.2, 3: 0.18, 4: 0.06}, lesson.sections)
        neighbours = _pick(rng, {0: 0.5, 1: 0.3, 2: 0.12, 3: 0.08}, lesson.sections)
    else:
        section = _pick(rng, {0: 0.38, 1: 0.24, 2: 0.2, 3: 0.12, 4: 0.06}, lesson.sections)
        neighbours = section
    with_end = inverted and neighbours == 0 and bool(rng.random() < lesson.ends)
    return Layout(inverted, section, neighbours, height, width, with_end)


class SampleMaker:
    """Draws batches for a layout from pictures, sprites and their captions.

    Args:
        bank: pictures.
        space: the latent code.
        device: where clips are rendered and encoded.
    """

    def __init__(self, bank: PictureBank, space: LatentSpace, device: torch.device) -> None:
        self._bank, self._space, self._device = bank, space, device

    def batch(self, seed: int, step: int, *, size: int, lesson: Lesson) -> Batch:
        """The batch of a step: of ``size`` examples at full size, four times that at a quarter."""
        rng = seeded(seed, "layout", step)
        layout = choose_layout(rng, lesson)
        small = (layout.height, layout.width) in SMALL_SIZES
        count = size * 4 if small else size
        if rng.random() < lesson.siblings:
            return self._families(rng, layout, lesson, -(-count // len(SPRITE_SHAPES)))
        return _stack(layout, [self._example(rng, layout, lesson) for _ in range(count)])

    def _families(
        self, rng: np.random.Generator, layout: Layout, lesson: Lesson, count: int
    ) -> Batch:
        """Sprites in every shape, all else being equal within a family.

        They have no history, which would give the shape away.
        """
        section = min(layout.section, 1) if layout.inverted else 0
        layout = replace(layout, section=section, neighbours=0, with_end=False)
        examples = []
        for _ in range(count):
            seed = int(rng.integers(2**62))
            for shape in SPRITE_SHAPES:
                own = np.random.default_rng(seed)
                sprite = random_sprite(own, min(layout.height, layout.width), still=lesson.still)
                sprite = replace(sprite, shape=shape)
                scene = self._sprite_scene(layout, sprite, sprite_caption(own, sprite))
                examples.append(_told(own, self._shown(own, layout, scene)))
        return replace(_stack(layout, examples), family=len(SPRITE_SHAPES))

    def camera_moves(self, rng: np.random.Generator, layout: Layout, motions: list[str]) -> Batch:
        """One picture moved in several ways, under the plainest captions."""
        picture = self._picture(rng, layout)
        scenes = [_camera_scene(picture, motion, CAMERA_PHRASES[motion][0]) for motion in motions]
        return _stack(layout, [self._shown(rng, layout, scene) for scene in scenes])

    def sprites(self, rng: np.random.Generator, layout: Layout, sprites: list[Sprite]) -> Batch:
        """Sprites from words alone."""
        scenes = [
            self._sprite_scene(layout, sprite, sprite_caption(rng, sprite)) for sprite in sprites
        ]
        return _stack(layout, [self._shown(rng, layout, scene) for scene in scenes])

    def _example(self, rng: np.random.Generator, layout: Layout, lesson: Lesson) -> _Example:
        scene = self._scene(rng, layout, lesson)
        return _told(rng, self._shown(rng, layout, scene))

    def _shown(self, rng: np.random.Generator, layout: Layout, scene: _Scene) -> _Example:
        """What the transformer gets to see of a scene."""
        start = self._space.encode_picture(scene.start)
        first = 1 + WINDOW * layout.section
        latents = self._latents(scene, first, WINDOW)
        return _Example(
            latents,
            start,
            *self._history(rng, scene, layout, start),
            vision=_vision_input(scene.start),
            vision_end=_vision_input(scene.end) if scene.end is not None else None,
            caption=scene.caption,
            meaning=scene.meaning,
            weights=self._weights(scene, first, latents),
        )

    def _frames(self, first: int, count: int) -> Tensor:
        """The frames of latent frames ``first``...; latent j >= 1 holds frames 4j-3 to 4j."""
        return torch.arange(
            FRAMES_PER_LATENT * (first - 1) + 1,
            FRAMES_PER_LATENT * (first + count - 1) + 1,
            device=self._device,
        )

    def _latents(self, scene: _Scene, first: int, count: int) -> Tensor:
        return self._space.encode_groups(scene.frames(self._frames(first, count)))

    def _weights(self, scene: _Scene, first: int, latents: Tensor) -> Tensor:
        """How much an error counts [1, F, h, w], 1 on average."""
        _, count, height, width = latents.shape
        if scene.focus is None:
            return latents.new_ones(1, count, height, width)
        places = scene.focus(self._frames(first, count)).unsqueeze(0)
        weights = 1 + FOCUS * F.adaptive_max_pool3d(places, (count, height, width))
        return weights / weights.mean()

    def _history(
        self, rng: np.random.Generator, scene: _Scene, layout: Layout, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        total = sum(HISTORY)
        channels, _, height, width = start.shape
        blank = start.new_zeros(channels, total, height, width)
        if layout.inverted:
            first = 1 + WINDOW * (layout.section + 1)
            count = min(total, WINDOW * layout.neighbours)
            if count:
                blank[:, :count] = self._blur(rng, self._latents(scene, first, count))
            elif scene.end is not None:
                blank[:, :1] = self._space.encode_picture(scene.end)
            one, two, four = blank.split(HISTORY, dim=1)
            return one, two, four
        past = min(total - 1, WINDOW * layout.section)
        if past:
            last = WINDOW * layout.section
            blank[:, total - past :] = self._blur(rng, self._latents(scene, last - past + 1, past))
        if past < total:
            blank[:, total - past - 1 : total - past] = start
        if past == total - 1 and WINDOW * layout.section > past:
            blank[:, :1] = self._latents(scene, WINDOW * layout.section - past, 1)
        four, two, one = blank.split(HISTORY[::-1], dim=1)
        return one, two, four

    def _blur(self, rng: np.random.Generator, latents: Tensor) -> Tensor:
        """Add the errors that a generated history has, as noise of a random strength."""
        if rng.random() < 0.3:
            return latents
        generator = torch.Generator(self._device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(latents.shape, generator=generator, device=self._device)
        return latents + float(rng.uniform(0, 0.15)) * noise

    def _picture(self, rng: np.random.Generator, layout: Layout) -> Tensor:
        return self._bank.sample(rng, layout.height, layout.width).to(self._device)

    def _scene(self, rng: np.random.Generator, layout: Layout, lesson: Lesson) -> _Scene:
        if layout.with_end:
            return self._scene_with_end(rng, layout, lesson)
        if rng.random() < lesson.sprites:
            size = min(layout.height, layout.width)
            sprite = random_sprite(rng, size, still=lesson.still)
            shown = bool(rng.random() < 0.12)
            return self._sprite_scene(layout, sprite, sprite_caption(rng, sprite), shown=shown)
        picture = self._picture(rng, layout)
        motion = _motion(rng, lesson)
        caption = camera_caption(rng, motion, plain=lesson.plain)
        if layout.neighbours and rng.random() < lesson.turns:
            other = str(rng.choice([name for name in CAMERA_MOTIONS if name != motion]))
            return _turning_scene(layout, picture, motion, other, caption)
        return _camera_scene(picture, motion, caption)

    def _sprite_scene(
        self, layout: Layout, sprite: Sprite, caption: str, *, shown: bool = False
    ) -> _Scene:
        """A sprite; ``shown`` on the start picture too, which is black otherwise."""
        height, width = layout.height, layout.width

        def frames(numbers: Tensor) -> Tensor:
            return sprite_clip(sprite, numbers, height, width)

        first = frames(torch.zeros(1, dtype=torch.long, device=self._device))[0]
        anchor = first if shown else torch.zeros_like(first)
        meaning = {"shape": sprite.shape, "colour": sprite.colour, "motion": sprite.motion}
        if sprite.background in caption:
            meaning["background"] = sprite.background
        return _Scene(
            frames,
            caption,
            anchor,
            meaning=meaning,
            focus=lambda numbers: sprite_area(sprite, numbers, height, width),
        )

    def _scene_with_end(self, rng: np.random.Generator, layout: Layout, lesson: Lesson) -> _Scene:
        picture = self._picture(rng, layout)
        num_frames = FRAMES_PER_LATENT * WINDOW * (layout.section + 1) + 1
        if rng.random() < 0.5:
            last = self._picture(rng, layout)
            return _Scene(
                lambda frames: dissolve_clip(picture, last, frames, num_frames),
                dissolve_caption(rng),
                picture,
                last,
            )
        motion = str(rng.choice(list(CAMERA_MOTIONS)))
        final = torch.tensor([num_frames - 1], device=self._device)
        caption = camera_caption(rng, motion, plain=lesson.plain) if rng.random() < 0.6 else ""
        end = camera_clip(picture, motion, final)[0]
        return _camera_scene(picture, motion, caption, end)


def _told(rng: np.random.Generator, example: _Example) -> _Example:
    """The example, without its caption once in ten times."""
    return example._replace(caption="", meaning={}) if rng.random() < 0.1 else example


def _camera_scene(picture: Tensor, motion: str, caption: str, end: Tensor | None = None) -> _Scene:
    meaning = {"camera": motion} if caption else {}
    return _Scene(
        lambda frames: camera_clip(picture, motion, frames), caption, picture, end, meaning
    )


def _turning_scene(
    layout: Layout, picture: Tensor, motion: str, other: str, caption: str
) -> _Scene:
    """A camera move in the section to be made, with another one in what is there already."""
    frames_per_section = FRAMES_PER_LATENT * WINDOW
    if layout.inverted:
        first, turn = motion, Turn(other, frames_per_section * (layout.section + 1))
    else:
        first, turn = other, Turn(motion, frames_per_section * layout.section)
    return _Scene(
        lambda frames: camera_clip(picture, first, frames, turn),
        caption,
        picture,
        meaning={"camera": motion},
    )


def _stack(layout: Layout, examples: list[_Example]) -> Batch:
    ends = [example.vision_end for example in examples if example.vision_end is not None]
    return Batch(
        layout,
        latents=torch.stack([example.latents for example in examples]),
        start=torch.stack([example.start for example in examples]),
        history_1x=torch.stack([example.history_1x for example in examples]),
        history_2x=torch.stack([example.history_2x for example in examples]),
        history_4x=torch.stack([example.history_4x for example in examples]),
        vision=torch.stack([example.vision for example in examples]),
        vision_end=torch.stack(ends) if ends else None,
        captions=[example.caption for example in examples],
        meanings=[example.meaning for example in examples],
        weights=torch.stack([example.weights for example in examples]),
    )


def _vision_input(picture: Tensor) -> Tensor:
    """What the image processor makes of a picture: 64 x 64, bicubic, -1..1."""
    resized = F.interpolate(
        picture.unsqueeze(0), size=(VISION_SIZE_PX, VISION_SIZE_PX), mode="bicubic", antialias=True
    )[0]
    return resized.clamp(0, 1) * 2 - 1
