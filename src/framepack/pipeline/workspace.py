"""A run's directory: everything needed to stop at any moment and go on later.

    run.json                 plan, output, weight hashes: what is being made
    inputs/*.png             the fitted input pictures
    conditions.safetensors   what the encoders said
    state.safetensors        history, seam and list of segments after the last finished section
    latents/*.safetensors    the latents of each finished section
    source/*.safetensors     each section's part of a video to draw anew, encoded
    segments/*.mp4, *.mkv    final frames, in the video's own format or lossless
    preview.webp             the newest preview
    lock                     who is at work here

A section counts as finished when ``state.safetensors`` says so; that file is replaced in
one step, so a run killed at any moment continues from its last finished section.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.domain.plan import Plan, Section
from framepack.domain.portable import rename_section_pictures
from framepack.domain.request import GenerationRequest
from framepack.media.codecs import LOSSLESS, NO_VIDEO, VideoFormat
from framepack.media.drift import SectionMeasures
from framepack.media.images import load_image
from framepack.media.outputs import format_of
from framepack.media.writer import VideoWriter
from framepack.pipeline.conditions import Conditions, Pictures
from framepack.pipeline.decode import Seam
from framepack.pipeline.delivery import Delivery, check_free_space
from framepack.pipeline.durable import load_tensors, save_tensors, write_json
from framepack.pipeline.history import LatentHistory
from framepack.pipeline.run_files import delete_run_files, foreign_file
from framepack.pipeline.run_lock import RunLock
from framepack.pipeline.run_state import RunState, Segment
from framepack.weights.hashing import sha256_file

__all__ = ["Workspace"]

logger = logging.getLogger(__name__)

_CHOSEN_LATER = frozenset({"attention", "compile", "kernels"})

FORMAT = 2
"""Version of the directory's layout; a change makes older runs unreadable, with a message."""


class Workspace:
    """A run directory that this process works in. A ``with`` block locks it.

    Attributes:
        directory: the run directory.
        plan: what is being made.
        delivery: where the finished video goes, and what is left besides.
    """

    def __init__(self, directory: Path, document: Mapping[str, Any]) -> None:
        self.directory = directory
        self.plan = Plan.model_validate(document["plan"])
        self.delivery = Delivery.from_dict(document["delivery"])
        self._document = dict(document)
        self._lock = RunLock(directory / "lock")

    @classmethod
    def create(
        cls, directory: Path, plan: Plan, delivery: Delivery, pictures: Pictures
    ) -> "Workspace":
        """Make a run directory for a new run.

        Args:
            directory: made if missing.
            plan: what to make.
            delivery: where it goes.
            pictures: the input pictures, fitted to the plan's size.

        Raises:
            InvalidRequest: the directory holds a run already.
            WorkspaceError: it cannot be written, or the disk is too full for this video.
        """
        check_free_space(plan, directory, delivery)
        _check_is_ours(directory)
        try:
            for folder in ("segments", "inputs", "latents"):
                (directory / folder).mkdir(parents=True, exist_ok=True)
            with RunLock(directory / "lock"):
                if (directory / "run.json").exists():
                    raise InvalidRequest(
                        f"{directory} already holds a run; continue it with `framepack resume "
                        f"{directory}` or name another run directory"
                    )
                for name, picture in pictures.by_name().items():
                    picture.save(directory / "inputs" / f"{name}.png")
                document = {
                    "format": FORMAT,
                    "plan": plan.to_dict(),
                    "delivery": delivery.to_dict(),
                    "components": None,
                    "made_with": None,
                    "kept": None,
                }
                write_json(directory / "run.json", document)
        except OSError as error:
            raise WorkspaceError(
                f"cannot write {directory}: {error.strerror or error}; choose another run directory"
            ) from error
        return cls(directory, document)

    @classmethod
    def open(cls, directory: Path) -> "Workspace":
        """Open the directory of a stopped run.

        Raises:
            InvalidRequest: there is no run.
            WorkspaceError: its description is damaged or of another version.
        """
        path = directory / "run.json"
        if not path.is_file():
            raise InvalidRequest(
                f"{directory} holds no run (no run.json); a run that succeeded removes its "
                "directory unless told to keep it"
            )
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] == FORMAT:
                return cls(directory, document)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise WorkspaceError(
                f"{path} is damaged ({type(error).__name__}); delete {directory} and generate "
                "the video again"
            ) from error
        raise WorkspaceError(
            f"{directory} was written in format {document['format']}, this version reads "
            f"{FORMAT}; finish the run with the version that began it"
        )

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def preview_path(self) -> Path:
        """Where the newest preview picture is."""
        return self.directory / "preview.webp"

    @property
    def has_progress(self) -> bool:
        """Whether something was computed that a resumed run need not compute again."""
        return (self.directory / "conditions.safetensors").exists()

    @property
    def component_hashes(self) -> dict[str, str]:
        """Hashes of the weights that the run uses; empty before it has begun."""
        return dict(self._document["components"] or {})

    @property
    def kept(self) -> dict[str, Any] | None:
        """What the run has from another one, as :meth:`keep` was told; None for nothing."""
        kept: dict[str, Any] | None = self._document.get("kept")
        return kept

    @property
    def request(self) -> GenerationRequest:
        """What was asked, naming the run's own copies of the pictures, which stay."""
        inputs, asked = self.directory / "inputs", self.plan.request
        number = len(asked.section_pictures)
        renamed = rename_section_pictures(
            asked, [inputs / f"section-{index}.png" for index in range(number)]
        )
        values = {name: getattr(renamed, name) for name in GenerationRequest.model_fields}
        for name, file in (("image", "start.png"), ("end_image", "end.png")):
            if values[name] is not None:
                values[name] = inputs / file
        return GenerationRequest.parse(**values)

    def keep(self, kept: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
        """Record what a run that has not begun takes over, and the weights it was made with."""
        self._document |= {"kept": dict(kept), "components": dict(hashes)}
        write_json(self.directory / "run.json", self._document)

    def pictures(self) -> Pictures:
        """Return the fitted input pictures.

        Raises:
            WorkspaceError: one of a section is missing.
        """
        number = len(self.plan.request.section_pictures)
        sections = [self._picture(f"section-{index}") for index in range(number)]
        if None in sections:
            raise WorkspaceError(
                f"{self.directory / 'inputs'} lacks a section's picture; delete {self.directory} "
                "and generate the video again"
            )
        found = tuple(picture for picture in sections if picture is not None)
        return Pictures(self._picture("start"), self._picture("end"), found)

    @property
    def made_with(self) -> Mapping[str, str]:
        """Versions, device, number format and the like that the run began with; empty before."""
        return dict(self._document["made_with"] or {})

    def bind(self, hashes: Mapping[str, str], made_with: Mapping[str, str]) -> None:
        """Record what the run is made with at the first start; refuse other weights afterwards.

        Args:
            hashes: of the weights, by component.
            made_with: versions, device, number format and quantisation. Another machine may go
                on with a run, but its roundings differ, so the log warns.

        Raises:
            WorkspaceError: the weights are not those that the run began with.
        """
        recorded = self.component_hashes
        if self._document["made_with"] is None:
            self._document |= {
                "components": recorded or dict(hashes),
                "made_with": dict(made_with),
            }
            write_json(self.directory / "run.json", self._document)
        changed = _differences(self.component_hashes, hashes)
        if changed:
            raise WorkspaceError(
                f"the run in {self.directory} began with other weights: {', '.join(changed)} "
                "changed; put the former weights back, or delete the directory and generate again"
            )
        for name in _differences(self._document["made_with"], made_with):
            if name in _CHOSEN_LATER and name not in self._document["made_with"]:
                continue  # a version of this program began it that knew no such choice
            logger.warning(
                "the run began with %s %s and goes on with %s: sections will not match exactly",
                name,
                self._document["made_with"].get(name, "none"),
                made_with.get(name, "none"),
            )

    def load_conditions(self) -> Conditions | None:
        """Return the stored conditions; None if the run was stopped before it had them.

        Raises:
            WorkspaceError: the file is damaged; it may be deleted.
        """
        path = self.directory / "conditions.safetensors"
        if not path.exists():
            return None
        try:
            return Conditions.from_tensors(*load_tensors(path))
        except (WorkspaceError, KeyError) as error:
            raise WorkspaceError(
                f"{error}; delete that file and resume to encode the inputs again"
            ) from error

    def save_conditions(self, conditions: Conditions) -> None:
        """Store the conditions, so that a resumed run needs no encoder."""
        save_tensors(self.directory / "conditions.safetensors", *conditions.to_tensors())

    def load_state(self) -> RunState | None:
        """Return the state after the last finished section; None before the first one.

        Raises:
            WorkspaceError: the state or a segment is damaged or missing.
        """
        path = self.directory / "state.safetensors"
        if not path.exists():
            return None
        try:
            tensors, document = load_tensors(path)
            seam = None
            if "seam" in tensors:
                seam = Seam(tensors["seam"], document["seam_start"])
            reference = document.get("reference")
            state = RunState(
                num_done=document["num_done"],
                history=LatentHistory(tensors["history"], document["grows_backward"]),
                seam=seam,
                segments=tuple(Segment(**segment) for segment in document["segments"]),
                statistics=document["statistics"],
                reference=SectionMeasures(**reference) if reference else None,
            )
            for segment in state.segments:
                self._check_segment(segment)
        except (WorkspaceError, KeyError, TypeError) as error:
            raise WorkspaceError(
                f"{error}; delete {path} and resume to render again from the first section"
            ) from error
        return state

    def commit(self, state: RunState) -> None:
        """Make a finished section count. Its segment must be on the disk already."""
        tensors = {"history": state.history.latents}
        if state.seam is not None:
            tensors["seam"] = state.seam.pixels
        document = {
            "num_done": state.num_done,
            "grows_backward": state.history.grows_backward,
            "seam_start": state.seam.start_frame if state.seam is not None else None,
            "segments": [asdict(segment) for segment in state.segments],
            "statistics": dict(state.statistics),
            "reference": asdict(state.reference) if state.reference is not None else None,
        }
        save_tensors(self.directory / "state.safetensors", tensors, document)

    def write_segment(
        self, name: str, start_frame: int, frames: Iterable[NDArray[np.uint8]]
    ) -> Segment | None:
        """Encode final frames, [T, H, W, 3] uint8 at a time, and flush them to the disk.

        A leftover of a killed run is overwritten. Returns None if there is no frame.
        """
        batches = iter(frames)
        first = next(batches, None)
        if first is None:
            return None
        path = self.segment_path(name)
        with VideoWriter(
            path,
            width=self.plan.width,
            height=self.plan.height,
            fps=self.plan.generated_fps,
            video_format=self.segment_format,
        ) as writer:
            writer.write(first)
            for batch in batches:
                writer.write(batch)
        return Segment(name, start_frame, writer.num_frames, sha256_file(path))

    def latents_path(self, section: Section) -> Path:
        """Where a section's latents are."""
        return self.directory / "latents" / f"{section.segment_name}.safetensors"

    def save_latents(self, section: Section, latents: Tensor) -> None:
        """Store a section's latents [1, C, T, h, w], from which other runs can go on."""
        save_tensors(self.latents_path(section), {"latents": latents}, {})

    def load_latents(self, section: Section) -> Tensor:
        """Return what :meth:`save_latents` stored, on the CPU.

        Raises:
            WorkspaceError: the file is missing or damaged.
        """
        return load_tensors(self.latents_path(section))[0]["latents"]

    def source_path(self, section: Section) -> Path:
        """Where a section's part of the video to draw anew is."""
        return self.directory / "source" / f"{section.segment_name}.safetensors"

    def save_source(self, section: Section, latents: Tensor) -> None:
        """Store the latents [1, C, T, h, w] of a section's part of the video to draw anew."""
        self.source_path(section).parent.mkdir(exist_ok=True)
        save_tensors(self.source_path(section), {"latents": latents}, {})

    def load_source(self, section: Section) -> Tensor:
        """Return what :meth:`save_source` stored, on the CPU.

        Raises:
            WorkspaceError: the file is missing or damaged.
        """
        return load_tensors(self.source_path(section))[0]["latents"]

    def segment_path(self, name: str) -> Path:
        """Return where the segment of that name is."""
        suffix = ".mp4" if self.is_joined else ".mkv"
        return self.directory / "segments" / f"{name}{suffix}"

    @property
    def segment_format(self) -> VideoFormat:
        """How segments are encoded."""
        return self.video_format if self.is_joined else LOSSLESS

    @property
    def video_format(self) -> VideoFormat:
        """How the video file is encoded."""
        return format_of(self.plan.request)

    @property
    def main_output(self) -> Path:
        """The video; without one the raw frames, or else the folder of pictures."""
        outputs = self.delivery.outputs
        if self.plan.request.codec != NO_VIDEO:
            return outputs.video
        return outputs.raw or outputs.frames_dir or outputs.video

    @property
    def is_joined(self) -> bool:
        """Whether segments are in the video's own format and are joined as they are.

        Else they are lossless, and everything that is wanted is made of them at the end.
        """
        return self.delivery.joins_segments(self.plan.request)

    def in_play_order(self, segments: Iterable[Segment]) -> list[Path]:
        """Return the files of segments in the order in which they are played."""
        ordered = sorted(segments, key=lambda segment: segment.start_frame)
        return [self.segment_path(segment.name) for segment in ordered]

    def remove(self) -> None:
        """Delete the run: its own files, and the directory if nothing else is in it."""
        self._lock.release()
        delete_run_files(self.directory)

    def _picture(self, name: str) -> Image.Image | None:
        path = self.directory / "inputs" / f"{name}.png"
        return load_image(path) if path.exists() else None

    def _check_segment(self, segment: Segment) -> None:
        path = self.segment_path(segment.name)
        if not path.is_file():
            raise WorkspaceError(f"{path} is missing")
        if sha256_file(path) != segment.sha256:
            raise WorkspaceError(f"{path} is damaged (its checksum changed)")


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def _check_is_ours(directory: Path) -> None:
    """Refuse a directory with other people's files: runs delete what they leave.

    Raises:
        InvalidRequest: names one of them.
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidRequest(f"run directory {directory} is a file; name another one")
    foreign = foreign_file(directory)
    if foreign is not None:
        raise InvalidRequest(
            f"run directory {directory} holds other files "
            f"({foreign.relative_to(directory)}); name a new directory"
        )
