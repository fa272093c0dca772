"""What a run directory holds so far, read beside the worker that writes it, without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from framepack.domain.plan import Plan
from framepack.media.codecs import NO_VIDEO
from framepack.media.outputs import Outputs
from framepack.media.writer import frame_rate
from framepack.pipeline.delivery import Delivery
from framepack.service.options import JobOptions
from framepack.service.records import Job

__all__ = ["Piece", "RunSoFar", "planned_run", "read_run"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of frames that never change again.

    Attributes:
        path: the file.
        key: differs where its content does.
        first_frame: place of its first frame in the video, 0 or more.
        num_frames: frames in it.
        section: index of the section that it came with, from the start of the video.
    """

    path: Path
    key: str
    first_frame: int
    num_frames: int
    section: int = 0


@dataclass(frozen=True, slots=True)
class RunSoFar:
    """A run between two sections.

    Attributes:
        fps: frames per second of its pieces.
        is_joined: the finished video consists of the pieces as they are; else they are lossless,
            and it is made of them at the end.
        grows_backward: the end is rendered first.
        one_frame: a picture is made, and no video.
        latent_window_size: latent frames of a section.
        num_sections: sections of the whole video.
        num_done: sections rendered.
        pieces: in the order in which they were rendered.
    """

    fps: Fraction
    is_joined: bool
    grows_backward: bool
    one_frame: bool
    latent_window_size: int
    num_sections: int
    num_done: int
    pieces: tuple[Piece, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every frame is there."""
        return self.num_done >= self.num_sections

    @property
    def longest_s(self) -> float:
        """Seconds of the longest piece that a section can give: its frames and those of a seam."""
        return float((8 * self.latent_window_size + 1) / self.fps)


def read_run(directory: Path) -> RunSoFar | None:
    """Read what a run has so far; None if there is no run that can be read now.

    The worker replaces the files that are read in one step each, so what is found belongs to some
    moment of the run.
    """
    description = directory / "run.json"
    try:
        about = _about(description, description.stat().st_mtime_ns)
        state = _state(directory / "state.safetensors")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    suffix = ".mp4" if about.is_joined else ".mkv"
    sections = {section.segment_name: section.index for section in about.plan.sections}
    pieces = tuple(
        Piece(
            directory / "segments" / f"{segment['name']}{suffix}",
            segment["sha256"][:8],
            about.num_prefix_frames + segment["start_frame"],
            segment["num_frames"],
            sections.get(segment["name"], 0),
        )
        for segment in state["segments"]
    )
    return _so_far(about.plan, about.is_joined, state["num_done"], pieces)


def planned_run(job: Job) -> RunSoFar:
    """The run of a job that has not begun."""
    options = JobOptions.model_validate(job.options)
    plan = Plan.model_validate(job.plan)
    outputs = Outputs.of(
        f"video.{options.container}",
        frames_dir="frames" if options.frames else None,
        raw="raw" if options.raw else None,
    )
    is_video = options.video and plan.request.codec != NO_VIDEO
    return _so_far(plan, is_video and Delivery(outputs).joins_segments(plan.request), 0, ())


def _so_far(plan: Plan, is_joined: bool, num_done: int, pieces: tuple[Piece, ...]) -> RunSoFar:
    return RunSoFar(
        fps=frame_rate(plan.generated_fps),
        is_joined=is_joined,
        grows_backward=plan.is_inverted,
        one_frame=plan.request.one_frame,
        latent_window_size=plan.latent_window_size,
        num_sections=plan.num_sections,
        num_done=num_done,
        pieces=pieces,
    )


@dataclass(frozen=True, slots=True)
class _About:
    plan: Plan
    is_joined: bool

    @property
    def num_prefix_frames(self) -> int:
        """Frames of the video that the run goes on from, which stand before its frame 0."""
        return self.plan.num_prefix_frames


@lru_cache(maxsize=256)
def _about(path: Path, changed: int) -> _About:
    """What is being made; ``changed`` is when its description was written."""
    document = json.loads(path.read_text(encoding="utf-8"))
    plan = Plan.model_validate(document["plan"])
    delivery = Delivery.from_dict(document["delivery"])
    return _About(plan, delivery.joins_segments(plan.request))


def _state(path: Path) -> Mapping[str, Any]:
    """The document in a file of tensors, none of which is read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
    except FileNotFoundError:
        return {"segments": (), "num_done": 0}
    document: Mapping[str, Any] = json.loads(header["__metadata__"]["document"])
    return document
