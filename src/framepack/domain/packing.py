"""The geometry of the packed context: which latent frames a section sees, and how coarsely.

A section of ``w`` latent frames is denoised next to a history that is split into tiers. The
nearest tier keeps every patch (kernel 1x2x2), farther tiers use larger patch kernels, so the
context has the same number of tokens however long the video grows.

Kernel structures are written as in the paper: ``f16k4f2k2f1k1`` is 16 latent frames with kernel
k4, 2 with k2 and 1 with k1. Kernel kN covers N latent frames and 2N x 2N latent pixels.

Source: FramePack, arXiv 2504.12626; index order of the released weights.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

from framepack.domain.errors import InvalidRequest

__all__ = [
    "RELEASED",
    "START_LATENT_FRAMES",
    "FrameIndices",
    "PackingLayout",
    "Tier",
    "forward_indices",
    "inverted_indices",
    "one_frame_indices",
]

START_LATENT_FRAMES = 1
"""The start picture is one latent frame and stands at index 0 of every section."""

_TERM = re.compile(r"f(\d+)k(\d+)")


@dataclass(frozen=True, slots=True)
class Tier:
    """A run of history latent frames that share one patch kernel.

    Attributes:
        name: "1x", "2x", "4x", ...: the temporal reach of the kernel.
        latent_frames: latent frames held, at least 1.
        kernel: patch size in (latent frames, latent rows, latent columns).
    """

    name: str
    latent_frames: int
    kernel: tuple[int, int, int]

    @classmethod
    def from_scale(cls, latent_frames: int, scale: int) -> "Tier":
        """Tier ``f<latent_frames>k<scale>`` of the paper."""
        return cls(f"{scale}x", latent_frames, (scale, 2 * scale, 2 * scale))

    @property
    def scale(self) -> int:
        """Latent frames merged by one patch: the k of the paper."""
        return self.kernel[0]

    def tokens(self, latent_height: int, latent_width: int, latent_frames: int) -> int:
        """Tokens of ``latent_frames`` latent frames of that size.

        The kernel of scale 1 drops an odd last row or column, as its convolution does; larger
        kernels see a replicate-padded latent and so round up.
        """
        extents = (latent_frames, latent_height, latent_width)
        if self.scale == 1:
            return prod(extent // size for extent, size in zip(extents, self.kernel, strict=True))
        return prod(-(-extent // size) for extent, size in zip(extents, self.kernel, strict=True))


_FULL_RATE = Tier.from_scale(1, 1)


@dataclass(frozen=True, slots=True)
class PackingLayout:
    """How the history is cut into tiers, nearest first.

    Attributes:
        tiers: nearest tier first; kernels grow strictly with distance.
    """

    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        if not self.tiers:
            raise InvalidRequest("packing layout has no tier; the released one is f16k4f2k2f1k1")
        for tier in self.tiers:
            if tier.latent_frames < 1 or tier.scale < 1:
                raise InvalidRequest(
                    f"packing tier f{tier.latent_frames}k{tier.scale} is empty; "
                    "both numbers must be at least 1"
                )
        if any(near.scale >= far.scale for near, far in pairwise(self.tiers)):
            raise InvalidRequest(
                f"packing layout {self.notation} does not grow with distance; "
                "order its terms by kernel and merge equal ones, such as f16k4f2k2f1k1"
            )

    @classmethod
    def parse(cls, notation: str) -> "PackingLayout":
        """Read the paper's notation, in either time order.

        Args:
            notation: such as ``f16k4f2k2f1k1`` (oldest first, forward sampling) or
                ``f1k1f2k2f16k4`` (nearest first, inverted sampling); both give the same layout.

        Raises:
            InvalidRequest: not a sequence of ``f<frames>k<kernel>`` terms, a zero, or kernels
                that do not change monotonically.

        Source: FramePack, arXiv 2504.12626, naming of kernel structures.
        """
        text = notation.strip()
        if not re.fullmatch(f"(?:{_TERM.pattern})+", text):
            raise InvalidRequest(
                f"packing layout {notation!r} is not in the paper's notation; "
                "write terms f<latent frames>k<kernel>, such as f16k4f2k2f1k1"
            )
        terms = [(int(frames), int(scale)) for frames, scale in _TERM.findall(text)]
        if terms[0][1] > terms[-1][1]:
            terms.reverse()
        return cls(tuple(Tier.from_scale(frames, scale) for frames, scale in terms))

    @property
    def notation(self) -> str:
        """The paper's name of this layout, oldest term first."""
        return "".join(f"f{tier.latent_frames}k{tier.scale}" for tier in reversed(self.tiers))

    @property
    def history_frames(self) -> int:
        """Latent frames of history that a section sees (19 for the released weights)."""
        return sum(tier.latent_frames for tier in self.tiers)

    def tokens(self, latent_height: int, latent_width: int, noisy_frames: int) -> dict[str, int]:
        """Tokens of each part of one section's context; their sum is the image sequence length.

        Args:
            latent_height: latent rows (picture height / 8).
            latent_width: latent columns (picture width / 8).
            noisy_frames: latent frames being generated (9 for the released weights).

        Returns:
            ``noisy``, ``clean`` (start picture and 1x tier), then one entry for each farther
            tier: ``2x``, ``4x``, ...
        """

        def count(tier: Tier, frames: int) -> int:
            return tier.tokens(latent_height, latent_width, frames)

        near = sum(tier.latent_frames for tier in self.tiers if tier.scale == 1)
        counts = {
            "noisy": count(_FULL_RATE, noisy_frames),
            "clean": count(_FULL_RATE, START_LATENT_FRAMES + near),
        }
        for tier in self.tiers:
            if tier.scale > 1:
                counts[tier.name] = count(tier, tier.latent_frames)
        return counts


RELEASED = PackingLayout.parse("f16k4f2k2f1k1")
"""The layout of both published checkpoints."""


@dataclass(frozen=True, slots=True)
class FrameIndices:
    """Positions on the section's time axis, in latent frames, as the rotary embedding sees them.

    Attributes:
        start: position of the start picture.
        noisy: positions of the latent frames being generated.
        history: tier name to positions in time order, nearest tier first.
    """

    start: tuple[int, ...]
    noisy: tuple[int, ...]
    history: Mapping[str, tuple[int, ...]]

    @property
    def clean_1x(self) -> tuple[int, ...]:
        """Positions of the nearest history, kept at full rate; empty if the layout has none."""
        return self.history.get("1x", ())

    @property
    def history_2x(self) -> tuple[int, ...]:
        """Positions of the 2x tier; empty if the layout has none."""
        return self.history.get("2x", ())

    @property
    def history_4x(self) -> tuple[int, ...]:
        """Positions of the 4x tier; empty if the layout has none."""
        return self.history.get("4x", ())

    @property
    def clean(self) -> tuple[int, ...]:
        """Positions of all full-rate context: the start picture, then the 1x tier."""
        return self.start + self.clean_1x


def inverted_indices(
    padding_sections: int, latent_window_size: int, layout: PackingLayout = RELEASED
) -> FrameIndices:
    """Positions for inverted anti-drifting sampling: start | gap | noisy | near ... far.

    Args:
        padding_sections: sections between the start picture and this one; 0 for the section
            that touches the start picture.
        latent_window_size: latent frames generated per section.
        layout: how the following (already generated) latent frames are packed.

    Source: FramePack, arXiv 2504.12626; order of the released I2V weights.
    """
    gap = padding_sections * latent_window_size
    sizes = (START_LATENT_FRAMES, gap, latent_window_size, *_tier_sizes(layout.tiers))
    start, _, noisy, *history = _consecutive(sizes)
    names = (tier.name for tier in layout.tiers)
    return FrameIndices(start, noisy, dict(zip(names, history, strict=True)))


def forward_indices(latent_window_size: int, layout: PackingLayout = RELEASED) -> FrameIndices:
    """Positions for forward (vanilla) sampling: start | far ... near | noisy.

    Args:
        latent_window_size: latent frames generated per section.
        layout: how the preceding latent frames are packed.

    Source: FramePack, arXiv 2504.12626; order of the released F1 weights.
    """
    far_to_near = layout.tiers[::-1]
    sizes = (START_LATENT_FRAMES, *_tier_sizes(far_to_near), latent_window_size)
    start, *history, noisy = _consecutive(sizes)
    by_name = {tier.name: run for tier, run in zip(far_to_near, history, strict=True)}
    return FrameIndices(start, noisy, {tier.name: by_name[tier.name] for tier in layout.tiers})


def one_frame_indices(target: int, control: int | None = None) -> FrameIndices:
    """Positions for a single picture: the start picture, it, and an end picture; no history.

    Args:
        target: position of the latent frame being generated.
        control: position of the end picture, which is full-rate context; None without one.

    Source: the one-frame options of musubi-tuner (``target_index``, ``control_index``, ``no_2x``,
    ``no_4x``).
    """
    history = {"1x": (control,)} if control is not None else {}
    return FrameIndices((0,), (target,), history)


def _tier_sizes(tiers: Iterable[Tier]) -> tuple[int, ...]:
    return tuple(tier.latent_frames for tier in tiers)


def _consecutive(sizes: Iterable[int]) -> list[tuple[int, ...]]:
    """Cut 0, 1, 2, ... into runs of the given lengths."""
    bounds = [0, *accumulate(sizes)]
    return [tuple(range(first, end)) for first, end in pairwise(bounds)]
