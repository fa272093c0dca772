"""The sections of a plan: what each run of the denoiser makes, where it stands, what it is told."""

from dataclasses import dataclass
from pathlib import Path

from framepack.domain.geometry import ModelGeometry
from framepack.domain.lengths import Length
from framepack.domain.packing import (
    FrameIndices,
    PackingLayout,
    forward_indices,
    inverted_indices,
    one_frame_indices,
)
from framepack.domain.request import ResolvedRequest
from framepack.domain.schedule import overlap_frames, paddings, section_frames
from framepack.domain.section_settings import SectionSettings, settle_sections

__all__ = ["Section", "plan_sections"]


@dataclass(frozen=True, slots=True)
class Section:
    """One run of the denoiser.

    Attributes:
        index: position from the start of the video, 0 first.
        render_index: position in rendering order, 0 first.
        padding: gap to the start picture on the time axis, in sections; 0 when forward-only.
        indices: positions of its latent frames on the time axis.
        prompt: what happens in it.
        mixture: texts and their shares, which sum to 1, where prompts blend; else empty.
        image: picture that stands for the start picture in it, or None.
        seed: of its noise, or None for the video's.
        loras: weights of the request's LoRAs in it; empty where no section changes them.
        start_frame: first generated frame it is responsible for.
        end_frame: one past the last generated frame it is responsible for.
        overlap_frames: frames blended with its neighbour rendered before; 0 for the first.
        is_first_rendered: nothing was rendered before it.
        is_last_rendered: nothing will be rendered after it.
    """

    index: int
    render_index: int
    padding: int
    indices: FrameIndices
    prompt: str
    start_frame: int
    end_frame: int
    overlap_frames: int
    is_first_rendered: bool
    is_last_rendered: bool
    mixture: tuple[tuple[str, float], ...] = ()
    image: Path | None = None
    seed: int | None = None
    loras: tuple[float, ...] = ()

    @property
    def texts(self) -> tuple[tuple[str, float], ...]:
        """Every text that steers it, with its share."""
        return self.mixture or ((self.prompt, 1.0),)

    @property
    def segment_name(self) -> str:
        """What its files are called in a run directory."""
        return f"{self.index:06d}"


def plan_sections(
    request: ResolvedRequest, length: Length, geometry: ModelGeometry, *, has_start: bool
) -> tuple[Section, ...]:
    """Every section in rendering order.

    Args:
        request: with every default filled in.
        length: of the video.
        geometry: the model's sizes.
        has_start: the start picture's latent is part of the video.
    """
    window, stride = request.section_latents, geometry.temporal_stride
    count = length.num_sections
    inverted = request.variant == "bi-directional"
    spans = [
        section_frames(index, window, length.num_kept_frames, has_start=has_start, stride=stride)
        for index in range(count)
    ]
    given = length.num_given_sections
    fps = request.fps / max(request.interpolate, 1)
    # Sections and times are counted from the start of what is made.
    starts_s = [(start - spans[given][0]) / fps for start, _ in spans[given:]]
    settings = settle_sections(
        request.section_cues,
        prompt=request.prompt,
        mode=request.section_mode,
        blend_sections=request.blend_sections,
        starts_s=starts_s,
        duration_s=(length.num_kept_frames - spans[given][0]) / fps
        if given
        else length.num_frames / request.fps,
        loras=request.loras,
    )
    settings = (*(SectionSettings("", (), None, None) for _ in range(given)), *settings)
    gaps = paddings(count, geometry.trained_padding) if inverted else [0] * count
    sections = []
    for render_index, padding in enumerate(gaps):
        index = count - 1 - render_index if inverted else render_index
        own = settings[index]
        sections.append(
            Section(
                index=index,
                render_index=render_index,
                padding=padding,
                indices=_indices(request, padding, geometry.layout),
                prompt=own.prompt,
                start_frame=spans[index][0],
                end_frame=spans[index][1],
                overlap_frames=overlap_frames(window, stride=stride) if render_index else 0,
                is_first_rendered=render_index == 0,
                is_last_rendered=render_index == count - 1,
                mixture=own.mixture,
                image=own.image,
                seed=own.seed,
                loras=own.loras,
            )
        )
    return tuple(sections)


def _indices(request: ResolvedRequest, padding: int, layout: PackingLayout) -> FrameIndices:
    if request.one_frame:
        assert request.target_index is not None, "a resolved request has it"
        return one_frame_indices(request.target_index, request.control_index)
    if request.variant == "bi-directional":
        return inverted_indices(padding, request.latent_window_size, layout)
    return forward_indices(request.latent_window_size, layout)
