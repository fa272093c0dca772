"""Claims about encoders: what is there, what works, and which options suit them."""

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.media import codecs
from framepack.media.codecs import (
    check_format,
    choose_encoder,
    list_encoders,
    parse_options,
    video_format,
)


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
