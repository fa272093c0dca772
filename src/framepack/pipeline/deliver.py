"""Join the segments into the video people asked for, with what is needed to repeat it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import framepack
from framepack.domain.events import Statistics
from framepack.domain.portable import without_folders
from framepack.media.codecs import NO_VIDEO
from framepack.media.encode import write_picture, write_video
from framepack.media.exports import write_pictures, write_raw_frames
from framepack.media.files import check_output_writable
from framepack.media.filters import check_filters, filter_frames
from framepack.media.interpolate import interpolate_frames, num_interpolated
from framepack.media.metadata import dump_document
from framepack.media.outputs import output_suffixes
from framepack.media.video import (
    attach_pictures,
    concat_segments,
    probe,
    read_frame,
    read_frames,
    write_thumbnail,
)
from framepack.media.writer import frame_rate
from framepack.pipeline.run_state import RunState
from framepack.pipeline.workspace import Workspace

__all__ = ["deliver", "deliver_partial", "video_document", "write_video_thumbnail"]


def deliver(
    workspace: Workspace, state: RunState, statistics: Statistics, *, device: str = "cpu"
) -> int:
    """Write the finished video; return its number of frames.

    Segments in the video's own format are joined without encoding a frame again; of lossless
    ones the video, numbered pictures and raw frames are made. Each file appears complete or
    not at all.

    Args:
        workspace: the run's directory.
        state: after the last section.
        statistics: for the file.
        device: where frames between frames are computed, if a network makes them.

    Raises:
        WorkspaceError: a segment is missing or damaged, or the disk is full.
    """
    made = _Made(workspace, workspace.in_play_order(state.segments), device)
    _write_other_forms(made, statistics)
    return _join(made, workspace.delivery.path, statistics)


def deliver_partial(workspace: Workspace, output: Path) -> int:
    """Write what a stopped run has so far; return its number of frames, 0 if there are none.

    That is the end of the video in the bi-directional variant and its start in the
    forward-only one, as a video alone. The run stays as it is and can be resumed.

    Raises:
        InvalidRequest: the output cannot be written.
        WorkspaceError: the run is in use or damaged, or the disk is full.
    """
    one_frame = workspace.plan.request.one_frame
    check_output_writable(output, output_suffixes(one_frame=one_frame))
    with workspace:
        state = workspace.load_state()
        if state is None:
            return 0
        segments = [*state.segments]
        if state.seam is not None:
            frames = state.seam.frames(workspace.plan.num_kept_frames)
            seam = workspace.write_segment("seam", state.seam.start_frame, frames)
            segments += [seam] if seam is not None else []
        if not segments:
            return 0
        return _join(_Made(workspace, workspace.in_play_order(segments)), output, None)


def video_document(workspace: Workspace, statistics: Statistics | None) -> dict[str, Any]:
    """Return what the video file says about itself.

    The pictures travel with it, so their paths, which say where somebody keeps their files,
    are cut down to names.
    """
    plan = without_folders(workspace.plan).to_dict()
    names = {"start": "image", "end": "end_image"}
    pictures = {
        names.get(name, name): picture for name, picture in workspace.pictures().by_name().items()
    }
    document = {
        "program": "framepack",
        "version": framepack.__version__,
        "request": plan["request"],
        "plan": plan,
        "components": workspace.component_hashes,
        "statistics": statistics,
    }
    return attach_pictures(document, pictures)


def write_video_thumbnail(workspace: Workspace, state: RunState) -> Path:
    """Write the first frame as ``NAME.thumb.jpg`` beside the video; return its path."""
    video = workspace.delivery.path
    path = video.with_name(f"{video.stem}.thumb.jpg")
    paths = workspace.in_play_order(state.segments)
    if workspace.plan.request.filters:
        first = next(_Made(workspace, paths).frames())
    else:
        first = read_frame(paths[0], 0)
    write_thumbnail(first, path)
    return path


@dataclass(frozen=True)
class _Made:
    """The segments of a run, and the frames that become of them.

    Attributes:
        workspace: the run's directory.
        paths: segments in play order.
        device: where frames between frames are computed, if a network makes them.
    """

    workspace: Workspace
    paths: list[Path]
    device: str = "cpu"

    @property
    def num_frames(self) -> int:
        """How many frames become of lossless segments."""
        generated = sum(probe(path).num_frames for path in self.paths)
        plan = self.workspace.plan
        return min(num_interpolated(generated, plan.request.interpolate), plan.num_frames)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames as they are written."""
        plan = self.workspace.plan
        fps = frame_rate(plan.fps)
        return check_filters(plan.request.filters, width=plan.width, height=plan.height, fps=fps)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """All frames of lossless segments in play order, each [H, W, 3] uint8 RGB.

        With interpolation more than were generated; those past the end of the video are left
        out. Filters come last.
        """
        request = self.workspace.plan.request
        frames = interpolate_frames(
            chain.from_iterable(read_frames(path) for path in self.paths),
            request.interpolate,
            request.interpolation,
            rife_weights=request.rife_weights,
            device=self.device,
        )
        frames = islice(frames, self.workspace.plan.num_frames)
        return filter_frames(frames, request.filters, fps=frame_rate(self.workspace.plan.fps))


def _join(made: _Made, output: Path, statistics: Statistics | None) -> int:
    """Make the video of the segments; return the number of frames."""
    workspace = made.workspace
    document = video_document(workspace, statistics) if workspace.delivery.embed else None
    title, description = _titles(workspace) if document is not None else ("", "")
    audio = workspace.delivery.outputs.audio
    if workspace.plan.request.one_frame:
        frame = next(made.frames())
        write_picture(frame, output, document=document, title=title, description=description)
        return 1
    if workspace.is_joined:
        return concat_segments(
            made.paths, output, document, title=title, description=description, audio=audio
        )
    if workspace.plan.request.codec != NO_VIDEO:
        width, height = made.size
        write_video(
            made.frames(),
            output,
            width=width,
            height=height,
            fps=workspace.plan.fps,
            video_format=workspace.video_format,
            document=document,
            title=title,
            description=description,
            audio=audio,
        )
    return made.num_frames


def _write_other_forms(made: _Made, statistics: Statistics | None) -> None:
    """Write raw frames and numbered pictures, where they are wanted."""
    outputs, plan = made.workspace.delivery.outputs, made.workspace.plan
    if outputs.raw is not None:
        metadata = {
            "fps": plan.fps,
            "codec": plan.request.codec,
            "options": plan.request.codec_options or f"crf:{plan.request.crf}",
            "ext": outputs.video.suffix.lstrip("."),
            "interpolate": plan.request.interpolate if plan.request.interpolate > 1 else 0,
        }
        if made.workspace.delivery.embed:
            metadata["comment"] = dump_document(video_document(made.workspace, statistics))
        width, height = made.size
        shape = (made.num_frames, height, width)
        write_raw_frames(made.frames(), outputs.raw, shape=shape, metadata=metadata)
    if outputs.frames_dir is not None:
        write_pictures(made.frames(), outputs.frames_dir, outputs.video.stem, outputs.frames_suffix)


def _titles(workspace: Workspace) -> tuple[str, str]:
    request = workspace.plan.request
    description = (
        f"{request.prompt} (model {request.model}, {request.variant}, seed {request.seed}, "
        f"{request.num_inference_steps} steps)".strip()
    )
    return f"FramePack {'picture' if request.one_frame else 'video'}", description
