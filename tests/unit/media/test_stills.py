"""Single pictures: what is written comes back, with what it says about itself."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.runs import write_picture

from framepack.domain.errors import InvalidRequest
from framepack.media.encode import write_picture as write_with_document
from framepack.media.inspection import inspect
from framepack.media.metadata import read_metadata, read_tags, sidecar
from framepack.media.sheets import write_animation
from framepack.media.stills import STILL_SUFFIXES, is_still, num_pictures, write_still

DOCUMENT = {"program": "framepack", "request": {"prompt": 'żółć 🙂 "quoted"\n\x00', "seed": 2**53}}


@pytest.fixture
def frame(tmp_path: Path) -> np.ndarray:
    return np.asarray(Image.open(write_picture(tmp_path / "source.png")))


def test_a_png_keeps_every_pixel(tmp_path: Path, frame: np.ndarray) -> None:
    write_still(frame, tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), frame)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_other_kinds_stay_near(tmp_path: Path, frame: np.ndarray, suffix: str) -> None:
    write_still(frame, tmp_path / f"a{suffix}")
    read = np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB"))
    assert np.abs(read.astype(float) - frame).mean() < 3


@pytest.mark.parametrize("suffix", STILL_SUFFIXES)
def test_the_document_comes_back(tmp_path: Path, frame: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_with_document(frame, path, document=DOCUMENT, title="Tïtle", description="two\nlines")
    assert read_metadata(path) == DOCUMENT
    assert sidecar(path).exists() == (suffix != ".png")
    found = inspect(path)
    assert found.is_picture
    assert (found.info.width, found.info.height, found.info.num_frames) == (80, 70, 1)


def test_a_png_carries_title_and_description(tmp_path: Path, frame: np.ndarray) -> None:
    write_with_document(frame, tmp_path / "a.png", title="Tïtle", description="two\nlines")
    assert read_tags(tmp_path / "a.png") == {"title": "Tïtle", "description": "two\nlines"}


def test_a_document_of_several_megabytes_fits(tmp_path: Path, frame: np.ndarray) -> None:
    document = {"program": "framepack", "pictures": {"image": "a" * 3_000_000}}
    write_with_document(frame, tmp_path / "a.png", document=document)
    assert read_metadata(tmp_path / "a.png") == document


@pytest.mark.parametrize("suffix", STILL_SUFFIXES)
def test_a_picture_of_somebody_else_has_no_document(
    tmp_path: Path, frame: np.ndarray, suffix: str
) -> None:
    write_still(frame, tmp_path / f"a{suffix}", {"comment": "by hand"})
    assert read_metadata(tmp_path / f"a{suffix}") == {}


def test_an_animation_is_no_still(tmp_path: Path, frame: np.ndarray) -> None:
    write_animation(iter([frame, frame[::-1].copy()]), tmp_path / "a.webp", fps=10)
    assert not is_still(tmp_path / "a.webp")
    assert not inspect(tmp_path / "a.webp").is_picture


@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_a_damaged_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"a\.png"):
        inspect(path)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_pictures_are_counted_whatever_the_file_is_called(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    assert num_pictures(path) == 3
    frames[0].save(path)
    assert num_pictures(path.rename(tmp_path / "a.mp4")) == 1


def test_what_is_no_picture_counts_none(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    assert num_pictures(tmp_path / "notes.png") == 0
    with pytest.raises(InvalidRequest, match=r"none\.png does not exist"):
        num_pictures(tmp_path / "none.png")
