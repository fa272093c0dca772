"""Drift is read off frames: in the right measure, in the right direction, for each section."""

import time

import numpy as np
import pytest
from PIL import Image, ImageFilter

from framepack.domain.errors import InvalidRequest
from framepack.media.codecs import LOSSLESS
from framepack.media.drift import drift_of, measure_drift, measure_section
from framepack.media.drift_plot import check_plot, plot_drift
from framepack.media.encode import write_video
from framepack.media.video import read_frames


def picture(side=192):
    coarse = np.random.default_rng(5).integers(20, 200, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def still(image, count=4):
    return np.stack([np.asarray(image)] * count)


def panned(step, count=6, side=192):
    whole = np.asarray(picture(2 * side))
    return np.stack([whole[:side, index * step : index * step + side] for index in range(count)])


def against_first(changed):
    return drift_of(measure_section(still(changed)), measure_section(still(picture())))


def test_the_same_frames_do_not_drift():
    drift = against_first(picture())
    assert drift.score == 0
    assert set(drift.to_dict().values()) == {0.0}


def test_blur_takes_sharpness_and_hardly_colour():
    drift = against_first(picture().filter(ImageFilter.GaussianBlur(2)))
    assert drift.sharpness < -0.2
    assert drift.detail < -0.4
    assert drift.colour < 1
    assert drift.score == pytest.approx(-drift.sharpness)


def test_washed_out_frames_lose_contrast_and_colour():
    grey = Image.new("RGB", (192, 192), (110, 110, 110))
    drift = against_first(Image.blend(picture(), grey, 0.5))
    assert drift.contrast == pytest.approx(-0.5, abs=0.02)
    assert drift.saturation < -5


def test_a_tint_moves_the_colour_along_its_axis():
    pixels = np.asarray(picture()).astype(int)
    redder = Image.fromarray((pixels + np.array([40, 0, 0])).astype(np.uint8))
    drift = against_first(redder)
    assert drift.colour > 8
    assert measure_section(still(redder)).a > measure_section(still(picture())).a + 5


def test_colours_are_those_of_cielab():
    for rgb, lab in (
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ):
        found = measure_section(still(Image.new("RGB", (16, 16), rgb)))
        assert (found.lightness, found.a, found.b) == pytest.approx(lab, abs=0.05)


@pytest.mark.parametrize("step", [1, 3, 6])
def test_motion_is_about_the_pixels_moved(step):
    assert measure_section(panned(step)).motion == pytest.approx(step, rel=0.4)


def test_frames_that_stand_still_or_only_brighten_do_not_move():
    dark = np.asarray(picture()).astype(int)
    brighter = np.stack([dark + 5 * index for index in range(6)]).astype(np.uint8)
    assert measure_section(still(picture())).motion == 0
    assert measure_section(brighter).motion < 0.1
    assert measure_section(panned(0, count=1)).motion == 0


def test_flat_frames_give_finite_figures():
    flat = still(Image.new("RGB", (16, 16), "black"))
    drift = drift_of(measure_section(panned(2)), measure_section(flat))
    assert all(np.isfinite(value) for value in drift.to_dict().values())


@pytest.mark.parametrize("frames", [np.zeros((0, 16, 16, 3), np.uint8), np.zeros((2, 16, 16, 3))])
def test_other_frames_are_refused(frames):
    with pytest.raises(ValueError, match="needed"):
        measure_section(frames)


def test_a_section_is_measured_well_within_two_seconds():
    frames = np.random.default_rng(0).integers(0, 256, (36, 640, 640, 3), dtype=np.uint8)
    begun = time.process_time()
    measure_section(frames)
    assert time.process_time() - begun < 2


def blurring_video(folder, document=None, count=20):
    """A video that gets softer frame by frame."""
    frames = [
        np.asarray(picture(64).filter(ImageFilter.GaussianBlur(index / 8)))
        for index in range(count)
    ]
    path = folder / "soft.mkv"
    size = {"width": 64, "height": 64, "fps": 10}
    write_video(frames, path, video_format=LOSSLESS, document=document, **size)
    return path


def test_a_report_has_the_figures_of_its_sections(folder):
    report = measure_drift(blurring_video(folder), num_sections=4)
    assert [(part.start_frame, part.end_frame) for part in report.sections] == [
        (0, 5),
        (5, 10),
        (10, 15),
        (15, 20),
    ]
    changes = [section.drift.sharpness for section in report.sections]
    assert changes[0] == 0
    assert sorted(changes, reverse=True) == changes
    frames = np.stack(list(read_frames(report.path)))
    second = measure_section(frames[5:10])
    assert report.sections[1].measures.sharpness == pytest.approx(second.sharpness)
    ends = drift_of(measure_section(frames[-3:]), measure_section(frames[:3]))
    assert report.ends.sharpness == pytest.approx(ends.sharpness)


def test_sections_come_from_the_file_that_names_them(folder):
    plan = {
        "num_frames": 20,
        "request": {"interpolate": 2},
        "sections": [{"start_frame": 6}, {"start_frame": 0}, {"start_frame": 6}],
    }
    path = blurring_video(folder, {"program": "framepack", "plan": plan})
    report = measure_drift(path)
    assert report.boundaries == "file"
    assert [part.start_frame for part in report.sections] == [0, 12]


def test_sections_of_another_length_are_not_believed(folder):
    plan = {"num_frames": 90, "request": {"interpolate": 1}, "sections": [{"start_frame": 45}]}
    path = blurring_video(folder, {"program": "framepack", "plan": plan})
    report = measure_drift(path)
    assert report.boundaries == "equal"
    assert [part.start_frame for part in report.sections] == [0, 10]


def test_more_sections_than_frames_are_refused(folder):
    with pytest.raises(InvalidRequest, match="has 20 frames, 21 sections were asked"):
        measure_drift(blurring_video(folder), num_sections=21)


def test_a_plot_shows_the_sections_of_the_video(folder):
    report = measure_drift(blurring_video(folder), num_sections=2)
    size = plot_drift(report, folder / "plot.png")
    with Image.open(folder / "plot.png") as plot:
        assert plot.size == size
        drawn = np.asarray(plot.convert("RGB")).astype(int)
    blue = (np.abs(drawn - [31, 95, 180]).max(axis=-1) < 40).sum(axis=1)
    assert np.count_nonzero(blue > 100) >= 3  # a thick line across in each row of panels
    with pytest.raises(InvalidRequest, match="is needed"):
        check_plot(folder / "plot.txt")


def test_a_plot_of_a_single_frame_is_drawn(folder):
    report = measure_drift(blurring_video(folder, count=1))
    plot_drift(report, folder / "plot.png")
    assert (folder / "plot.png").is_file()
