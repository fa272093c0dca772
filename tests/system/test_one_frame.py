"""One picture by the section machinery: where it stands, what steers it, what it carries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.runs import stop_after_section, write_picture

import framepack
from framepack.cli.main import main
from framepack.media.images import fit_image, load_image
from framepack.media.stills import STILL_SUFFIXES
from framepack.pipeline.components import Components
from framepack.training.tiny.motion import estimate_motion, speed_factor

SIDE = 128
FRAMES_PER_LATENT = 4


@pytest.fixture
def wide_picture(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "start.png", size=(SIDE, SIDE))


def _made(path: Path, components: Components, **fields: Any) -> NDArray[np.uint8]:
    values = {"one_frame": True, "seed": 1, "num_inference_steps": 6, **fields}
    result = framepack.generate(output=path, components=components, **values)
    assert result.path == path
    return np.asarray(Image.open(path).convert("RGB"))


def _error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(fit_image(load_image(path), SIDE, SIDE))


def test_it_has_the_planned_size_and_nothing_else_is_written(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    fields: dict[str, Any] = {"prompt": "the camera pans left", "image": picture}
    plan = framepack.plan(model="tiny", one_frame=True, width=96, height=64, **fields)
    folder = tmp_path / "out"
    made = _made(folder / "a.png", components, width=96, height=64, **fields)
    assert made.shape == (plan.height, plan.width, 3) == (64, 96, 3)
    assert [path.name for path in folder.iterdir()] == ["a.png"]


def test_it_follows_seed_and_prompt(
    tmp_path: Path, components: Components, wide_picture: Path
) -> None:
    fields: dict[str, Any] = {"image": wide_picture, "target_index": 6}
    left = _made(tmp_path / "a.png", components, prompt="the camera pans left", **fields)
    again = _made(tmp_path / "b.png", components, prompt="the camera pans left", **fields)
    right = _made(tmp_path / "c.png", components, prompt="the camera pans right", **fields)
    other = _made(
        tmp_path / "d.png",
        components,
        prompt="the camera pans left",
        seed=2,
        image=wide_picture,
        target_index=6,
    )
    np.testing.assert_array_equal(left, again)
    assert _error(left, right) > 8
    assert _error(left, other) > 0.5


@pytest.mark.parametrize("way", ["left", "up"])
def test_a_larger_index_lies_further_along_the_motion(
    tmp_path: Path, components: Components, wide_picture: Path, way: str
) -> None:
    start = _pixels(wide_picture)
    travelled = []
    for index in (1, 3, 6):
        made = _made(
            tmp_path / f"{index}.png",
            components,
            prompt=f"the camera pans {way}",
            image=wide_picture,
            target_index=index,
        )
        frames = torch.from_numpy(np.stack([start, made])).permute(0, 3, 1, 2) / 255
        gap = FRAMES_PER_LATENT * index
        motion = estimate_motion(frames, torch.tensor([0, gap]))
        travelled.append(gap * speed_factor(motion, f"pan {way}"))
    nothing, some, more = travelled
    assert nothing < 2 < some < more
    assert more > 10


def test_an_end_picture_draws_it_on(
    tmp_path: Path, components: Components, wide_picture: Path
) -> None:
    end = write_picture(tmp_path / "end.png", seed=1, size=(SIDE, SIDE))
    fields: dict[str, Any] = {"image": wide_picture, "end_image": end}
    early = _made(tmp_path / "1.png", components, target_index=1, **fields)
    late = _made(tmp_path / "9.png", components, target_index=9, **fields)
    assert _error(early, _pixels(wide_picture)) < 0.5 * _error(early, _pixels(end))
    assert _error(late, _pixels(end)) < 0.5 * _error(late, _pixels(wide_picture))


@pytest.mark.parametrize("suffix", STILL_SUFFIXES)
def test_the_file_alone_repeats_it(
    tmp_path: Path, components: Components, picture: Path, suffix: str
) -> None:
    fields: dict[str, Any] = {"prompt": "the camera zooms in", "width": 64, "height": 64}
    first = _made(tmp_path / f"a{suffix}", components, image=picture, target_index=3, **fields)
    picture.unlink()
    found = framepack.inspect(tmp_path / f"a{suffix}")
    request = found.restore(tmp_path / "restored")
    assert (request.one_frame, request.target_index) == (True, 3)
    framepack.generate(request, output=tmp_path / f"b{suffix}", components=components)
    second = np.asarray(Image.open(tmp_path / f"b{suffix}").convert("RGB"))
    np.testing.assert_array_equal(first, second)


def test_a_stopped_run_is_finished_as_a_picture(
    tmp_path: Path, components: Components, picture: Path
) -> None:
    fields: dict[str, Any] = {"image": picture, "prompt": "x", "width": 64, "height": 64}
    whole = _made(tmp_path / "a.png", components, **fields)
    events = framepack.stream(
        output=tmp_path / "b.png",
        run_dir=tmp_path / "run",
        components=components,
        one_frame=True,
        seed=1,
        num_inference_steps=6,
        **fields,
    )
    stop_after_section(events)
    assert framepack.save_partial(tmp_path / "run", tmp_path / "c.png") == 1
    framepack.resume(tmp_path / "run", components=components)
    for name in ("b.png", "c.png"):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name)), whole)


def test_the_command_names_a_picture_and_repeats_it(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model", "tiny", "--steps", "2", "--width", "64", "--height", "64", "-q"]
    asked = ["--one-frame", "--target-index", "2", "--image", str(picture), "--prompt", "x"]
    assert main(["generate", *asked, *options]) == 0
    made = Path(capsys.readouterr().out.strip())
    assert made.suffix == ".png"
    assert main(["generate", "--from", str(made), "-o", "again.png", "-q"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(made)), np.asarray(Image.open("again.png")))
    capsys.readouterr()
    assert main(["inspect", "again.png"]) == 0
    assert "64x64 px, one picture, png rgb" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "a.mp4"], "write a.png"),
        (["-o", "a.png", "--frames", "frames"], "leave --frames out"),
        (["-o", "a.png", "--raw", "a.safetensors"], "leave --raw out"),
        (["-o", "a.png", "--audio", "a.wav"], "leave --audio out"),
        (["-o", "a.png", "--duration", "2"], "--duration"),
    ],
)
def test_what_a_picture_cannot_be_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(["generate", "--model", "tiny", "--one-frame", "--prompt", "x", *options])
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert message in said
    assert "\n" not in said
    assert {path.name for path in tmp_path.iterdir()} <= {"framepack-settings.toml"}
