"""What a command line asks for: options, over the request of a video if one is named."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from framepack.cli.options import given
from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings

__all__ = ["asked_request", "new_output"]


@contextmanager
def asked_request(
    fields: Mapping[str, Any], source: str | None, output: str | None = None
) -> Iterator[GenerationRequest]:
    """Check the options of a request one by one.

    Args:
        fields: values of the options, None where one was not given.
        source: a video whose request holds where no option says otherwise, or None. Its
            pictures are on the disk while the context is open.
        output: the file to write, if it is named. Where a file of its kind cannot hold what the
            source's encoder makes, the encoder is that kind's own.

    Raises:
        InvalidRequest: a wrong value, an option that would do nothing, or a video that carries no
            request.
    """
    options = given(dict(fields))
    if source is None:
        request = GenerationRequest.parse(**options)
        _refuse_idle(request, options)
        yield request
        return
    from framepack.media.inspection import inspect

    with tempfile.TemporaryDirectory(prefix="framepack-") as folder:
        base = inspect(source).restore(folder)
        fitted = _encoding_for(base, output, options)
        if "step_cache" in options or "speed" in options:
            fitted["step_cache_threshold"] = None  # it may be another cache's
        if "speed" in options:
            fitted["step_cache"] = None  # what the old speed came to
        request = base.updated(**{**fitted, **options})
        _refuse_idle(request, options)
        yield request


def _refuse_idle(request: GenerationRequest, options: Mapping[str, Any]) -> None:
    """Refuse options that were typed and do nothing beside the others.

    What a video file or a style says is let be: there it is a value like all others.
    """
    has_end = request.end_image is not None or request.loop
    idle = {
        "video_strength": (request.video is None, "there is no video to redraw; add --video"),
        "end_strength": (not has_end, "there is no end picture; add --end-image"),
        "step_cache_threshold": (
            (request.step_cache or ("off" if request.speed == "exact" else None)) == "off",
            "no steps are skipped; add --speed balanced or --step-cache teacache",
        ),
        "rife_weights": (
            not request.uses_rife,
            "RIFE is not asked for frames; add --interpolate 2",
        ),
    }
    for name, (is_idle, reason) in idle.items():
        field, value = GenerationRequest.model_fields[name], getattr(request, name)
        if name in options and is_idle and value != field.default:
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            option = extra["option"]
            raise InvalidRequest(
                f"{name} ({option}) is {value}, but {reason}, or leave {option} out"
            )


def _encoding_for(
    base: GenerationRequest, output: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of the source's encoding that are of no use to the output, as not given."""
    from framepack.media.codecs import NO_VIDEO, goes_into
    from framepack.media.outputs import output_suffixes

    if "codec" in options:
        return {"codec_options": "", "pixel_format": None}  # they are another encoder's
    suffix = Path(output or "").suffix.lower()
    if base.codec is None or suffix not in output_suffixes(one_frame=False):
        return {}
    if base.codec != NO_VIDEO and goes_into(str(base.codec), suffix):
        return {}
    return {"codec": None, "codec_options": "", "pixel_format": None}


def new_output(settings: Settings, *, one_frame: bool = False) -> Path:
    """A name, not used before, for a video, or the picture of one frame, that was given none."""
    suffix = ".png" if one_frame else ".mp4"
    folder, stamp = settings.outputs_dir, time.strftime("%Y%m%d-%H%M%S")
    names = (f"framepack-{stamp}{f'-{i}' if i else ''}{suffix}" for i in count())
    return next(folder / name for name in names if not (folder / name).exists())
