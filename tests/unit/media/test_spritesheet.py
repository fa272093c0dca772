"""The sheet of a video's frames, and the times that go with it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.spritesheet import Spritesheet, write_spritesheet
from framepack.media.video import read_frames

WriteVideo = Callable[..., Path]


def test_each_tile_is_the_frame_of_its_time(write_video: WriteVideo, folder: Path) -> None:
    video = write_video(num_frames=60)  # two seconds: eight tiles
    sheet = write_spritesheet(video, folder / "sheet.jpg")
    frames = list(read_frames(video))
    assert sheet.times_s == tuple(round(index / 30, 6) for index in (0, 7, 15, 22, 30, 37, 45, 52))
    with Image.open(folder / "sheet.jpg") as picture:
        assert picture.size == (sheet.columns * 64, sheet.rows * 48) == (192, 144)
        for tile, time in enumerate(sheet.times_s):
            left, top = sheet.place(tile)
            found = np.asarray(picture.crop((left, top, left + 64, top + 48)), dtype=float)
            distances = [np.abs(found - frame).mean() for frame in frames]
            assert int(np.argmin(distances)) == round(time * 30)


def test_long_and_large_videos_give_small_sheets(write_video: WriteVideo, folder: Path) -> None:
    video = write_video(num_frames=20, fps=2, width=320, height=160)
    sheet = write_spritesheet(video, folder / "sheet.jpg", max_tiles=6, max_side=100)
    assert (sheet.width, sheet.height, len(sheet.times_s)) == (100, 50, 6)


def test_the_description_comes_back_from_json(write_video: WriteVideo, folder: Path) -> None:
    sheet = write_spritesheet(write_video(num_frames=30), folder / "sheet.jpg")
    values = json.loads((folder / "sheet.json").read_text())
    assert Spritesheet.from_dict(values) == sheet
    assert values["rows"] == 2


def test_webvtt_covers_the_whole_time() -> None:
    sheet = Spritesheet(2, 64, 48, (0.0, 3599.5, 3600.25), 3661.0)
    assert sheet.to_webvtt("sheet.jpg") == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:59:59.500\nsheet.jpg#xywh=0,0,64,48\n\n"
        "00:59:59.500 --> 01:00:00.250\nsheet.jpg#xywh=64,0,64,48\n\n"
        "01:00:00.250 --> 01:01:01.000\nsheet.jpg#xywh=0,48,64,48\n"
    )


def test_what_is_no_video_is_refused(folder: Path) -> None:
    (folder / "video.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidRequest, match="cannot be read as a video"):
        write_spritesheet(folder / "video.mp4", folder / "sheet.jpg")
    assert not (folder / "sheet.jpg").exists()
