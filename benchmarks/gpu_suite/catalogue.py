"""Which rows the suite gives, what each needs, and what it is to reach.

A row that is listed here always comes: measured, or saying why it was not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CUDA = "CUDA"


@dataclass(frozen=True)
class Target:
    """What a field of a row is to reach on an H200 with the published size.

    Attributes:
        of: the field.
        bound: which way.
        number: the limit itself is reached.
    """

    of: str
    bound: Literal["<=", ">="]
    number: float

    def is_reached(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return value <= self.number if self.bound == "<=" else value >= self.number


@dataclass(frozen=True)
class Expected:
    """A row that comes.

    Attributes:
        name: within its stage.
        needs: "" for any device, or CUDA.
        targets: what it is to reach.
    """

    name: str
    needs: str = ""
    targets: tuple[Target, ...] = ()


def _most(number: float, of: str = "value") -> Target:
    return Target(of, "<=", number)


def _least(number: float, of: str = "ratio") -> Target:
    return Target(of, ">=", number)


STAGES: Mapping[str, tuple[Expected, ...]] = {
    "probe": (
        Expected("gemm"),
        Expected("sdpa-default"),
        Expected("sdpa-flash", CUDA),
        Expected("sdpa-cudnn", CUDA),
        Expected("sdpa-efficient", CUDA),
        Expected("copy-pinned", CUDA),
        Expected("copy-pageable", CUDA),
        Expected("conv3d"),
    ),
    "weights": (Expected("build", targets=(_most(10),)),),
    "step": (
        Expected("diffusers"),
        Expected("diffusers-cudnn", CUDA),
        Expected("ours-alone"),
        Expected("ours", targets=(_most(0.86), _least(1.2))),
        Expected("ours-cudnn", CUDA, (_most(0.86), _least(1.2))),
    ),
    "vae": (
        Expected("diffusers"),
        Expected("diffusers-tiled"),
        Expected("ours-first"),
        Expected("ours-next", targets=(_most(1.8),)),
        Expected("ours-next-tiled"),
        Expected("ours-next-channels-last"),
    ),
    "section": (
        Expected("denoise"),
        Expected("whole", targets=(_most(23.5),)),
        Expected("frame", targets=(_most(0.65),)),
        Expected("half-the-steps"),
    ),
    "profile": (Expected("diffusers"), Expected("ours")),
    "memory": (
        Expected("diffusers-leaf-level"),
        Expected("diffusers-block-level"),
        Expected(
            "ours",
            targets=(
                _least(1 / 1.15, "ratio"),
                _least(1.5, "ratio_block_level"),
                _least(5.0, "ratio_leaf_level"),
                _most(5.4, "peak_reserved_gib"),
            ),
        ),
    ),
    "compiled": (Expected("ours", CUDA), Expected("diffusers", CUDA)),
    "fp8": (
        Expected("step", CUDA, (_most(0.60), _least(2.0))),
        Expected("section-estimate", CUDA, (_most(17),)),
        Expected("frame-estimate", CUDA, (_most(0.47),)),
        Expected("section-half-the-steps-estimate", CUDA, (_most(10),)),
        Expected("frame-half-the-steps-estimate", CUDA, (_most(0.28),)),
    ),
    "minute": (
        Expected("sections"),
        Expected("peak-late", targets=(_most(5.4), _least(0.99))),
        Expected("video-estimate"),
    ),
}
"""Stages in the order in which they run."""

OFFICIAL = Expected("official", targets=())
"""Joins the stage ``step`` where the official program's transformer is given."""

LIMIT_S: Mapping[str, float] = {
    "probe": 30,
    "weights": 30,
    "step": 75,
    "vae": 75,
    "section": 70,
    "profile": 30,
    "memory": 120,
    "compiled": 120,
    "fp8": 90,
    "minute": 120,
}
"""Seconds after which a stage is given up; what it measured until then stays."""
