"""The commands for finished videos: what they write, print and refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from tests.helpers.upscalers import nearest_rrdb

from framepack.cli.main import main
from framepack.media.codecs import LOSSLESS
from framepack.media.encode import write_video
from framepack.media.video import probe, read_frames
from framepack.models.upscaler import RRDBConfig


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twenty frames at 10 frames/s that get darker."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 32, 3))
    frames = [(noise * (20 - index) / 20).astype(np.uint8) for index in range(20)]
    path = tmp_path / "dark.mkv"
    write_video(frames, path, width=32, height=16, fps=10, video_format=LOSSLESS)
    return path


def test_options_of_clip_reach_the_edit(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    exact = ["--codec", "ffv1", "--pixel-format", "bgr0"]
    edit = "--start 0.5 --end 1.5 --speed 2 --loop 2 --filter hflip --filter vflip --crop 16x16+8+0"
    assert main(["clip", str(video), "-o", str(out), *edit.split(), *exact]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out)
    assert "10 frames (1.00 s at 10 fps), 16x16 px" in said.err
    given, made = list(read_frames(video)), list(read_frames(out))
    wanted = [given[index][::-1, 8:24][:, ::-1] for index in (5, 7, 9, 11, 13)] * 2
    assert np.array_equal(made, wanted)


def test_several_videos_are_joined_quietly(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    assert main(["clip", str(video), str(video), "-o", str(out), "--crossfade", "0.5", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert probe(out).num_frames == 35


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--filter", "nosuch"], "there is no video filter 'nosuch'"),
        (["--speed", "fast"], "speed (--speed) is 'fast'; it must be a number from 0.05 to 100"),
        (["--crop", "99x99+0+0"], "reaches outside"),
        (["--start", "1", "--start", "2"], "given 2 times"),
    ],
)
def test_bad_edits_are_one_line_and_write_nothing(
    options: list[str],
    message: str,
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["clip", str(video), "-o", str(tmp_path / "out.mp4"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


def test_drift_is_printed_as_lines_and_as_json(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.png"
    assert main(["drift", str(video), "--sections", "4", "--plot", str(plot)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 1 + 4 + 1 + 1
    assert "(equal parts)" in lines[0]
    assert "contrast -" in lines[-2]
    with Image.open(plot) as picture:
        assert picture.width > 500
    assert main(["drift", str(video), "--sections", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["start_frame"] for each in document["sections"]] == [0, 5, 10, 15]
    assert document["drift"]["contrast"] < -0.5
    assert document["drift"]["score"] >= 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sections", "0"], "--sections is 0; it must be at least 1"),
        (["--sections", "99"], "has 20 frames, 99 sections"),
        (["--plot", "plot.txt"], "is needed"),
    ],
)
def test_a_drift_that_cannot_be_measured_is_one_line(
    options: list[str], message: str, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(video), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_video_is_enlarged(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "repeat.safetensors", tmp_path / "out.mkv"
    save_file(nearest_rrdb(RRDBConfig(8, 4, 1, 1)).state_dict(), weights)
    exact = ["--codec", "ffv1", "--pixel-format", "bgr0", "--device", "cpu"]
    options = ["--weights", str(weights), "--tile", "16", *exact]
    assert main(["upscale", str(video), "-o", str(out), *options]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out)
    assert "20 frames, 64x32 px" in said.err
    wanted = [frame.repeat(2, axis=0).repeat(2, axis=1) for frame in read_frames(video)]
    assert np.array_equal(list(read_frames(out)), wanted)
    assert main(["inspect", str(out)]) == 0
    assert "upscaler  repeat.safetensors" in capsys.readouterr().out


def test_weights_of_the_settings_enlarge_where_none_are_named(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, out = tmp_path / "repeat.safetensors", tmp_path / "out.mkv"
    save_file(nearest_rrdb(RRDBConfig(8, 4, 1, 1)).state_dict(), weights)
    monkeypatch.setenv("FRAMEPACK_UPSCALER_WEIGHTS", str(weights))
    assert main(["upscale", str(video), "-o", str(out), "--tile", "0", "--device", "cpu"]) == 0
    assert probe(out).width == 64


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--weights", "missing.pth"], 2, "weights missing.pth does not exist"),
        (["--weights", "missing.pth", "--tile", "x"], 2, "--tile is 'x'"),
        ([], 2, "--weights"),
    ],
)
def test_a_video_that_cannot_be_enlarged_is_one_line(
    options: list[str],
    code: int,
    message: str,
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["upscale", str(video), "-o", str(tmp_path / "out.mp4"), *options]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
