"""Join the segments into the video people asked for, with what is needed to repeat it."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import framepack
from framepack.domain.events import Statistics
from framepack.media.codecs import ANIMATIONS, NO_VIDEO
from framepack.media.exports import write_pictures, write_raw_frames
from framepack.media.files import atomic_file, check_output_writable
from framepack.media.metadata import dump_document, sidecar
from framepack.media.video import (
    attach_pictures,
    concat_segments,
    probe,
    read_frame,
    read_frames,
    write_animation,
    write_thumbnail,
)
from framepack.media.writer import VideoWriter
from framepack.pipeline.workspace import RunState, Workspace

__all__ = ["deliver", "deliver_partial", "video_document", "write_video_thumbnail"]


def deliver(workspace: Workspace, state: RunState, statistics: Statistics) -> int:
    """Write the finished video; return its number of frames.

    Segments in the video's own format are joined without encoding a frame again; of lossless
    ones the video, numbered pictures and raw frames are made. Each file appears complete or
    not at all.

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


def write_video_thumbnail(workspace: Workspace, state: RunState) -> Path:
    """Write the first frame as ``NAME.thumb.jpg`` beside the video; return its path."""
    video = workspace.delivery.path
    path = video.with_name(f"{video.stem}.thumb.jpg")
    write_thumbnail(read_frame(workspace.in_play_order(state.segments)[0], 0), path)
    return path


def _join(
    workspace: Workspace, paths: list[Path], output: Path, statistics: Statistics | None
) -> int:
    """Make everything that is wanted of the segments; return the number of frames."""
    document = video_document(workspace, statistics) if workspace.delivery.embed else None
    if workspace.is_joined:
        title, description = _titles(workspace) if document is not None else ("", "")
        return concat_segments(paths, output, document, title=title, description=description)
    number = sum(probe(path).num_frames for path in paths)
    delivery = workspace.delivery
    if delivery.raw is not None:
        _write_raw(workspace, _frames(paths), delivery.raw, number)
    if delivery.frames_dir is not None:
        write_pictures(_frames(paths), delivery.frames_dir, output.stem, delivery.frames_suffix)
    if workspace.plan.request.codec != NO_VIDEO:
        _encode(workspace, _frames(paths), output, document)
    return number


def _encode(
    workspace: Workspace,
    frames: Iterator[NDArray[np.uint8]],
    output: Path,
    document: dict[str, Any] | None,
) -> None:
    plan = workspace.plan
    if output.suffix.lower() in ANIMATIONS:
        write_animation(frames, output, fps=plan.fps)
        if document is not None:
            with atomic_file(sidecar(output)) as temporary:
                temporary.write_text(dump_document(document), encoding="utf-8")
        return
    tags = {}
    if document is not None:
        title, description = _titles(workspace)
        tags = {"comment": dump_document(document), "title": title, "description": description}
    with VideoWriter(
        output,
        width=plan.width,
        height=plan.height,
        fps=plan.fps,
        video_format=workspace.video_format,
        tags=tags,
        fast_start=True,
    ) as writer:
        for frame in frames:
            writer.write(frame[None])


def _write_raw(
    workspace: Workspace, frames: Iterator[NDArray[np.uint8]], path: Path, number: int
) -> None:
    plan = workspace.plan
    request = plan.request
    metadata = {
        "fps": plan.fps,
        "codec": request.codec,
        "options": request.codec_options or f"crf:{request.crf}",
        "ext": workspace.delivery.path.suffix.lstrip("."),
        "interpolate": 0,
    }
    shape = (number, plan.height, plan.width)
    write_raw_frames(frames, path, shape=shape, metadata=metadata)


def _frames(paths: list[Path]) -> Iterator[NDArray[np.uint8]]:
    """All frames of lossless segments in play order, each [H, W, 3] uint8 RGB."""
    return chain.from_iterable(read_frames(path) for path in paths)


def _titles(workspace: Workspace) -> tuple[str, str]:
    request = workspace.plan.request
    description = (
        f"{request.prompt} (model {request.model}, {request.variant}, seed {request.seed}, "
        f"{request.num_inference_steps} steps)".strip()
    )
    return "FramePack video", description
