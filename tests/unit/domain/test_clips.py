"""Edits are read, refused where they cannot be, and counted to the frame."""

from fractions import Fraction

import pytest

from framepack.domain.clips import ClipEdit, clip_length
from framepack.domain.errors import InvalidRequest

RATE = Fraction(30)


def length(*frames, fps=RATE, **fields):
    return clip_length(ClipEdit.parse(**fields), frames, rate=RATE, fps=Fraction(fps))


def test_values_are_read_as_people_write_them():
    edit = ClipEdit.parse(
        start_s="1.5", crop="64x48+2+4", size="32X16", filters="hflip", loop="3", reverse=True
    )
    assert (edit.start_s, edit.loop, edit.reverse) == (1.5, 3, True)
    assert edit.crop == (64, 48, 2, 4)
    assert edit.size == (32, 16)
    assert edit.filters == ("hflip",)
    assert (str(edit.crop), str(edit.size)) == ("64x48+2+4", "32x16")


def test_an_edit_survives_json():
    edit = ClipEdit.parse(crop="64x48+2+4", size="32x16", filters=["a", "b"], speed=0.5)
    again = ClipEdit.parse(**edit.model_dump(mode="json"))
    assert again == edit


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop": "64x48"}, r"crop \(--crop\) is '64x48'; it must be WIDTHxHEIGHT\+LEFT"),
        ({"crop": "0x48+0+0"}, r"--crop"),
        ({"size": "33x20"}, r"size \(--size\) is '33x20'; it must be .* even numbers"),
        ({"speed": 0}, r"--speed\) is 0; it must be a number from 0.05"),
        ({"loop": 0}, r"--loop\) is 0"),
        ({"start_s": -1}, r"--start\) is -1"),
        ({"spped": 2}, "did you mean 'speed'"),
    ],
)
def test_values_that_cannot_be_are_named(fields, message):
    with pytest.raises(InvalidRequest, match=message):
        ClipEdit.parse(**fields)


@pytest.mark.parametrize(
    ("fields", "fps", "frames"),
    [
        ({}, 30, 90),
        ({"start_s": 1}, 30, 60),
        ({"start_s": 1, "end_s": 2}, 30, 30),
        ({"start_s": 0.05, "end_s": 0.1}, 30, 1),
        ({"speed": 2}, 30, 45),
        ({"speed": 0.5}, 30, 180),
        ({"speed": 3, "end_s": 1}, 30, 10),
        ({"speed": 100}, 30, 1),
        ({}, 24, 72),
        ({}, 60, 180),
        ({"speed": 0.5}, 60, 360),
        ({"ping_pong": True}, 30, 178),
        ({"ping_pong": True, "speed": 100}, 30, 1),
        ({"loop": 3}, 30, 270),
        ({"ping_pong": True, "loop": 2, "reverse": True, "end_s": 1}, 30, 116),
    ],
)
def test_frames_are_counted(fields, fps, frames):
    assert length(90, fps=fps, **fields).num_frames == frames


def test_joined_videos_share_the_frames_of_a_fade():
    assert length(90, 60).num_frames == 150
    faded = length(90, 60, 30, crossfade_s=0.5)
    assert faded.num_faded == 15
    assert faded.num_frames == 150
    assert length(90, crossfade_s=0.5).num_frames == 90


def test_fades_longer_than_a_video_are_refused():
    assert length(90, 30, 90, crossfade_s=0.5).num_frames == 180
    with pytest.raises(InvalidRequest, match=r"video 2 lasts 1.00 s, too short for 2 x"):
        length(90, 30, 90, crossfade_s=0.6)


@pytest.mark.parametrize("fields", [{"start_s": 3}, {"end_s": 4}, {"start_s": 2, "end_s": 1}])
def test_times_outside_of_the_video_are_refused(fields):
    with pytest.raises(InvalidRequest, match=r"of 3.00 s of video"):
        length(90, **fields)
