"""Thumbnails, contact sheets and animated pictures show the frames they were given."""

import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.sheets import contact_sheet, write_animation, write_thumbnail
from framepack.media.video import probe


def flat(colour, width=32, height=24):
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1024, 512), (512, 256)), ((600, 1200), (256, 512)), ((128, 96), (128, 96))],
)
def test_thumbnail_is_at_most_512_pixels(folder, size, expected):
    path = folder / "video.thumb.jpg"
    assert write_thumbnail(flat((200, 30, 90), *size), path) == expected
    with Image.open(path) as image:
        assert (image.size, image.format) == (expected, "JPEG")
        assert np.abs(np.asarray(image).astype(int) - (200, 30, 90)).max() <= 6


def test_thumbnail_of_a_needle_keeps_a_pixel(folder):
    assert write_thumbnail(flat(0, 2048, 1), folder / "thumb.jpg") == (512, 1)


def test_sheet_holds_frames_row_by_row(folder):
    path = folder / "sheet.png"
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert contact_sheet(map(flat, colours), 2, path) == (76, 60)
    with Image.open(path) as sheet:
        positions = [(20, 16), (56, 16), (20, 44), (56, 44), (1, 1)]
        found = [sheet.getpixel(position) for position in positions]
    assert found == [*colours, (255, 255, 255), (255, 255, 255)]


def test_labels_stand_above_their_frames(folder):
    path = folder / "sheet.png"
    contact_sheet([flat((255, 0, 0)), flat((0, 0, 255))], 1, path, labels=["one", "two"])
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (4 + 2 * (24 + 4 + 16), 40, 3)
    assert pixels[4:18].min() < 100
    assert (pixels[20:44, 4:36] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("count", "columns", "labels"), [(0, 2, None), (2, 0, None), (2, 2, ["one"])]
)
def test_impossible_sheet_is_refused(folder, count, columns, labels):
    with pytest.raises(ValueError, match=r"give one|is needed"):
        contact_sheet([flat(0)] * count, columns, folder / "sheet.png", labels=labels)
    assert list(folder.iterdir()) == []


def test_sheet_needs_a_picture_suffix(folder):
    with pytest.raises(ValueError, match=r"\.png"):
        contact_sheet([flat(0)], 1, folder / "sheet.txt")


@pytest.mark.parametrize(("suffix", "fps"), [("webp", 30), ("webp", 12.5), ("gif", 30), ("gif", 8)])
def test_animation_keeps_frames_and_duration(folder, waves, suffix, fps):
    path = folder / f"animation.{suffix}"
    assert write_animation(waves(30), path, fps=fps) == 30
    with Image.open(path) as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((64, 48), 30, 0)
        duration = 0
        for index in range(30):
            image.seek(index)
            image.load()
            duration += image.info["duration"]
    assert duration == pytest.approx(30_000 / fps, abs=5)


@pytest.mark.parametrize(
    ("name", "fps", "count"),
    [("a.png", 10, 1), ("a", 10, 1), ("a.gif", 60, 1), ("a.webp", 0, 1), ("a.webp", 10, 0)],
)
def test_impossible_animation_is_refused(folder, name, fps, count):
    with pytest.raises(ValueError, match=r"is needed|shows up to"):
        write_animation([flat(0)] * count, folder / name, fps=fps)


def test_unwritable_place_is_one_clear_error(folder):
    (folder / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="cannot write"):
        write_thumbnail(flat(0), folder / "file" / "thumb.jpg")


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_an_animation_is_probed_by_the_times_of_its_frames(folder, name):
    path = folder / name
    write_animation([flat((number * 9, 40, 200)) for number in range(9)], path, fps=30)
    info = probe(path)
    assert (info.width, info.height, info.num_frames) == (32, 24, 9)
    assert info.codec == name[2:]
    assert float(info.fps) == pytest.approx(30, rel=0.01)
    assert info.duration_s == pytest.approx(0.3, abs=0.005)


def test_a_damaged_animation_is_one_clear_error(folder):
    path = folder / "bad.webp"
    path.write_bytes(b"RIFF0000WEBPnothing")
    with pytest.raises(InvalidRequest, match="cannot be read as a video"):
        probe(path)
