"""Claims about encoders: what is there, what works, and which options suit them."""

from pathlib import Path

import numpy as np
import pytest

from framepack.domain.errors import InvalidRequest
from framepack.media import codecs
from framepack.media.codecs import (
    check_format,
    choose_encoder,
    list_encoders,
    options_for,
    parse_options,
    video_format,
)
from framepack.media.encode import write_video


def _format(codec: str, options: str = "", pixel_format: str | None = None) -> codecs.VideoFormat:
    return video_format(codec, options, pixel_format, crf=16, preset="medium")


def test_options_are_read_with_colon_or_equals() -> None:
    assert parse_options("crf:16, preset=slow,") == {"crf": "16", "preset": "slow"}
    assert parse_options("x264-params=a=1:b=2") == {"x264-params": "a=1:b=2"}
    assert parse_options("") == {}


@pytest.mark.parametrize("text", ["fast", "crf:", ":16", "crf:16,slow"])
def test_an_option_without_a_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="has no value; write name:value"):
        parse_options(text)


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        ("libx264", "yuv420p"),
        ("libx265", "yuv420p"),
        ("libvpx-vp9", "yuv420p"),
        ("prores_ks", "yuv422p10le"),
        ("ffv1", "yuv420p"),
    ],
)
def test_software_encoders_open_with_their_own_pixel_format(codec: str, pixel_format: str) -> None:
    chosen = _format(codec)
    assert chosen.pixel_format == pixel_format
    check_format(chosen)


def test_quality_reaches_the_encoders_that_have_it() -> None:
    assert _format("libx264").options["crf"] == "16"
    assert _format("libx264", "crf:30").options["crf"] == "30"
    assert _format("libx265").options["preset"] == "medium"
    assert not _format("ffv1").options


@pytest.mark.parametrize(
    ("codec", "options", "pixel_format", "message"),
    [
        ("libx264", "nonsense:1", None, "knows no option 'nonsense'"),
        ("libx264", "preset:sluggish", None, "does not open with .*preset:sluggish"),
        ("libx264", "crf:99", None, "crf is 99; encoder libx264 takes a number from 0 to 51"),
        ("libx264", "crf:-2", None, "crf is -2; encoder libx264 takes a number from 0 to 51"),
        ("libx264", "subq:12", None, "subq is 12; encoder libx264 takes a number from 0 to 11"),
        ("libx265", "crf:52", None, "crf is 52; encoder libx265 takes a number from 0 to 51"),
        ("libsvtav1", "crf:64", None, "crf is 64; encoder libsvtav1 takes a number from 0 to 63"),
        ("libvpx-vp9", "cpu-used:9", None, "cpu-used is 9; .* takes a number from -8 to 8"),
        ("libx264", "crf:low", None, "does not open with .*crf:low"),
        ("libx264", "", "bgr0", "takes no pixel format bgr0; choose one of yuv420p"),
        ("h265", "", None, "there is no video encoder 'h265'"),
        ("aac", "", None, "there is no video encoder 'aac'"),
    ],
)
def test_what_does_not_suit_is_named(
    codec: str, options: str, pixel_format: str | None, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        check_format(_format(codec, options, pixel_format))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", "crf:0"),
        ("libx264", "crf:51"),
        ("libx264", "crf:-1,qp:20"),  # libav's word for an option that is not given
        ("libx264", "b:1M,profile:high,tune:film"),
        ("libsvtav1", "crf:63"),
        ("prores_ks", "profile:hq"),
    ],
)
def test_limits_themselves_and_names_of_values_are_taken(codec: str, options: str) -> None:
    chosen = _format(codec, options)
    assert parse_options(options).items() <= chosen.options.items()
    check_format(chosen)


def test_an_encoders_parameters_add_to_those_that_are_there() -> None:
    ours = _format("libx264").options["x264-params"]
    assert _format("libx264", "x264-params=ref=2").options["x264-params"] == f"{ours}:ref=2"


@pytest.mark.parametrize(("width", "height"), [(50, 48), (64, 128), (80, 48)])
def test_h265_comes_out_alike_every_time(width: int, height: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (16, height, width, 3), dtype=np.uint8)
    found = set()
    for number in range(5):
        path = tmp_path / f"{number}.mp4"
        write_video(
            frames, path, width=width, height=height, fps=30, video_format=_format("libx265")
        )
        found.add(path.read_bytes())
    assert len(found) == 1


def test_frames_in_which_x265_would_crash_are_refused(tmp_path: Path) -> None:
    frames = np.zeros((2, 48, 48, 3), np.uint8)
    with pytest.raises(InvalidRequest, match="48 px wide, and encoder libx265 needs 50 or more"):
        write_video(
            frames, tmp_path / "a.mp4", width=48, height=48, fps=30, video_format=_format("libx265")
        )
    assert not list(tmp_path.glob("*mp4*"))


def test_what_is_said_of_narrow_h265_holds() -> None:
    chosen = _format("libx265", "x265-params=ctu=32")
    assert options_for(chosen, 640) == dict(chosen.options)
    params = options_for(chosen, 64)["x265-params"].split(":")
    assert params.index("ctu=32") > params.index("ctu=16")
    assert options_for(_format("libx264"), 64) == dict(_format("libx264").options)


def test_a_family_is_its_first_encoder_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    working = {"h264_qsv", "libx264"}
    monkeypatch.setattr(codecs, "_works", lambda name: name in working)
    assert choose_encoder("h264") == ("h264_qsv", "Codec h264: encoding with h264_qsv.")
    working.remove("h264_qsv")
    assert choose_encoder("h264")[0] == "libx264"


def test_hardware_that_does_not_work_gives_way_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_works", lambda name: not name.endswith("_nvenc"))
    encoder, line = choose_encoder("hevc_nvenc")
    assert encoder == "libx265"
    assert line == "Encoder hevc_nvenc does not work on this machine: using libx265."


def test_software_is_taken_as_it_is() -> None:
    assert choose_encoder("libx264") == ("libx264", None)
    assert choose_encoder("none") == ("none", None)


def test_hardware_stands_first_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_works", lambda name: True)
    found = list_encoders()
    kinds = [encoder.is_hardware for encoder in found]
    assert kinds == sorted(kinds, reverse=True)
    assert {"libx264", "ffv1", "libsvtav1"} <= {encoder.name for encoder in found}
