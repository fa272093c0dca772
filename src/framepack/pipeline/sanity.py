"""A stored case of the embedded model: does this machine compute what it should?

The case is an ordinary run of :func:`generate`: two sections of 64 px with a start picture, true
guidance and rescale, so noise, packed history, solver, guidance, decoder and seam all leave
their marks in the result. Few steps are taken, because then solvers differ most. Frames are
taken as they go to the encoder, which is another program and has its own rounding.

How far apart two results may be is not guessed but measured when the case is stored: another
number format must pass with headroom, and a wrong solver, seed, guidance or schedule must
still be beyond the limits.
"""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import framepack
from framepack.domain.errors import FramePackError
from framepack.domain.plan import make_plan
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.media.outputs import Outputs
from framepack.models.spec import PRESETS
from framepack.pipeline.components import Components, load_components
from framepack.pipeline.conditions import Pictures
from framepack.pipeline.delivery import Delivery
from framepack.pipeline.durable import load_tensors, save_tensors
from framepack.pipeline.generate import generate
from framepack.pipeline.run_state import Segment
from framepack.pipeline.workspace import Workspace

__all__ = [
    "CASE_PATH",
    "WRONG",
    "Distance",
    "Rendering",
    "SanityReport",
    "case_picture",
    "check_sanity",
    "compare",
    "render_case",
    "update_sanity",
]

CASE_PATH = Path(framepack.__file__).resolve().parent / "assets" / "sanity" / "case.safetensors"
"""The stored result, with its request, its limits and what they were derived from."""

_SIDE = 64
_REQUEST: dict[str, Any] = {
    "prompt": "the camera pans left",
    "model": "tiny",
    "variant": "bi-directional",
    "width": _SIDE,
    "height": _SIDE,
    "duration_s": 2.4,
    "seed": 20250417,
    "num_inference_steps": 4,
    "true_cfg_scale": 3.0,
    "guidance_rescale": 0.5,
    "solver": "unipc",
}
WRONG: dict[str, dict[str, Any]] = {
    "solver": {"solver": "euler"},
    "seed": {"seed": 20250418},
    "guidance": {"true_cfg_scale": 1.0},
    "schedule": {"shift": 1.0},
}
"""Changes to the request that the comparison must notice."""

_FRAME_STRIDE = 12  # one stored frame per so many
_HEADROOM = 1.5  # of the limits over what must pass
_CLEARANCE = 1.2  # of what must not pass over one of the limits, at least


@dataclass(frozen=True)
class Rendering:
    """What a machine made of the case.

    Attributes:
        latents: [1, C, T, h, w] fp32, both sections in time order.
        frames: [T, H, W, 3] uint8, every twelfth frame.
        components: hashes of the weights.
    """

    latents: Tensor
    frames: Tensor
    components: Mapping[str, str]


@dataclass(frozen=True)
class Distance:
    """How far two renderings are apart.

    Attributes:
        latents: root mean square of the difference, as a share of the stored latents'.
        frames: root mean square of the difference, in levels of 0 to 255.
    """

    latents: float
    frames: float

    def is_within(self, limit: "Distance") -> bool:
        """Whether neither distance is above its limit; NaN never is within."""
        return self.latents <= limit.latents and self.frames <= limit.frames

    def __str__(self) -> str:
        return f"latents {self.latents:.2%}, frames {self.frames:.2f} levels"


@dataclass(frozen=True)
class SanityReport:
    """Whether this machine computes what it should.

    Attributes:
        passed: both distances are within their limits.
        distance: from the stored result; None where it belongs to other weights.
        limit: the largest distances that pass.
        text: the same for people.
    """

    passed: bool
    distance: Distance | None
    limit: Distance
    text: str


def check_sanity(
    settings: Settings | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    case: Path = CASE_PATH,
) -> SanityReport:
    """Render the stored case on this machine and compare.

    Args:
        settings: give device and number format; this machine's own when None.
        changes: fields of the request to alter, to see that the comparison notices.
        case: the stored result.

    Raises:
        FramePackError: the stored case is missing or damaged.
        MissingWeights: the embedded model is missing.
    """
    settings = _encoding_anew(settings or Settings.load())
    stored, document = _load(case)
    limit = Distance(**document["limit"])
    components = load_components(PRESETS["tiny"], settings)
    rendering = render_case(components, changes)
    if rendering.components != stored.components:
        return SanityReport(False, None, limit, _other_weights(rendering, stored))
    distance = compare(rendering, stored)
    passed = distance.is_within(limit)
    verdict = "as stored" if passed else "differs from what is stored"
    text = f"{verdict}: {distance} (limits: {limit}), on {_where(components)}"
    if not passed:
        text += "; this machine computes something else, so expect its videos to be wrong"
    return SanityReport(passed, distance, limit, text)


def _encoding_anew(settings: Settings, **changes: str) -> Settings:
    """The settings without remembered embeddings: the encoders are part of what is tried.

    Nothing is quantised, since that is asked for to change what is computed.
    """
    return settings.model_copy(update={"keep_embeddings": False, "quantize": {}, **changes})


def update_sanity(settings: Settings | None = None, *, case: Path = CASE_PATH) -> str:
    """Store the case anew, for the embedded weights as they are now, and derive its limits.

    Returns:
        What was measured, for people.

    Raises:
        FramePackError: a wrong setting changes the result no more than rounding does, so
            that no limit could tell them apart.
    """
    exact, rounded = (
        _encoding_anew(settings or Settings.load(), device="cpu", dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    components = load_components(PRESETS["tiny"], exact)
    stored = render_case(components)
    passing = {"bfloat16": compare(render_case(load_components(PRESETS["tiny"], rounded)), stored)}
    failing = {
        name: compare(render_case(components, changes), stored) for name, changes in WRONG.items()
    }
    limit = _limit_beyond(passing, failing)
    document = {
        "framepack": framepack.__version__,
        "torch": torch.__version__,
        "request": _REQUEST,
        "components": dict(stored.components),
        "limit": vars(limit),
        "passing": {name: vars(distance) for name, distance in passing.items()},
        "failing": {name: vars(distance) for name, distance in failing.items()},
    }
    case.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"latents": stored.latents.half(), "frames": stored.frames}
    save_tensors(case, tensors, document)
    case.chmod(0o644)  # a package file, for every user of the machine
    measured = [f"{name}: {distance}" for name, distance in (passing | failing).items()]
    return "\n".join([f"stored {case}", *measured, f"limits: {limit}"])


@torch.inference_mode()
def render_case(components: Components, changes: Mapping[str, Any] | None = None) -> Rendering:
    """Render the case, through a run directory and a video file like any other video.

    Args:
        components: the embedded model on some device.
        changes: fields of the request to alter.
    """
    spec = PRESETS["tiny"]
    plan = make_plan(
        GenerationRequest.parse(**{**_REQUEST, **(changes or {})}),
        model=spec.key,
        geometry=spec.geometry,
        defaults=spec.defaults,
        variants=spec.variants,
        image_size=(_SIDE, _SIDE),
    )
    with tempfile.TemporaryDirectory(prefix="framepack-sanity-") as folder:
        video = Path(folder) / "case.mp4"
        delivery = Delivery(Outputs(video), embed=False, thumbnail=False, keep_run=True)
        pictures = Pictures(start=case_picture())
        workspace = _Recording.create(Path(folder) / "run", plan, delivery, pictures)
        assert isinstance(workspace, _Recording)
        for _ in generate(plan, components, workspace):
            pass
        state = workspace.load_state()
        assert state is not None, "a finished run has a state"
        return Rendering(
            latents=state.history.newest(plan.num_sections * plan.latent_window_size).clone(),
            frames=torch.from_numpy(workspace.all_frames()[::_FRAME_STRIDE].copy()),
            components=workspace.component_hashes,
        )


class _Recording(Workspace):
    """A run directory that also keeps the frames, which are few and small here."""

    def __init__(self, directory: Path, document: Mapping[str, Any]) -> None:
        super().__init__(directory, document)
        self._frames: dict[int, NDArray[np.uint8]] = {}

    def write_segment(
        self, name: str, start_frame: int, frames: Iterable[NDArray[np.uint8]]
    ) -> Segment | None:
        batches = list(frames)
        if batches:
            self._frames[start_frame] = np.concatenate(batches)
        return super().write_segment(name, start_frame, batches)

    def all_frames(self) -> NDArray[np.uint8]:
        """All frames of the video, [T, H, W, 3]."""
        return np.concatenate([self._frames[start] for start in sorted(self._frames)])


def compare(rendering: Rendering, stored: Rendering) -> Distance:
    """Measure how far a rendering is from the stored one."""
    latents = rendering.latents.float() - stored.latents.float()
    frames = rendering.frames.float() - stored.frames.float()
    return Distance(
        latents=_rms(latents) / _rms(stored.latents.float()),
        frames=_rms(frames),
    )


def case_picture() -> Image.Image:
    """The start picture: a sky, hills and a sun, from whole numbers only, so alike everywhere."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    red = 90 + 2 * y
    green = 140 + y
    blue = 220 - y
    hills = y * 4 > 150 + (x - 20) ** 2 // 8 - (x - 44) ** 2 // 16
    sun = (x - 46) ** 2 + (y - 16) ** 2 < 90
    picture = np.stack([red, green, blue], axis=-1)
    picture[hills] = np.stack([40 + x // 2, 110 - y // 2, 50 + x // 4], axis=-1)[hills]
    picture[sun] = (250, 220, 90)
    picture[(x // 4 % 4 == 0) & (y > 52)] = (120, 90, 60)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _limit_beyond(passing: Mapping[str, Distance], failing: Mapping[str, Distance]) -> Distance:
    """Limits with headroom for what must pass, if what must not then still fails."""
    limit = Distance(
        latents=_HEADROOM * max(distance.latents for distance in passing.values()),
        frames=_HEADROOM * max(distance.frames for distance in passing.values()),
    )
    for name, distance in failing.items():
        if max(distance.latents / limit.latents, distance.frames / limit.frames) < _CLEARANCE:
            raise FramePackError(
                f"a wrong {name} moves the case by {distance}; with rounding alone at {passing}, "
                "limits cannot tell them apart, so choose another case"
            )
    return limit


def _load(case: Path) -> tuple[Rendering, dict[str, Any]]:
    if not case.is_file():
        raise FramePackError(
            f"the stored case {case} is missing; install framepack-studio again, or make it with "
            "`framepack doctor --update-sanity`"
        )
    tensors, document = load_tensors(case)
    rendering = Rendering(tensors["latents"].float(), tensors["frames"], document["components"])
    return rendering, document


def _other_weights(rendering: Rendering, stored: Rendering) -> str:
    names = sorted({*rendering.components, *stored.components})
    changed = [
        name for name in names if rendering.components.get(name) != stored.components.get(name)
    ]
    return (
        f"the embedded model is not the one of the stored case ({', '.join(changed)} changed); "
        "install framepack-studio again, or after a training run `framepack doctor "
        "--update-sanity`"
    )


def _where(components: Components) -> str:
    return f"{components.device} in {str(components.dtype).removeprefix('torch.')}"


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
