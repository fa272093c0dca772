"""OpenCV writes the frames it was given, or one line says why not."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from framepack.cli.main import main
from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media import opencv
from framepack.media.exports import write_raw_frames
from framepack.media.opencv import check_opencv, write_video_with_opencv
from framepack.media.video import probe, read_frames

Frames = NDArray[np.uint8]
NUM_FRAMES, HEIGHT, WIDTH = 9, 48, 64

needs_opencv = pytest.mark.skipif(
    importlib.util.find_spec("cv2") is None,
    reason="OpenCV is not installed: pip install opencv-python-headless",
)


@pytest.fixture
def frames() -> Frames:
    """Soft colours that run through the picture, red above and blue below."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    made = np.empty((NUM_FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(NUM_FRAMES):
        made[index, ..., 0] = 255 - 5 * rows
        made[index, ..., 1] = 100 + 60 * np.sin((columns + 4 * index) / 10)
        made[index, ..., 2] = 5 * rows
    return made


@pytest.fixture
def raw(tmp_path: Path, frames: Frames) -> Path:
    path = tmp_path / "raw.safetensors"
    write_raw_frames(frames, path, shape=frames.shape[:3], metadata={"fps": 12})
    return path


@needs_opencv
@pytest.mark.parametrize(
    ("name", "codec", "used"),
    [
        ("out.mp4", None, "mpeg4"),
        ("out.mkv", None, "mpeg4"),
        ("out.mov", None, "mpeg4"),
        ("out.webm", None, "vp9"),
        ("out.mp4", "MJPG", "mjpeg"),
        ("OUT.MP4", "mp4v", "mpeg4"),
    ],
)
def test_every_frame_comes_back_nearly_the_same(
    tmp_path: Path,
    frames: Frames,
    raw: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    codec: str | None,
    used: str,
) -> None:
    path = tmp_path / "made" / name
    chosen = ["--codec", codec] if codec else []
    assert main(["encode", str(raw), "--cv2", *chosen, "-o", str(path), "-q"]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == (f"{path}\n", "")
    info = probe(path)
    assert (info.num_frames, info.codec, float(info.fps)) == (NUM_FRAMES, used, 12)
    found = np.stack(list(read_frames(path)))
    assert found.shape == frames.shape
    difference = np.abs(found.astype(int) - frames)
    assert difference.mean() < 6
    assert np.abs(found.astype(int) - frames[..., ::-1]).mean() > 40, "red is not blue"
    assert [each.name for each in path.parent.iterdir()] == [name]


@needs_opencv
def test_pictures_are_written_beside_the_video(tmp_path: Path, raw: Path) -> None:
    video, folder = tmp_path / "out.mp4", tmp_path / "frames"
    arguments = ["encode", str(raw), "--cv2", "-o", str(video), "--frames", str(folder), "-q"]
    assert main([*arguments, "--fps", "8"]) == 0
    assert len(list(folder.iterdir())) == NUM_FRAMES
    assert float(probe(video).fps) == 8


BAD = {
    "libav's name": (["--codec", "libx264", "-o", "a.mp4"], "is not one of OpenCV's, which have"),
    "no such encoder": (["--codec", "xxxx", "-o", "a.mp4"], "cannot write 64x48 px as xxxx to a"),
    "not in the container": (["--codec", "mp4v", "-o", "a.webm"], "px as mp4v to a.webm"),
    "a repeating picture": (["-o", "a.gif"], "OpenCV writes .mp4, .mov, .mkv, .webm, not .gif"),
    "no video": (["--frames", "f"], "--cv2 writes a video, and none was asked for"),
    "options": (["--codec-options", "crf:1", "-o", "a.mp4"], "OpenCV takes no --codec-options"),
    "pixels": (["--pixel-format", "yuv444p", "-o", "a.mp4"], "OpenCV takes no --pixel-format"),
    "sound": (["--audio", "a.wav", "-o", "a.mp4"], "OpenCV takes no --audio"),
}


@needs_opencv
@pytest.mark.parametrize("name", BAD)
def test_what_opencv_cannot_is_one_line(
    raw: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(raw.parent)
    given, message = BAD[name]
    before = sorted(raw.parent.rglob("*"))
    assert main(["encode", str(raw), "--cv2", *given]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(raw.parent.rglob("*")) == before


@needs_opencv
def test_odd_sizes_are_refused_before_they_are_cut() -> None:
    with pytest.raises(InvalidRequest, match=r"64x46 px, needed are 2 of 65x47"):
        check_opencv("out.mp4", None, width=65, height=47, fps=24)


@needs_opencv
def test_frames_that_opencv_drops_are_found(tmp_path: Path, frames: Frames) -> None:
    smaller = [*frames[:5], *frames[5:, :32, :32]]  # OpenCV leaves these out and says nothing
    path = tmp_path / "out.mp4"
    with pytest.raises(WorkspaceError, match="it wrote 5 frames"):
        write_video_with_opencv(smaller, path, width=WIDTH, height=HEIGHT, fps=24, codec="mp4v")
    assert not [each for each in tmp_path.iterdir() if each.suffix != ".toml"]


def test_without_opencv_one_line_says_what_to_install(
    raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    output = raw.with_name("out.mp4")
    assert main(["encode", str(raw), "--cv2", "-o", str(output)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: --cv2 needs OpenCV, which cannot be imported")
    assert "pip install opencv-python-headless" in err
    assert err.count("\n") == 1
    assert not output.exists()


def test_without_cv2_opencv_is_not_imported(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["encode", str(raw), "-o", str(raw.with_name("out.mp4")), "-q"]) == 0


def test_the_console_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with opencv._quiet_console():
        os.write(2, b"noise\n")
    os.write(2, b"news\n")
    assert capfd.readouterr().err == "news\n"
