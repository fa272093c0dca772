"""Join the segments into the video people asked for, with what is needed to repeat it."""

from pathlib import Path
from typing import Any

import framepack
from framepack.domain.events import Statistics
from framepack.media.files import check_output_writable
from framepack.media.video import (
    attach_pictures,
    concat_segments,
    read_frame,
    write_thumbnail,
)
from framepack.pipeline.workspace import RunState, Workspace

__all__ = ["deliver", "deliver_partial", "video_document", "write_video_thumbnail"]


def deliver(workspace: Workspace, state: RunState, statistics: Statistics) -> int:
    """Write the finished video; return its number of frames.

    No frame is encoded again. The file appears complete or not at all.

    Raises:
        WorkspaceError: a segment is missing or damaged, or the disk is full.
    """
    paths = workspace.in_play_order(state.segments)
    return _join(workspace, paths, workspace.delivery.path, statistics)


def deliver_partial(workspace: Workspace, output: Path) -> int:
    """Write what a stopped run has so far; return its number of frames, 0 if there are none.

    That is the end of the video in the bi-directional variant and its start in the
    forward-only one. The run stays as it is and can be resumed.

    Raises:
        InvalidRequest: the output cannot be written.
        WorkspaceError: the run is in use or damaged, or the disk is full.
    """
    check_output_writable(output)
    with workspace:
        state = workspace.load_state()
        if state is None:
            return 0
        segments = [*state.segments]
        if state.seam is not None:
            frames = state.seam.frames(workspace.plan.num_frames)
            seam = workspace.write_segment("seam", state.seam.start_frame, frames)
            segments += [seam] if seam is not None else []
        if not segments:
            return 0
        return _join(workspace, workspace.in_play_order(segments), output, None)


def video_document(workspace: Workspace, statistics: Statistics | None) -> dict[str, Any]:
    """Return what the video file says about itself.

    The pictures travel with it, so their paths, which say where somebody keeps their files,
    are cut down to names.
    """
    plan = workspace.plan.without_folders().to_dict()
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


def write_video_thumbnail(video: Path) -> Path:
    """Write the first frame as ``NAME.thumb.jpg`` beside the video; return its path."""
    path = video.with_name(f"{video.stem}.thumb.jpg")
    write_thumbnail(read_frame(video, 0), path)
    return path


def _join(
    workspace: Workspace, paths: list[Path], output: Path, statistics: Statistics | None
) -> int:
    if not workspace.delivery.embed:
        return concat_segments(paths, output)
    request = workspace.plan.request
    return concat_segments(
        paths,
        output,
        video_document(workspace, statistics),
        title="FramePack video",
        description=(
            f"{request.prompt} (model {request.model}, {request.variant}, seed {request.seed}, "
            f"{request.num_inference_steps} steps)".strip()
        ),
    )
