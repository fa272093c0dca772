"""Streaming decode against the released loop, which keeps the whole video in memory."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.runs import plan_without_model
from torch import Tensor

from framepack.domain.plan import Plan
from framepack.media.images import to_frames
from framepack.pipeline.decode import Seam, SettledFrames, blend, decode_section
from framepack.pipeline.history import LatentHistory, frames_to_keep

GOLDEN = Path(__file__).parents[2] / "parity" / "golden" / "official.json"
VARIANTS = ("bi-directional", "forward-only")


def _plan(variant: str, *, num_frames: int, window: int = 9, picture: bool = True) -> Plan:
    return plan_without_model(
        variant=variant,
        duration_s=num_frames / 30,
        latent_window_size=window,
        picture=picture,
    )


def _decode(latents: Tensor) -> Tensor:
    """A causal "VAE": every frame depends on all latents before it in the window."""
    running = torch.cumsum(latents.float().mean(dim=1, keepdim=True), dim=2)
    frames = running.repeat_interleave(4, dim=2)[:, :, 3:]
    steps = torch.arange(frames.shape[2]).view(1, 1, -1, 1, 1)
    return (frames + 0.01 * steps).repeat(1, 3, 1, 1, 1) / 20


def _released_loop(plan: Plan, generated: list[Tensor], start: Tensor) -> Tensor:
    """Every frame of the video, by the released algorithm on full histories."""
    w = plan.latent_window_size
    overlap = 4 * w - 3
    latents: Tensor | None = None
    pixels: Tensor | None = None
    for section, new in zip(plan.sections, generated, strict=True):
        first_of_video = section.index == 0 and plan.has_start
        if first_of_video:
            new = torch.cat([start, new], dim=2)
        if latents is None:
            latents = new
        elif plan.is_inverted:
            latents = torch.cat([new, latents], dim=2)
        else:
            latents = torch.cat([latents, new], dim=2)
        if pixels is None:
            pixels = _decode(latents)
        elif plan.is_inverted:
            current = _decode(latents[:, :, : 2 * w + first_of_video])
            pixels = blend(current, pixels, overlap)
        else:
            current = _decode(latents[:, :, -2 * w :])
            pixels = blend(pixels, current, overlap)
    assert pixels is not None
    return pixels


def _stream(plan: Plan, generated: list[Tensor], start: Tensor) -> list[SettledFrames]:
    keep = frames_to_keep(plan.sections[0].indices, plan.latent_window_size)
    history = LatentHistory.empty(start, num_frames=keep, grows_backward=plan.is_inverted)
    if not plan.is_inverted:
        history = history.add(start)
    seam: Seam | None = None
    settled = []
    for section, new in zip(plan.sections, generated, strict=True):
        history = history.add(new)
        settled.append(decode_section(plan, section, history, start, seam, _decode))
        seam = settled[-1].seam
    assert seam is None
    return settled


def _latents(plan: Plan) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (1, 2, plan.latent_window_size, 1, 1)
    generated = [torch.randn(shape, generator=generator) for _ in plan.sections]
    return generated, torch.randn((1, 2, 1, 1, 1), generator=generator)


CASES = [
    pytest.param(variant, sections, window, picture, id=f"{variant}-{sections}x{window}-{picture}")
    for variant in VARIANTS
    for sections in (1, 2, 3, 6)
    for window in (1, 2, 9)
    for picture in (True, False)
]


@pytest.mark.parametrize(("variant", "sections", "window", "picture"), CASES)
def test_settled_frames_are_those_of_the_released_loop(
    variant: str, sections: int, window: int, picture: bool
) -> None:
    frames = 4 * window * sections + (1 if picture else -3)
    plan = _plan(variant, num_frames=frames, window=window, picture=picture)
    assert plan.num_sections == sections
    generated, start = _latents(plan)
    settled = sorted(_stream(plan, generated, start), key=lambda part: part.start_frame)
    video = torch.cat([part.pixels for part in settled], dim=2)
    torch.testing.assert_close(video, _released_loop(plan, generated, start), rtol=0, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("picture", [True, False])
def test_every_frame_is_settled_once_in_its_place(variant: str, picture: bool) -> None:
    plan = _plan(variant, num_frames=170, picture=picture)
    places: list[int] = []
    for part in _stream(plan, *_latents(plan)):
        places += range(part.start_frame, part.start_frame + part.pixels.shape[2])
    assert sorted(places) == list(range(plan.num_generated_frames))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_frames", [1, 5, 37, 38, 74, 120])
def test_frames_past_the_length_are_left_out(variant: str, num_frames: int) -> None:
    plan = _plan(variant, num_frames=num_frames)
    generated, start = _latents(plan)
    written: dict[int, np.ndarray] = {}
    for part in _stream(plan, generated, start):
        frames = (frame for batch in part.frames(plan.num_frames) for frame in batch)
        written |= dict(enumerate(frames, part.start_frame))
    whole = to_frames(_released_loop(plan, generated, start))[:num_frames]
    assert sorted(written) == list(range(num_frames))
    np.testing.assert_array_equal(np.stack([written[k] for k in range(num_frames)]), whole)


def test_only_the_seam_stays_in_memory() -> None:
    plan = _plan("bi-directional", num_frames=100)
    for part in _stream(plan, *_latents(plan))[:-1]:
        assert part.seam is not None
        assert part.seam.pixels.shape[2] == 33
        assert part.seam.pixels.untyped_storage().nbytes() == part.seam.pixels.nbytes


def test_the_black_anchor_is_never_decoded() -> None:
    for variant in VARIANTS:
        plan = _plan(variant, num_frames=69, picture=False)
        generated, start = _latents(plan)
        seen = [
            torch.cat([part.pixels for part in _stream(plan, generated, anchor)], dim=2)
            for anchor in (start, start + 100)
        ]
        assert torch.equal(*seen)


def test_blend_equals_the_released_code() -> None:
    cases = json.loads(GOLDEN.read_text())["soft_append"]["cases"]
    assert cases
    for case in cases:
        before = torch.tensor(case["history"]).view(1, 2, case["ta"], 2, 2)
        after = torch.tensor(case["current"]).view(1, 2, case["tb"], 2, 2)
        expected = torch.tensor(case["result"]).view(1, 2, -1, 2, 2)
        torch.testing.assert_close(blend(before, after, case["overlap"]), expected)


def test_blending_more_frames_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot blend 3 frames of clips with 2 and 5"):
        blend(torch.zeros(1, 3, 2, 1, 1), torch.zeros(1, 3, 5, 1, 1), 3)
