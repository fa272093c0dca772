"""With the tiny VAE, section by section gives the frames of the whole video decoded at once."""

import pytest
import torch
from tests.helpers.runs import plan_without_model
from tests.helpers.tiny_vae import random_tiny_vae
from torch import Tensor

from framepack.domain.plan import Plan
from framepack.pipeline.decode import Seam, decode_section
from framepack.pipeline.history import LatentHistory, frames_to_keep

VARIANTS = ("bi-directional", "forward-only")


def _plan(variant: str, *, window: int, sections: int, picture: bool) -> Plan:
    frames = 4 * window * sections + (1 if picture else -3)
    plan = plan_without_model(
        variant=variant,
        duration_s=frames / 30,
        latent_window_size=window,
        picture=picture,
        vae="tiny",
    )
    assert plan.num_sections == sections
    return plan


def _by_sections(plan: Plan, video: Tensor, start: Tensor) -> Tensor:
    """All frames in play order, each section decoded with the one it touches."""
    network = random_tiny_vae()
    keep = frames_to_keep(plan.sections[0].indices, plan.latent_window_size)
    history = LatentHistory.empty(start, num_frames=keep, grows_backward=plan.is_inverted)
    seam: Seam | None = None
    settled = []
    sections = video.split(plan.latent_window_size, dim=2)
    for section in plan.sections:
        history = history.add(sections[section.index])
        part = decode_section(plan, section, history, start, seam, network.decode)
        settled.append(part)
        seam = part.seam
    assert seam is None
    settled.sort(key=lambda part: part.start_frame)
    assert settled[0].start_frame == 0
    return torch.cat([part.pixels for part in settled], dim=2)


def _latents(plan: Plan) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    count = plan.latent_window_size * plan.num_sections
    video = torch.randn(1, 4, count, 2, 2, generator=generator)
    return video, torch.randn(1, 4, 1, 2, 2, generator=generator)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sections", [1, 2, 4])
@pytest.mark.parametrize(("window", "picture"), [(8, True), (9, False), (9, True)])
def test_sections_equal_the_whole_bit_for_bit(
    variant: str, sections: int, window: int, picture: bool
) -> None:
    plan = _plan(variant, window=window, sections=sections, picture=picture)
    video, start = _latents(plan)
    whole = torch.cat([start, video], dim=2) if picture else video
    expected = random_tiny_vae().decode(whole)
    found = _by_sections(plan, video, start)
    assert found.shape[2] == plan.num_generated_frames
    assert torch.equal(found, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_shorter_sections_come_close(variant: str) -> None:
    plan = _plan(variant, window=4, sections=4, picture=True)
    video, start = _latents(plan)
    expected = random_tiny_vae().decode(torch.cat([start, video], dim=2))
    found = _by_sections(plan, video, start)
    difference = (found - expected).abs().mean() / expected.std()
    assert 0 < difference < 0.05
