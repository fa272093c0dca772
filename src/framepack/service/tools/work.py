"""What each tool does, in the process that does it. Torch is imported where it is needed alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.domain.clips import ClipEdit
from framepack.domain.errors import FramePackError, InvalidRequest, is_out_of_memory
from framepack.domain.settings import Settings
from framepack.service.records import JobError
from framepack.service.tools.catalogue import DOWNLOAD

if TYPE_CHECKING:
    from framepack.finished import Clip
    from framepack.weights.download import DownloadProgress

__all__ = ["WORK", "Assignment", "Tell", "error_of"]

Tell = Callable[[float, str], object]
"""Told how far it is, 0 to 1, and what is done."""

_FILE_OPTIONS = ("container", "sound")
_ENCODING = ("codec", "codec_options", "pixel_format")
_MOST_FPS = 120.0


@dataclass(frozen=True)
class Assignment:
    """One task as its process gets it.

    Attributes:
        tool: what is done.
        values: fields of the tool.
        files: paths by field.
        output: folder for what is left.
        settings: of this machine.
        max_duration_s: longest video that may come of it.
        max_pixels: largest frame that may come of it.
    """

    tool: str
    values: Mapping[str, Any]
    files: Mapping[str, Sequence[Path]]
    output: Path
    settings: Settings
    max_duration_s: float
    max_pixels: int

    def file(self, name: str) -> Path | None:
        """The one file of a field, or None."""
        return self.files[name][0] if self.files.get(name) else None

    def needed_file(self, name: str) -> Path:
        """The one file of a field that was checked to be there."""
        return self.files[name][0]

    def target(self, stem: str) -> Path:
        """Where a video goes."""
        return self.output / f"{stem}.{self.values.get('container', 'mp4')}"

    def said(self, names: Sequence[str]) -> dict[str, Any]:
        """Those of some fields that were given."""
        return {name: self.values[name] for name in names if name in self.values}


def error_of(error: Exception) -> JobError:
    """Why a task failed, with a code for programs."""
    message = str(error).strip() or type(error).__name__
    if is_out_of_memory(error):
        return JobError("out_of_memory", message.splitlines()[0])
    if isinstance(error, InvalidRequest):
        return JobError("invalid_request", message)
    if isinstance(error, FramePackError):
        return JobError("failed", message)
    return JobError("internal", f"{type(error).__name__}: {message}")


def _clip(task: Assignment, tell: Tell) -> dict[str, Any]:
    edit = ClipEdit.parse(
        **{name: value for name, value in task.values.items() if name in ClipEdit.model_fields}
    )
    return _edited(task, tell, list(task.files["videos"]), edit)


def _interpolate(task: Assignment, tell: Tell) -> dict[str, Any]:
    from framepack.media.clip_frames import open_source

    video = task.needed_file("video")
    fields = task.said(("fps", "speed", "interpolation"))
    rate = float(open_source(video).rate)
    if "fps" not in fields and fields.get("speed", 1.0) >= 1:
        fields["fps"] = min(2 * rate, _MOST_FPS)
    if fields.get("fps", rate) <= rate and fields.get("speed", 1.0) >= 1:
        raise InvalidRequest(
            f"fps is {fields.get('fps', rate):g} and the video has {rate:g}; give more frames per "
            "second, or a speed below 1"
        )
    return _edited(task, tell, [video], ClipEdit.parse(**fields, interpolate=True))


def _edited(task: Assignment, tell: Tell, videos: list[Path], edit: ClipEdit) -> dict[str, Any]:
    from framepack.finished import edit_clip
    from framepack.media.clips import plan_clip

    target, audio, sound = task.target(task.tool), task.file("audio"), _wants_sound(task)
    encoding = task.said(_ENCODING)
    planned = plan_clip(videos, target, edit, encoding=encoding, audio=audio, sound=sound)
    _check_size(task, planned.length.num_frames / float(planned.fps), *planned.size)
    made = edit_clip(
        videos,
        output=target,
        edit=edit,
        audio=audio,
        sound=sound,
        on_progress=_frames(tell),
        **encoding,
    )
    return _video_output(made)


def _upscale(task: Assignment, tell: Tell) -> dict[str, Any]:
    from framepack.finished import upscale
    from framepack.media.clip_frames import open_source

    video, weights = task.needed_file("video"), task.file("weights")
    weights = weights or task.settings.upscaler_weights
    if weights is None:
        raise InvalidRequest(
            "weights are missing; send a file, or set upscaler_weights in the settings"
        )
    source = open_source(video)
    _check_size(task, source.num_frames / float(source.rate), *source.size)
    made = upscale(
        video,
        output=task.target("upscaled"),
        weights=weights,
        tile=task.values.get("tile", 256),
        device=task.settings.device,
        sound=_wants_sound(task),
        on_progress=_frames(tell),
        **task.said(("size",)),
        **task.said(_ENCODING),
    )
    return _video_output(made)


def _encode(task: Assignment, tell: Tell) -> dict[str, Any]:
    from framepack.finished import encode_frames

    made = encode_frames(
        task.needed_file("frames"),
        output=task.target("encoded"),
        audio=task.file("audio"),
        on_progress=_frames(tell),
        **task.said(("fps", *_ENCODING)),
    )
    return _video_output(made)


def _drift(task: Assignment, tell: Tell) -> dict[str, Any]:
    from framepack.media.drift import measure_drift
    from framepack.media.drift_plot import plot_drift

    tell(0.0, "measuring")
    report = measure_drift(task.needed_file("video"), num_sections=task.values.get("num_sections"))
    tell(0.9, "drawing")
    plot_drift(report, task.output / "drift.png")
    values = report.to_dict()
    values.pop("path", None)
    return {"plot": "drift.png", "report": values}


def _download(task: Assignment, tell: Tell) -> dict[str, Any]:
    from framepack.models.spec import resolve_spec
    from framepack.weights.download import download

    def report(state: "DownloadProgress") -> None:
        share = state.done_bytes / state.total_bytes if state.total_bytes else 1.0
        gb = f"{state.done_bytes / 1e9:.2f} of {state.total_bytes / 1e9:.2f} GB"
        tell(share, f"{gb}, {state.stage} {state.file}")

    done = download(resolve_spec(task.values["source"]), task.settings, report)
    return {
        "report": {
            "num_files": done.num_files,
            "fetched_bytes": done.fetched_bytes,
            "folders": {repo: str(folder) for repo, folder in done.folders.items()},
        }
    }


WORK: Mapping[str, Callable[[Assignment, Tell], dict[str, Any]]] = {
    "clip": _clip,
    "interpolate": _interpolate,
    "upscale": _upscale,
    "encode": _encode,
    "drift": _drift,
    DOWNLOAD: _download,
}
"""What a task's process calls; each returns the task's output."""


def _wants_sound(task: Assignment) -> bool:
    return bool(task.values.get("sound", True))


def _frames(tell: Tell) -> Callable[[int, int], object]:
    return lambda done, total: tell(done / max(total, 1), f"frame {done} of {total}")


def _video_output(made: "Clip") -> dict[str, Any]:
    report = {
        "width": made.width,
        "height": made.height,
        "fps": float(made.fps),
        "num_frames": made.num_frames,
        "duration_s": made.duration_s,
        "bytes": made.path.stat().st_size,
        "notes": list(made.notes),
    }
    return {"video": made.path.name, "report": report}


def _check_size(task: Assignment, duration_s: float, width: int, height: int) -> None:
    if duration_s > task.max_duration_s:
        raise InvalidRequest(
            f"the video would last {duration_s:.1f} s; this server makes videos of at most "
            f"{task.max_duration_s:g} s, so cut it"
        )
    if width * height > task.max_pixels:
        raise InvalidRequest(
            f"the video would be {width}x{height} px; this server makes frames of at most "
            f"{task.max_pixels / 1e6:g} megapixels, so make it smaller"
        )
