"""Which video encoders there are, whether they work here, and whether options suit them.

An encoder that is listed may still fail: hardware encoders need their hardware and its driver.
So encoders are tried by opening them, and options by what is left of them afterwards.
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

import av
from av.codec import Codec
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext

from framepack.domain.errors import InvalidRequest
from framepack.media.codec_limits import check_limits

__all__ = [
    "ANIMATIONS",
    "CONTAINERS",
    "JOINED_SUFFIXES",
    "LOSSLESS",
    "NO_VIDEO",
    "EncoderInfo",
    "VideoFormat",
    "check_format",
    "choose_encoder",
    "goes_into",
    "h264_format",
    "list_encoders",
    "options_for",
    "parse_options",
    "video_format",
]

NO_VIDEO = "none"
"""The codec that stands for no video file."""

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffix of a video file to libav's name of its container."""

JOINED_SUFFIXES = (".mp4", ".mov", ".mkv")
"""Suffixes of files into which segments of H.264 can be joined."""

ANIMATIONS = (".gif", ".webp")
"""Suffixes of repeating pictures, which have codecs of their own."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "h264": ("h264_nvenc", "h264_qsv", "h264_amf", "h264_videotoolbox", "libx264"),
    "hevc": ("hevc_nvenc", "hevc_qsv", "hevc_amf", "hevc_videotoolbox", "libx265"),
    "av1": ("av1_nvenc", "av1_qsv", "av1_amf", "libsvtav1"),
    "vp9": ("vp9_qsv", "libvpx-vp9"),
}
_TRIAL_SIDE = 256  # px; the smallest that hardware encoders take
_PIXEL_FORMATS = ("yuv420p", "yuv422p10le", "bgr0", "gbrp", "rgb24", "nv12")
# Some encoders write about themselves to the console and must be asked not to.
_QUIET: Mapping[str, Mapping[str, str]] = {"libx265": {"x265-params": "log-level=error"}}
# Lists of name=value between colons, of which the last value of a name holds.
_PARAMETERS = ("x264-params", "x265-params")
_LARGEST_UNIT = 64  # px; the side of x265's coding tree units
_NARROWEST_X265 = 50  # px
os.environ.setdefault("SVT_LOG", "1")  # errors only


@dataclass(frozen=True)
class VideoFormat:
    """How frames are encoded.

    Attributes:
        codec: libav's name of the encoder.
        options: its options.
        pixel_format: libav's name of the layout of a pixel.
    """

    codec: str = "libx264"
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pixel_format: str = "yuv420p"


LOSSLESS = VideoFormat("ffv1", MappingProxyType({"level": "3", "slicecrc": "1"}), "bgr0")
"""Keeps RGB frames of 8 bits exactly."""


@dataclass(frozen=True)
class EncoderInfo:
    """One video encoder.

    Attributes:
        name: libav's.
        description: for people.
        is_hardware: it needs hardware of its own.
        works: it could be opened on this machine.
    """

    name: str
    description: str
    is_hardware: bool
    works: bool


def h264_format(crf: int, preset: str) -> VideoFormat:
    """H.264 by x264, with the same result for the same frames on every machine.

    With x264's macroblock tree the same frames gave other pixels from one encoding to the next
    (seen on an AVX-512 processor), and a resumed run would differ from a whole one.
    """
    options = {"crf": str(crf), "preset": preset, "x264-params": "mbtree=0"}
    return VideoFormat("libx264", MappingProxyType(options), "yuv420p")


def parse_options(text: str) -> dict[str, str]:
    """Read ``crf:16,preset=slow``.

    Raises:
        InvalidRequest: an entry without a value.
    """
    options = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = entry.partition("=") if "=" in entry else entry.partition(":")
        if not separator or not name.strip() or not value.strip():
            raise InvalidRequest(
                f"codec option {entry!r} has no value; write name:value, such as crf:16"
            )
        options[name.strip()] = value.strip()
    return options


def video_format(
    codec: str, options: str, pixel_format: str | None, *, crf: int, preset: str
) -> VideoFormat:
    """What a request means by its fields; ``crf`` and ``preset`` are x264's and x265's.

    Raises:
        InvalidRequest: options that cannot be read, or an encoder that does not exist.
    """
    own = parse_options(options)
    if codec == "libx264":
        base = h264_format(crf, preset)
        return VideoFormat(
            codec, MappingProxyType(_over(base.options, own)), pixel_format or "yuv420p"
        )
    given = dict(_QUIET.get(codec, {}))
    if codec == "libx265":
        given |= {"crf": str(crf), "preset": preset}
    formats = _pixel_formats(codec)
    suited = next((name for name in _PIXEL_FORMATS if name in formats), formats[0])
    return VideoFormat(codec, MappingProxyType(_over(given, own)), pixel_format or suited)


def options_for(chosen: VideoFormat, width: int) -> dict[str, str]:
    """The encoder's options for frames of a width in pixels.

    Frames that are one of x265's coding tree units wide come out otherwise from one encoding to
    the next, so frames up to the largest unit get the smallest one, unless the user sets another.
    In frames of 48 px and less its assembler code writes past its memory, which ends the process.
    Both were seen with x265 4.2.

    Raises:
        InvalidRequest: frames that are too narrow for x265.
    """
    if chosen.codec != "libx265" or width > _LARGEST_UNIT:
        return dict(chosen.options)
    if width < _NARROWEST_X265:
        raise InvalidRequest(
            f"frames are {width} px wide, and encoder libx265 needs {_NARROWEST_X265} or more; "
            "choose another codec, such as libx264, or larger frames"
        )
    return _over({"x265-params": "ctu=16"}, chosen.options)


def check_format(chosen: VideoFormat) -> None:
    """Open the encoder once with these options.

    Raises:
        InvalidRequest: no such encoder, a pixel format it does not take, an option it does not
            know, or a value it refuses or has no such number of.
    """
    formats = _pixel_formats(chosen.codec)
    if chosen.pixel_format not in formats:
        raise InvalidRequest(
            f"encoder {chosen.codec} takes no pixel format {chosen.pixel_format}; choose one of "
            f"{', '.join(formats[:12])}"
        )
    check_limits(chosen.codec, chosen.options)
    unknown, reason = _open(chosen)
    if reason is not None:
        shown = ", ".join(f"{name}:{value}" for name, value in chosen.options.items())
        raise InvalidRequest(
            f"encoder {chosen.codec} does not open with {shown or 'no options'} "
            f"({chosen.pixel_format}): {reason}; see `framepack codecs` for those that work here"
        )
    if unknown:
        raise InvalidRequest(
            f"encoder {chosen.codec} knows no option {unknown[0]!r}; see "
            f"`ffmpeg -h encoder={chosen.codec}` for those it has"
        )


def choose_encoder(name: str) -> tuple[str, str | None]:
    """The encoder that a name means on this machine, and a line for people if it is another.

    ``h264``, ``hevc``, ``av1`` and ``vp9`` are the first of their hardware encoders that works,
    or else their software one. A hardware encoder that does not work gives way to software.

    Raises:
        InvalidRequest: there is no encoder of that name.
    """
    if name == NO_VIDEO:
        return name, None
    if name in _FAMILIES:
        found = next(encoder for encoder in _FAMILIES[name] if _works(encoder))
        return found, f"Codec {name}: encoding with {found}."
    _find(name)
    family = next((names for names in _FAMILIES.values() if name in names), ())
    if not family or name == family[-1] or _works(name):
        return name, None
    return family[-1], f"Encoder {name} does not work on this machine: using {family[-1]}."


def goes_into(encoder: str, suffix: str) -> bool:
    """Whether a container takes the videos of an encoder.

    Args:
        encoder: one that ``list_encoders`` names.
        suffix: of a file, such as ``.webm``; animated pictures take none.
    """
    if suffix not in CONTAINERS:
        return False
    with av.open(io.BytesIO(), "w", format=CONTAINERS[suffix]) as container:
        return encoder in container.supported_codecs


def list_encoders() -> list[EncoderInfo]:
    """Every video encoder of the bundled ffmpeg, hardware first, each tried by opening it."""
    found = []
    for name in sorted(av.codecs_available):
        try:
            codec = Codec(name, "w")
        except ValueError:
            continue
        if codec.type == "video" and codec.name == name:
            found.append(EncoderInfo(name, codec.long_name, _is_hardware(name), _works(name)))
    return sorted(found, key=lambda each: (not each.is_hardware, each.name))


def _over(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Options over others; of two lists of an encoder's own parameters, both hold."""
    both = {
        name: f"{ours[name]}:{theirs[name]}"
        for name in _PARAMETERS
        if name in ours and name in theirs
    }
    return {**ours, **theirs, **both}


def _is_hardware(name: str) -> bool:
    suffixes = ("_nvenc", "_qsv", "_amf", "_videotoolbox", "_vaapi", "_mf", "_vulkan", "_v4l2m2m")
    return name.endswith(suffixes)


def _find(name: str) -> Codec:
    try:
        codec = Codec(name, "w")
    except ValueError:
        codec = None
    if codec is None or codec.type != "video":
        raise InvalidRequest(
            f"there is no video encoder {name!r}; see `framepack codecs`, or take libx264"
        )
    return codec


def _pixel_formats(name: str) -> list[str]:
    formats = _find(name).video_formats
    return [each.name for each in formats] if formats else list(_PIXEL_FORMATS)


def _works(name: str) -> bool:
    try:
        formats = _pixel_formats(name)
    except InvalidRequest:
        return False
    pixel_format = next((each for each in _PIXEL_FORMATS if each in formats), formats[0])
    options = _QUIET.get(name, {})
    return _open(VideoFormat(name, options, pixel_format))[1] is None


def _open(chosen: VideoFormat) -> tuple[list[str], str | None]:
    """Options the encoder did not take, and why it did not open, if it did not."""
    context = CodecContext.create(chosen.codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width = context.height = _TRIAL_SIDE
    context.pix_fmt = chosen.pixel_format
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.options = dict(chosen.options)
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        log = getattr(error, "log", None)
        return [], f"{reason} ({log[2].strip()})" if log else str(reason)
    return list(context.options), None
