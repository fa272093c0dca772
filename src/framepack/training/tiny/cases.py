"""Which videos the evaluation makes: balanced over motions, variants, lengths and sizes.

Everything follows from one seed, which differs from the trainer's, so no picture of the
procedural world was seen in training. Photographs never are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from framepack.domain.request import VARIANTS
from framepack.training.tiny.captions import camera_caption, dissolve_caption, sprite_caption
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.motion import shows_motion
from framepack.training.tiny.rendering import Order, fitted, save_picture
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    SPRITE_BACKGROUNDS,
    SPRITE_COLOURS,
    SPRITE_MOTIONS,
    SPRITE_SHAPES,
    Sprite,
    camera_clip,
    sprite_start,
)

__all__ = ["FULL", "GENERATED", "PHOTOGRAPHS", "QUICK", "SIZES", "CameraCase", "Cases", "Counts"]

SIZES = ((128, 128), (160, 96), (96, 160))
"""(width, height) in px of the three shapes at the default size."""

GENERATED, PHOTOGRAPHS = "generated", "photographs"

_SETTINGS = tuple(product(VARIANTS, (1, 2), SIZES))
_MOTIONS = tuple(CAMERA_MOTIONS)
_SPRITES = tuple(product(SPRITE_SHAPES, SPRITE_COLOURS, SPRITE_MOTIONS))
_SPRITE_STEP = 7  # shares no divisor with their number: few cases still mix everything
_MAX_TRIES = 50  # pictures looked at for one that shows motion
_VAE_FRAMES = 37


@dataclass(frozen=True)
class Counts:
    """How many cases there are of each kind.

    Attributes:
        pictures: generated pictures that the cases draw from.
        camera: camera moves over generated pictures; 108 hold every motion in every setting.
        photographs: camera moves over photographs.
        sprites: sprites from words.
        ends: end pictures, two videos each.
        vae: generated clips through the VAE, and at most so many over photographs. Every
            photograph goes through it as a still.
    """

    pictures: int
    camera: int
    photographs: int
    sprites: int
    ends: int
    vae: int


QUICK = Counts(pictures=48, camera=27, photographs=18, sprites=12, ends=4, vae=4)
FULL = Counts(pictures=300, camera=432, photographs=216, sprites=240, ends=48, vae=36)


@dataclass(frozen=True)
class CameraCase:
    """A camera move to ask for."""

    order: Order
    source: str
    name: str
    motion: str


class Cases:
    """Draws the cases and writes their pictures.

    Args:
        folder: where generated pictures are written.
        seed: everything follows from it.
        counts: how many.
        photographs: files to use as well; none leaves their cases out.

    Attributes:
        photographs: names of those used.
        rejected: pictures passed over because they cannot show motion (see ``shows_motion``),
            by source. A photograph counts once for each shape in which it was passed over.
    """

    def __init__(
        self, folder: Path, seed: int, counts: Counts, photographs: Sequence[Path]
    ) -> None:
        self._folder, self._seed, self.counts = folder, seed, counts
        self._bank = PictureBank(seed, counts.pictures)
        self.photographs = [path.stem for path in photographs]
        self.rejected = {GENERATED: 0, PHOTOGRAPHS: 0}
        self._photographs = {size: self._showing(photographs, size) for size in SIZES}

    @property
    def number(self) -> int:
        """How many cases there are of all kinds together."""
        counts = self.counts
        stills = self._photographs[SIZES[0]]
        moved = counts.photographs if self._has_photographs else 0
        restored = counts.vae + len(stills) + len(stills[: counts.vae])
        return counts.camera + moved + counts.sprites + counts.ends + restored

    def camera(self) -> Iterator[CameraCase]:
        """Camera moves over generated pictures, then over photographs."""
        for index in range(self.counts.camera):
            yield self._camera_case(index, GENERATED)
        if self._has_photographs:
            for index in range(self.counts.photographs):
                yield self._camera_case(index, PHOTOGRAPHS)

    def sprites(self) -> Iterator[tuple[Order, Sprite]]:
        """Sprites described in words; a third of the videos has two sections."""
        for index in range(self.counts.sprites):
            rng = seeded(self._seed, "sprite", index)
            shape, colour, motion = _SPRITES[index * _SPRITE_STEP % len(_SPRITES)]
            background = str(rng.choice(list(SPRITE_BACKGROUNDS), p=[0.6, 0.2, 0.2]))
            sprite = Sprite(shape, colour, motion, background, sprite_start(motion, (0, 0)), 1.0)
            width, height = SIZES[(index + index // len(_SPRITES)) % len(SIZES)]
            order = Order(
                prompt=sprite_caption(rng, sprite),
                width=width,
                height=height,
                num_sections=2 if index // 2 % 3 == 2 else 1,
                variant=VARIANTS[(index + index // len(_SPRITES)) % len(VARIANTS)],
                seed=int(rng.integers(2**31)),
            )
            yield order, sprite

    def ends(self) -> Iterator[tuple[Order, str, str]]:
        """Orders with an end picture, their source, and the kind of clip.

        "dissolve": the end is another picture. "camera": it is where one of the eight moves
        would lead, and no word says which.
        """
        for index in range(self.counts.ends):
            rng = seeded(self._seed, "end", index)
            size = SIZES[index % len(SIZES)]
            sections = 1 + index // 2 % 2
            is_photograph = index % 5 in (2, 3) and bool(self._photographs[size])
            source = PHOTOGRAPHS if is_photograph else GENERATED
            name, first = self._picture(source, size, index, f"end-{index}-first")
            if index % 2 == 1:
                kind, prompt = "dissolve", dissolve_caption(rng)
                _, last = self._picture(source, size, index + 1, f"end-{index}-last")
            else:
                kind, prompt = "camera", ""
                motion = _MOTIONS[int(rng.integers(len(_MOTIONS) - 1))]
                last = self._folder / f"end-{index}-{name}-last.png"
                end = camera_clip(fitted(first, *size), motion, torch.tensor([36 * sections]))
                save_picture(end[0], last)
            order = Order(
                prompt=prompt,
                width=size[0],
                height=size[1],
                num_sections=sections,
                variant="bi-directional",
                seed=int(rng.integers(2**31)),
                image=first,
                end_image=last,
            )
            yield order, source, kind

    def clips(self) -> Iterator[tuple[str, str, Tensor]]:
        """Clips and stills of 128 x 128 px for the VAE: source, name, [F, 3, H, W] in 0..1."""
        size = SIZES[0]
        frames = torch.arange(_VAE_FRAMES)
        for index in range(self.counts.vae):
            name, path = self._picture(GENERATED, size, index, f"vae-{index}")
            motion = _MOTIONS[index % len(_MOTIONS)]
            yield GENERATED, f"{name}, {motion}", camera_clip(fitted(path, *size), motion, frames)
        for index, path in enumerate(self._photographs[size]):
            picture = fitted(path, *size)
            yield PHOTOGRAPHS, path.stem, picture[None]
            if index >= self.counts.vae:
                continue
            motion = _MOTIONS[index % len(_MOTIONS)]
            clip = camera_clip(picture, motion, frames)
            yield f"{PHOTOGRAPHS} in motion", f"{path.stem}, {motion}", clip

    @property
    def _has_photographs(self) -> bool:
        return all(self._photographs.values())

    def _camera_case(self, index: int, source: str) -> CameraCase:
        rng = seeded(self._seed, "camera", source, index)
        # 36 cases in a row hold a third of the 108 pairs of motion and setting, 108 hold all.
        motion = _MOTIONS[index % len(_MOTIONS)]
        variant, sections, size = _SETTINGS[(index + index // 36) % len(_SETTINGS)]
        turn = index + index // len(_MOTIONS)
        name, path = self._picture(source, size, turn, f"camera-{index}")
        order = Order(
            prompt=camera_caption(rng, motion),
            width=size[0],
            height=size[1],
            num_sections=sections,
            variant=variant,
            seed=int(rng.integers(2**31)),
            image=path,
        )
        return CameraCase(order, source, name, motion)

    def _picture(
        self, source: str, size: tuple[int, int], index: int, purpose: str
    ) -> tuple[str, Path]:
        """Name and file of a picture that shows motion."""
        if source == PHOTOGRAPHS:
            path = self._photographs[size][index % len(self._photographs[size])]
            return path.stem, path
        rng = seeded(self._seed, "picture", purpose)
        width, height = size
        for _ in range(_MAX_TRIES):
            number = int(rng.integers(len(self._bank)))
            picture = self._bank.take(rng, number, height, width)
            if shows_motion(picture):
                return f"picture {number}", save_picture(picture, self._folder / f"{purpose}.png")
            self.rejected[GENERATED] += 1
        raise ValueError(f"{_MAX_TRIES} pictures of seed {self._seed} show no motion; take another")

    def _showing(self, photographs: Sequence[Path], size: tuple[int, int]) -> list[Path]:
        showing = [path for path in photographs if shows_motion(fitted(path, *size))]
        self.rejected[PHOTOGRAPHS] += len(photographs) - len(showing)
        return showing
