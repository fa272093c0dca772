"""Small runs of the embedded model, fast enough for every test that needs a whole video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import framepack
from framepack.domain.events import Event, SectionDone
from framepack.domain.geometry import ModelDefaults, ModelGeometry
from framepack.domain.plan import Plan, make_plan
from framepack.domain.request import GenerationRequest
from framepack.media.video import read_frames
from framepack.pipeline.components import Components

SMALL: dict[str, Any] = {
    "prompt": "the camera pans left",
    "model": "tiny",
    "variant": "bi-directional",
    "width": 64,
    "height": 64,
    "latent_window_size": 3,
    "num_inference_steps": 2,
    "seed": 7,
    "fps": 24,
}
"""A section takes a second or less: 3 latent frames of 64 px in 2 steps."""

SECTION_FRAMES = 12
"""Frames per section of a ``SMALL`` run."""

SEAM_FRAMES = 9
"""Frames of a ``SMALL`` run that the next section can still change."""


DEFAULTS = ModelDefaults(
    resolution=16,
    num_inference_steps=2,
    guidance_scale=10,
    true_cfg_scale=1,
    solver="unipc",
    variant="bi-directional",
    magcache_ratios=((1.0, 1.0, 1.0, 1.0),),
)
"""Of the model that does not exist."""


def seconds(num_frames: int) -> float:
    """Duration of a ``SMALL`` run that has so many frames."""
    return num_frames / 24


def write_picture(path: Path, *, seed: int = 0, size: tuple[int, int] = (80, 70)) -> Path:
    """Write a picture with soft blobs of colour; each seed gives another one."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def make_video(folder: Path, components: Components, **fields: Any) -> framepack.Result:
    """Make ``folder/out.mp4``: a ``SMALL`` run with other ``fields``."""
    return framepack.generate(
        output=folder / "out.mp4", components=components, **{**SMALL, **fields}
    )


def frames_of(path: Path | str) -> NDArray[np.uint8]:
    """All frames of a video, [T, H, W, 3] uint8."""
    return np.stack(list(read_frames(path)))


def stop_after_section(events: Iterator[Event]) -> None:
    """Let a run make its first section, and end it."""
    while not isinstance(next(events), SectionDone):
        pass
    events.close()  # type: ignore[attr-defined]


def plan_without_model(*, picture: bool = False, end: bool = False, **fields: Any) -> Plan:
    """A plan of a model that does not exist, 16 px and up, for parts that need no weights."""
    values = {
        "prompt": "x",
        "width": 16,
        "height": 16,
        "seed": 3,
        "num_inference_steps": 4,
        "image": "start.png" if picture else None,
        "end_image": "end.png" if end else None,
    }
    return make_plan(
        GenerationRequest.parse(**{**values, **fields}),
        model="test",
        geometry=ModelGeometry(min_size=16, max_size=256),
        defaults=DEFAULTS,
        variants=("bi-directional", "forward-only"),
        image_size=(16, 16) if picture else None,
        end_image_size=(16, 16) if end else None,
    )
