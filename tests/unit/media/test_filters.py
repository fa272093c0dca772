"""Filters: read as ffmpeg reads them, refused before any work, and one frame for each."""

from fractions import Fraction

import numpy as np
import pytest

from framepack.domain.errors import InvalidRequest
from framepack.media.filters import check_filters, filter_frames, parse_filter

FPS = Fraction(30)


def run(frames, *filters):
    return np.stack(list(filter_frames(iter(frames), filters, fps=FPS)))


def checked(*filters, width=64, height=48):
    return check_filters(filters, width=width, height=height, fps=FPS)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("hflip", [("hflip", "")]),
        ("hue=s=0.8, unsharp=5:5:0.5", [("hue", "s=0.8"), ("unsharp", "5:5:0.5")]),
        ("geq='r(X,Y)':g(X\\,Y)", [("geq", "r(X,Y):g(X,Y)")]),
        ("drawbox=x='a;b'", [("drawbox", "x=a;b")]),
    ],
)
def test_chains_are_read_as_ffmpeg_reads_them(text, steps):
    assert parse_filter(text) == steps


def test_no_filter_and_null_change_nothing(waves):
    frames = waves(5)
    assert np.array_equal(run(frames), frames)
    assert np.array_equal(run(frames, "null"), frames)


def test_filters_act_in_order(waves):
    frames = waves(4)
    assert np.array_equal(run(frames, "hflip"), frames[:, :, ::-1])
    assert np.array_equal(run(frames, "hflip,vflip"), frames[:, ::-1, ::-1])
    mirrored = run(frames, "crop=32:48:0:0", "hflip")
    assert np.array_equal(mirrored, frames[:, :, :32][:, :, ::-1])


def test_filters_that_hold_frames_back_give_them_all(waves):
    assert len(run(waves(7), "tmix=frames=3")) == 7
    assert np.array_equal(run(waves(7), "reverse"), waves(7)[::-1])


def test_a_filter_knows_what_time_it_is(waves):
    bright = np.full((30, 16, 16, 3), 200, np.uint8)
    faded = run(bright, "fade=t=in:st=0:d=0.5").mean(axis=(1, 2, 3))
    assert faded[0] < 5
    assert 60 < faded[7] < 140
    assert faded[20:].min() > 198


def test_eq_changes_contrast_brightness_and_saturation(waves):
    grey = np.full((1, 16, 16, 3), 178, np.uint8)
    assert run(grey, "eq=contrast=1.5").mean() == pytest.approx(127.5 + 1.5 * 50.5, abs=3)
    assert run(grey, "eq=brightness=-0.2").mean() == pytest.approx(178 - 51 * 255 / 219, abs=3)
    plain = run(waves(1), "eq=saturation=0").astype(int)
    assert np.ptp(plain, axis=-1).max() <= 2
    assert np.abs(run(waves(2), "eq").astype(int) - waves(2)).max() <= 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nosuch=1", "no video filter 'nosuch'"),
        ("hflop", "did you mean .*hflip"),
        ("hue=nope=1", "hue: No such option: nope"),
        ("curves=preset=nope", "Undefined constant"),
        ("lut3d=file=/nofile.cube", "nofile.cube: No such file"),
        ("crop=1000:1000", "too big"),
        ("overlay", "does not take one video and give one|does not work"),
        ("testsrc", "does not work"),
        ("nullsink", "does not work"),
        ("volume=2", "does not work"),
        ("split", "does not work"),
        ("[in]hflip[out]", "is a graph"),
        ("hue=s='1", "open quote"),
        ("hflip,,vflip", "names no filter"),
        ("eq=hue=3", "takes numbers for contrast"),
        ("eq=gamma=0", "must be above 0"),
    ],
)
def test_filters_that_cannot_work_are_named_in_one_line(text, message):
    with pytest.raises(InvalidRequest, match=message) as found:
        checked(text)
    assert "\n" not in str(found.value)


def test_the_same_mistake_is_explained_each_time() -> None:
    for _ in range(3):
        with pytest.raises(InvalidRequest, match="hue: No such option: nope"):
            checked("hue=nope=1")


@pytest.mark.parametrize("text", ["fps=60", "select='not(mod(n,2))'", "trim=start_frame=2"])
def test_filters_that_change_the_number_of_frames_are_refused(text):
    with pytest.raises(InvalidRequest, match=r"makes \d+ frames of 12"):
        checked(text)


def test_a_number_of_frames_that_changes_late_is_found_at_the_end(waves):
    with pytest.raises(InvalidRequest, match="makes 15 frames of 20"):
        run(waves(20), "trim=end_frame=15")


def test_the_size_that_filters_give_is_told():
    assert checked() == (64, 48)
    assert checked("scale=32:24") == (32, 24)
    assert checked("transpose", "pad=iw+2:ih") == (50, 64)
