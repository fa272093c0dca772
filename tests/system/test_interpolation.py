"""Interpolated videos: exact in length and rate, whole at both ends, never frozen."""

from contextlib import closing
from itertools import pairwise, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tests.helpers.ifnets import random_ifnet, save_ifnet
from tests.helpers.runs import SMALL, frames_of, make_video, write_picture

import framepack
from framepack.domain.choices import Interpolation
from framepack.domain.errors import CheckpointError, InvalidRequest, WorkspaceError
from framepack.domain.events import SectionDone
from framepack.domain.settings import Settings
from framepack.media.metadata import read_metadata
from framepack.pipeline.components import Components
from framepack.training.rife.measure import compare_methods
from framepack.weights.hashing import sha256_file

TINIEST: dict[str, Any] = {"width": 64, "height": 64, "num_inference_steps": 1}
METHODS = get_args(Interpolation)
ALL = list(product((8, 16, 24, 30), (1, 2, 3), (1, 2.5, 4, 10), (5, 9)))
FEW = [(8, 3, 1, 5), (24, 2, 2.5, 5), (30, 3, 4, 9), (16, 1, 2.5, 9)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("fps", "factor", "duration", "window"),
    [pytest.param(*case, marks=[] if case in FEW else pytest.mark.full) for case in ALL],
)
def test_every_combination_decodes_to_the_planned_frames(
    tmp_path: Path,
    components: Components,
    fps: float,
    factor: int,
    duration: float,
    window: int,
    method: str,
) -> None:
    made = make_video(
        tmp_path,
        components,
        **TINIEST,
        fps=fps,
        interpolate=factor,
        interpolation=method,
        duration_s=duration,
        latent_window_size=window,
        variant="forward-only",
        preset="ultrafast",
    )
    info = framepack.inspect(made.path).info
    assert made.plan.num_frames == round(duration * fps)
    assert len(frames_of(made.path)) == info.num_frames == made.plan.num_frames
    assert float(info.fps) == pytest.approx(fps)
    assert info.duration_s == pytest.approx(duration, abs=0.5 / fps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", ["bi-directional", "forward-only"])
def test_generated_frames_stay_and_none_is_frozen(
    tmp_path: Path, components: Components, variant: str, method: str
) -> None:
    shared: dict[str, Any] = {
        "variant": variant,
        "interpolation": method,
        "duration_s": 1.0,
        "codec": "ffv1",
        "pixel_format": "bgr0",
        "image": write_picture(tmp_path / "picture.png"),
        "components": components,
    }
    slow = framepack.generate(output=tmp_path / "slow.mkv", **{**SMALL, **shared, "fps": 8})
    fast = framepack.generate(
        output=tmp_path / "fast.mkv", **{**SMALL, **shared, "fps": 24, "interpolate": 3}
    )
    generated, written = frames_of(slow.path), frames_of(fast.path)
    assert (len(generated), len(written)) == (8, 24)
    assert np.array_equal(written[::3], generated)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(written)]
    assert min(steps) > 0


def test_the_end_picture_stays_the_last_frame(tmp_path: Path, components: Components) -> None:
    pictures = {
        "image": write_picture(tmp_path / "one.png", seed=1),
        "end_image": write_picture(tmp_path / "two.png", seed=2),
    }
    shared = {"components": components, **SMALL, **pictures, "codec": "ffv1"}
    plain = framepack.generate(
        output=tmp_path / "plain.mkv", **{**shared, "duration_s": 1, "fps": 12}
    )
    fine = framepack.generate(
        output=tmp_path / "fine.mkv", **{**shared, "duration_s": 1, "fps": 24, "interpolate": 2}
    )
    assert fine.plan.num_frames == 2 * plain.plan.num_frames - 1
    assert np.array_equal(frames_of(fine.path)[-1], frames_of(plain.path)[-1])


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_interpolates_alike(
    tmp_path: Path, components: Components, method: str
) -> None:
    asked = {**SMALL, "duration_s": 1.5, "interpolate": 2, "interpolation": method}
    whole = framepack.generate(output=tmp_path / "whole.mp4", components=components, **asked)
    events = framepack.stream(
        output=tmp_path / "out.mp4", run_dir=tmp_path / "run", components=components, **asked
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    resumed = framepack.resume(tmp_path / "run", components=components)
    assert np.array_equal(frames_of(whole.path), frames_of(resumed.path))


def test_other_forms_are_interpolated_too(tmp_path: Path, components: Components) -> None:
    from framepack.media.exports import open_raw_frames

    raw = tmp_path / "raw.safetensors"
    made = framepack.generate(
        output=tmp_path / "out.mkv",
        components=components,
        raw=raw,
        frames_dir=tmp_path / "frames",
        **{**SMALL, "duration_s": 1, "interpolate": 3, "codec": "ffv1", "pixel_format": "bgr0"},
    )
    frames = frames_of(made.path)
    found = open_raw_frames(raw)
    assert np.array_equal(list(found.frames()), frames)
    assert found.metadata["interpolate"] == "3"
    assert len(list((tmp_path / "frames").iterdir())) == len(frames) == 24


def test_a_partial_video_is_interpolated(tmp_path: Path, components: Components) -> None:
    asked = {**SMALL, "variant": "forward-only", "duration_s": 2, "interpolate": 2}
    events = framepack.stream(
        output=tmp_path / "out.mp4", run_dir=tmp_path / "run", components=components, **asked
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    number = framepack.save_partial(tmp_path / "run")
    assert number % 2 == 1
    assert len(frames_of(tmp_path / "out.mp4")) == number < 48


def test_known_motion_is_followed_best_by_rife() -> None:
    """Held-out camera moves and sprites at 128 px: rife before minterpolate before blend."""
    found = compare_methods(num_pictures=1, factor=2)
    for row in ("all", "pan", "sprite"):
        assert found[row]["rife"] > found[row]["minterpolate"] > found[row]["blend"]
    for row in ("zoom", "rotate"):
        assert found[row]["rife"] > found[row]["minterpolate"]


def test_the_file_names_the_weights(tmp_path: Path, components: Components) -> None:
    weights = save_ifnet(random_ifnet(), tmp_path / "flownet.pkl")
    made = make_video(
        tmp_path,
        components,
        **TINIEST,
        duration_s=0.5,
        interpolate=2,
        interpolation="rife",
        rife_weights=weights,
    )
    document = read_metadata(made.path)
    assert document["components"]["rife flownet.pkl"] == sha256_file(weights)
    assert document["request"]["rife_weights"] == "flownet.pkl"


def test_other_weights_cannot_go_on_with_a_run(tmp_path: Path, components: Components) -> None:
    weights = save_ifnet(random_ifnet(), tmp_path / "own.safetensors")
    asked = {**SMALL, "duration_s": 1, "interpolate": 2, "interpolation": "rife"}
    events = framepack.stream(
        output=tmp_path / "out.mp4",
        run_dir=tmp_path / "run",
        components=components,
        rife_weights=weights,
        **asked,
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    save_ifnet(random_ifnet(seed=1), weights)
    with pytest.raises(WorkspaceError, match=r"rife own.safetensors changed"):
        framepack.resume(tmp_path / "run", components=components)


def test_weights_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path, components: Components
) -> None:
    asked = {**SMALL, "interpolate": 2, "interpolation": "rife", "components": components}
    wrong = tmp_path / "wrong.pth"
    torch.save({"unet.weight": torch.zeros(2)}, wrong)
    for path, error in ((wrong, CheckpointError), (tmp_path / "none.pkl", InvalidRequest)):
        with pytest.raises(error, match=str(path)) as caught:
            framepack.stream(
                output=tmp_path / "out.mp4",
                run_dir=tmp_path / "run",
                **{**asked, "rife_weights": path},
            )
        assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_settings_name_weights_too(tmp_path: Path, components: Components) -> None:
    weights = save_ifnet(random_ifnet(), tmp_path / "own.safetensors")
    settings = Settings.load(rife_weights=weights)
    fields = {**TINIEST, "duration_s": 0.5, "interpolate": 2, "settings": settings}
    made = make_video(tmp_path, components, **fields, interpolation="rife")
    assert made.plan.request.rife_weights == weights
    other = make_video(tmp_path, components, **fields, interpolation="blend")
    assert other.plan.request.rife_weights is None
