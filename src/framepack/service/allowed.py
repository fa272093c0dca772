"""What a request from elsewhere may have ffmpeg do: nothing with files, nothing without an end.

The command line takes any filter and any option: there the user is the owner of the machine. Here
a request comes from whoever has a key, so what it may use is listed, not what it may not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.media.codecs import NO_VIDEO, parse_options
from framepack.media.filters import parse_filter

__all__ = ["CODECS", "CODEC_OPTIONS", "FILTERS", "check_ffmpeg"]

_LONGEST_FILTER = 1000
_MOST_FILTERS = 16
_LARGEST_SIDE = 4096

_POINTS = frozenset({"master", "m", "red", "r", "green", "g", "blue", "b", "all", "preset"})
_INKS = frozenset(
    "reds yellows greens cyans blues magentas whites neutrals blacks correction_method".split()
)
_WHERE = frozenset({"x", "y", "w", "h", "width", "height", "color"})

FILTERS: Mapping[str, frozenset[str] | None] = {
    **dict.fromkeys(
        "atadenoise avgblur cas chromashift colorbalance colorchannelmixer colorcontrast "
        "colorcorrect colorize colorlevels colortemperature deband deblock deflate deflicker "
        "dilation drawbox drawgrid edgedetect eq erosion exposure fade gblur gradfun grayworld "
        "hflip hue huesaturation inflate lagfun limiter monochrome negate noise normalize null "
        "pixelize prewitt rgbashift setdar setsar sobel swapuv transpose unsharp vflip vibrance "
        "vignette".split()
    ),
    "crop": None,
    "curves": _POINTS,
    "pad": _WHERE,
    "rotate": frozenset({"angle", "a", "fillcolor", "c", "bilinear"}),
    "scale": frozenset({"w", "h", "width", "height", "flags", "interl"}),
    "selectivecolor": _INKS,
}
"""Filters that name no file and end soon; of some only these options, given by name."""

_POSITIONS: Mapping[str, tuple[str, ...]] = {"scale": ("w", "h"), "pad": ("w", "h", "x", "y")}
_SIDES = {"w", "h", "width", "height"}
_REFUSED_OPTIONS = {"threads", "thread_type", "extra_hw_frames", "enable"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIDE = re.compile(r"-[12]|iw|ih|[0-9]{1,4}")
# Without parentheses there are no functions, and so no loops; without quotes and backslashes an
# option ends where it seems to.
_HARMLESS = re.compile(r"[A-Za-z0-9_.:=+\-*/|#@% ]*")

CODECS = frozenset(
    "h264 hevc av1 vp9 libx264 libx265 libsvtav1 libaom-av1 libvpx libvpx-vp9 ffv1 utvideo "
    "huffyuv ffvhuff mjpeg mpeg4 prores prores_ks dnxhd gif libwebp libwebp_anim "
    "h264_nvenc h264_qsv h264_amf h264_videotoolbox hevc_nvenc hevc_qsv hevc_amf "
    "hevc_videotoolbox av1_nvenc av1_qsv av1_amf vp9_qsv".split()
) | {NO_VIDEO}
"""Encoders that a request may name."""

CODEC_OPTIONS = frozenset(
    "crf preset tune profile level qp cq rc q qmin qmax qcomp qdiff b maxrate minrate bufsize g "
    "keyint_min bf refs aq-mode aq-strength aq_mode psy psy-rd deblock subq trellis weightp "
    "weightb rc-lookahead sc_threshold me_method me_range mbtree fastfirstpass nal-hrd "
    "deadline quality cpu-used row-mt tile-columns tile-rows tiles lag-in-frames auto-alt-ref "
    "lossless usage speed film-grain spatial-aq temporal-aq multipass b_ref_mode rc_mode "
    "coder context slices slicecrc remap_mode pred compression_level vendor bits_per_mb quant_mat "
    "alpha_bits global_quality low_power look_ahead async_depth sharpness arnr-maxframes "
    "arnr-strength denoise-noise-level".split()
)
"""Options of encoders that name no file; lists of further options (x264-params) are not among."""

_OPTION_VALUE = re.compile(r"[A-Za-z0-9_.:+-]{1,40}")


def check_ffmpeg(request: GenerationRequest) -> None:
    """Refuse filters, encoders and options that could reach a file, or have no end.

    Raises:
        InvalidRequest: names the one that is refused, and what there is.
    """
    _check_filters(request.filters)
    _check_encoder(request)


def _check_filters(filters: Sequence[str]) -> None:
    if len(filters) > _MOST_FILTERS or sum(map(len, filters)) > _LONGEST_FILTER:
        raise InvalidRequest(
            f"filters are {len(filters)} chains; at most {_MOST_FILTERS} with "
            f"{_LONGEST_FILTER} characters in all are run"
        )
    steps = [step for text in filters for step in parse_filter(text)]
    if len(steps) > _MOST_FILTERS:
        raise InvalidRequest(f"filters are {len(steps)} steps; at most {_MOST_FILTERS} are run")
    for name, arguments in steps:
        if name not in FILTERS:
            raise InvalidRequest(
                f"filter {name[:40]!r} is not run for requests; these are: "
                f"{', '.join(sorted(FILTERS))}"
            )
        if not _HARMLESS.fullmatch(arguments):
            raise InvalidRequest(
                f"filter {name} is given {arguments[:80]!r}; a request may give it numbers, words "
                "and + - * / between them, without quotes, parentheses and backslashes"
            )
        _check_options(name, _options(name, arguments))


def _options(name: str, arguments: str) -> Iterator[tuple[str | None, str]]:
    """Options of a filter; None where one is given by its place and the place has no name here."""
    places = iter(_POSITIONS.get(name, ()))
    for part in filter(None, arguments.split(":")):
        key, sign, value = part.partition("=")
        yield (key.strip(), value.strip()) if sign else (next(places, None), part.strip())


def _check_options(filter_name: str, options: Iterable[tuple[str | None, str]]) -> None:
    allowed = FILTERS[filter_name]
    for name, value in options:
        is_named = name is not None and _NAME.fullmatch(name) is not None
        if (name is not None and not is_named) or name in _REFUSED_OPTIONS:
            raise InvalidRequest(f"filter {filter_name} has no option {name!r} for requests")
        if allowed is not None and name not in allowed:
            raise InvalidRequest(
                f"filter {filter_name} is given {name or value!r}; a request may give it "
                f"{', '.join(sorted(allowed))}, by name"
            )
        if filter_name in _POSITIONS and name in _SIDES:
            _check_side(filter_name, value)


def _check_side(filter_name: str, value: str) -> None:
    number = int(value) if value.isdecimal() and len(value) <= 4 else 0
    if not _SIDE.fullmatch(value) or number > _LARGEST_SIDE:
        raise InvalidRequest(
            f"filter {filter_name} is given {value!r} for a side; it must be pixels up to "
            f"{_LARGEST_SIDE}, iw, ih, -1 or -2"
        )


def _check_encoder(request: GenerationRequest) -> None:
    if request.codec is not None and request.codec not in CODECS:
        raise InvalidRequest(
            f"codec {request.codec[:40]!r} is not used for requests; these are: "
            f"{', '.join(sorted(CODECS))}"
        )
    for name, value in parse_options(request.codec_options).items():
        if name not in CODEC_OPTIONS:
            raise InvalidRequest(
                f"codec option {name[:40]!r} is not taken from requests; these are: "
                f"{', '.join(sorted(CODEC_OPTIONS))}"
            )
        if not _OPTION_VALUE.fullmatch(value):
            raise InvalidRequest(
                f"codec option {name} is {value[:80]!r}; it must be a number or a word"
            )
