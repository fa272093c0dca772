"""A small picture of each section of a video, as soon as it is rendered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open

from framepack.media.files import atomic_file
from framepack.media.video import read_frame
from framepack.service.files import JobFolder
from framepack.service.records import Job, NoSuchJob
from framepack.service.run_reading import read_run

__all__ = ["MAX_SIDE", "SectionFrame", "section_frame", "write_section_picture"]

MAX_SIDE = 320
"""Longer side of the pictures, px."""

_QUALITY = 80


@dataclass(frozen=True, slots=True)
class SectionFrame:
    """The frame that stands for a section.

    Attributes:
        section: index of the section, from the start of the video.
        place: of the frame in the video, 0 first.
        path: the file that it is in.
        frame: its place there, 0 first.
        key: differs where the picture does.
        is_final: the file is a video; else the state of the run, whose seam can still change.
    """

    section: int
    place: int
    path: Path
    frame: int
    key: str
    is_final: bool = True

    @property
    def file_name(self) -> str:
        """What the picture is called in the job's folder; another one for another frame."""
        return f"section-{self.section}-{self.key}-{self.frame}.webp"


def section_frame(job: Job, folder: JobFolder, section: int) -> SectionFrame:
    """Choose the frame in the middle of a section, or the one nearest to it that there is.

    Args:
        job: in any state.
        folder: its files.
        section: index from the start of the video, as in the plan.

    Raises:
        NoSuchJob: there is no such section, or no frame of it yet, or none any more.
    """
    sections = job.plan["sections"]
    planned = next((each for each in sections if each["index"] == section), None)
    if planned is None:
        raise NoSuchJob(
            f"{job.id} has no section {section}; it has sections 0 to {len(sections) - 1}"
        )
    end = min(int(planned["end_frame"]), int(job.plan["num_kept_frames"]))
    middle = int(job.plan["num_prefix_frames"]) + (int(planned["start_frame"]) + end) // 2
    frames = [*_final_frames(folder.run, section, middle), *_seam_frame(job, folder.run, middle)]
    found = [frame for frame in frames if frame.section == section]
    if not found:
        raise NoSuchJob(f"{job.id} has no picture of section {section} now; wait for that section")
    return min(found, key=lambda frame: (abs(frame.place - middle), not frame.is_final))


def write_section_picture(folder: JobFolder, shown: SectionFrame) -> None:
    """Write the picture into the job's folder, complete or not at all.

    Raises:
        InvalidRequest, WorkspaceError: the run is damaged, or the disk is full.
        NoSuchJob: the job was removed.
    """
    frame = read_frame(shown.path, shown.frame) if shown.is_final else _seam_pixels(shown)
    if not folder.live.is_dir():
        raise NoSuchJob(f"{folder.path.name} was removed")
    picture = Image.fromarray(frame)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    with atomic_file(folder.live / shown.file_name) as part:
        picture.save(part, "WEBP", quality=_QUALITY, method=4)


def _final_frames(run_dir: Path, section: int, middle: int) -> Iterator[SectionFrame]:
    """Of the files of frames that came with a section or hold its middle, the frame nearest."""
    run = read_run(run_dir)
    for piece in run.pieces if run is not None else ():
        frame = min(max(middle - piece.first_frame, 0), piece.num_frames - 1)
        place = piece.first_frame + frame
        if piece.path.is_file() and (piece.section == section or place == middle):
            yield SectionFrame(section, place, piece.path, frame, piece.key)


def _seam_frame(job: Job, run_dir: Path, middle: int) -> Iterator[SectionFrame]:
    """Of the frames that the newest section left to be blended with the next, the one nearest."""
    path = run_dir / "state.safetensors"
    try:
        with safe_open(path, "numpy") as state:
            if "seam" not in state.keys():  # noqa: SIM118 - it is no mapping
                return
            document = json.loads(state.metadata()["document"])
            num_frames = state.get_slice("seam").get_shape()[2]
    except (OSError, SafetensorError, ValueError, KeyError):
        return  # none yet
    number = int(document["num_done"])
    first = int(document["seam_start"])
    until = min(first + num_frames, int(job.plan["num_kept_frames"]))
    before = int(job.plan["num_prefix_frames"])
    newest = next(
        each["index"] for each in job.plan["sections"] if each["render_index"] == number - 1
    )
    if until > first:
        place = min(max(middle - before, first), until - 1)
        yield SectionFrame(newest, place + before, path, place - first, f"seam{number}", False)


def _seam_pixels(shown: SectionFrame) -> NDArray[np.uint8]:
    """A frame of the seam, [H, W, 3]; the fraction is cut off, as for all frames.

    Raises:
        NoSuchJob: the run has gone on meanwhile.
    """
    try:
        with safe_open(shown.path, "numpy") as state:
            number = json.loads(state.metadata()["document"])["num_done"]
            if shown.key != f"seam{number}":
                raise NoSuchJob("the run has gone on; ask again")
            pixels = state.get_slice("seam")[0, :, shown.frame]
    except (OSError, SafetensorError) as error:
        raise NoSuchJob(f"the run cannot be read ({error}); ask again") from error
    frame = (np.clip(pixels, -1.0, 1.0) * 127.5 + 127.5).astype(np.uint8)
    return np.ascontiguousarray(rearrange(frame, "c h w -> h w c"))
