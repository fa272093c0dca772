"""Claims about numbered pictures and raw frames."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file

from framepack.domain.errors import InvalidRequest
from framepack.media.exports import open_raw_frames, write_pictures, write_raw_frames

Frames = NDArray[np.uint8]


def _frames(count: int = 5, height: int = 6, width: int = 8) -> Frames:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_pictures_are_numbered_from_zero_and_exact(tmp_path: Path) -> None:
    frames = _frames(3)
    assert write_pictures(frames, tmp_path / "new" / "folder", "out") == 3
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["out-00000.png", "out-00001.png", "out-00002.png"]
    for frame, name in zip(frames, names, strict=True):
        with Image.open(tmp_path / "new" / "folder" / name) as picture:
            assert np.array_equal(np.asarray(picture), frame)


def test_jpeg_pictures_are_jpeg(tmp_path: Path) -> None:
    write_pictures(_frames(1), tmp_path, "out", ".jpg")
    with Image.open(tmp_path / "out-00000.jpg") as picture:
        assert picture.format == "JPEG"


def test_raw_frames_are_what_safetensors_reads(tmp_path: Path) -> None:
    path, frames = tmp_path / "raw.safetensors", _frames()
    write_raw_frames(frames, path, shape=(5, 6, 8), metadata={"fps": 24.0, "codec": "libx264"})
    assert np.array_equal(load_file(path)["frames"], frames)
    raw = open_raw_frames(path)
    assert (raw.num_frames, raw.height, raw.width, raw.fps) == (5, 6, 8, 24)
    assert raw.metadata["format"] == "video"
    assert raw.metadata["codec"] == "libx264"
    assert np.array_equal(np.stack(list(raw.frames())), frames)


def test_raw_frames_are_never_in_memory_together(tmp_path: Path) -> None:
    path, frame = tmp_path / "raw.safetensors", _frames(1, 256, 256)[0]

    def many() -> Iterator[Frames]:
        for _ in range(100):
            yield frame

    tracemalloc.start()
    write_raw_frames(many(), path, shape=(100, 256, 256), metadata={})
    for _ in open_raw_frames(path).frames():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * frame.nbytes


@pytest.mark.parametrize("count", [4, 6])
def test_other_frames_than_announced_leave_no_file(tmp_path: Path, count: int) -> None:
    path = tmp_path / "made" / "raw.safetensors"
    with pytest.raises(ValueError, match=f"{count} frames came, 5 were announced"):
        write_raw_frames(_frames(count), path, shape=(5, 6, 8), metadata={})
    assert not list((tmp_path / "made").iterdir())


def test_files_without_frames_are_refused(tmp_path: Path) -> None:
    other, kind, text = (tmp_path / f"{name}.safetensors" for name in ("other", "kind", "text"))
    save_file({"latents": np.zeros((1, 2))}, other)
    save_file({"frames": np.zeros((2, 4, 4, 3), dtype=np.float32)}, kind)
    text.write_text("no tensors", encoding="utf-8")
    for path, message in (
        (other, "holds no tensor 'frames' but latents"),
        (kind, r"F32 \[2, 4, 4, 3\]; U8 \[T, H, W, 3\] is needed"),
        (text, "is no safetensors file"),
        (tmp_path / "missing.safetensors", "does not exist"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            open_raw_frames(path)
