"""Sections share decoded tiles: the frames are those of decoding anew, in every section."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from tests.helpers.runs import plan_without_model
from tests.helpers.vae import small_vae
from torch import Tensor

from framepack.domain.plan import Plan
from framepack.models.autoencoder import TileCounts, decode_latents
from framepack.pipeline.decode import Seam, SettledFrames, decode_section
from framepack.pipeline.history import LatentHistory, frames_to_keep
from framepack.pipeline.own_decoder import OwnDecoder

WINDOW, SECTIONS = 9, 5
COUNTS = {
    ("bi-directional", True): [(3, 0), (3, 3), (4, 2), (4, 2), (6, 0)],
    ("bi-directional", False): [(3, 0), (3, 3), (4, 2), (4, 2), (4, 2)],
    ("forward-only", True): [(3, 0), (6, 0), (4, 2), (4, 2), (4, 2)],
    ("forward-only", False): [(3, 0), (4, 2), (4, 2), (4, 2), (4, 2)],
}
"""Tiles decoded and reused, by variant and by whether the start picture is shown."""

Decode = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLHunyuanVideo:
    return small_vae()


def _plan(variant: str, *, picture: bool) -> Plan:
    frames = 4 * WINDOW * SECTIONS + (1 if picture else -3)
    plan = plan_without_model(
        variant=variant,
        picture=picture,
        latent_window_size=WINDOW,
        duration_s=frames / 30,
        fps=30,
    )
    assert (plan.num_sections, plan.num_frames) == (SECTIONS, frames)
    return plan


def _sections(plan: Plan, decode: Decode, *, first: int = 0) -> Iterator[SettledFrames]:
    """Random latents decoded section by section; those before ``first`` with ``decode`` unused."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 4, 1, 2, 2, generator=generator)
    num_kept = frames_to_keep(plan.sections[0].indices, WINDOW)
    history = LatentHistory.empty(start, num_frames=num_kept, grows_backward=plan.is_inverted)
    if not plan.is_inverted:
        history = history.add(start)
    seam: Seam | None = None
    before = OwnDecoder()
    for section in plan.sections:
        history = history.add(torch.randn(1, 4, WINDOW, 2, 2, generator=generator))
        chosen = decode if section.render_index >= first else _own(before, small_vae())
        settled = decode_section(plan, section, history, start, seam, chosen)
        seam = settled.seam
        if section.render_index >= first:
            yield settled


def _own(decoder: OwnDecoder, vae: AutoencoderKLHunyuanVideo) -> Decode:
    return lambda latents: decoder.decode(vae, latents, None)


@pytest.mark.parametrize(("variant", "picture"), COUNTS)
def test_every_section_is_as_decoded_anew(
    vae: AutoencoderKLHunyuanVideo, variant: str, picture: bool
) -> None:
    plan, decoder = _plan(variant, picture=picture), OwnDecoder()
    anew = _sections(plan, lambda latents: decode_latents(vae, latents))
    counts = []
    for found, expected in zip(_sections(plan, _own(decoder, vae)), anew, strict=True):
        assert torch.equal(found.pixels, expected.pixels)
        assert (found.seam is None) == (expected.seam is None)
        if found.seam is not None and expected.seam is not None:
            assert torch.equal(found.seam.pixels, expected.seam.pixels)
        counts.append(decoder.counts)
    assert counts == COUNTS[variant, picture]


@pytest.mark.parametrize("variant", ["bi-directional", "forward-only"])
def test_a_resumed_run_decodes_the_same_without_what_was_kept(
    vae: AutoencoderKLHunyuanVideo, variant: str
) -> None:
    plan = _plan(variant, picture=True)
    whole = list(_sections(plan, _own(OwnDecoder(), vae)))
    resumed = OwnDecoder()
    for expected, found in zip(
        whole[2:], _sections(plan, _own(resumed, vae), first=2), strict=True
    ):
        assert torch.equal(found.pixels, expected.pixels)


def test_tiles_outlive_a_vae_that_makes_room(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = torch.randn(1, 4, 27, 2, 2, generator=torch.Generator().manual_seed(1))
    decoder = OwnDecoder()
    decoder.decode(copy.deepcopy(vae), latents[:, :, :18], None)
    found = decoder.decode(vae, latents[:, :, 9:], None)
    assert decoder.counts == TileCounts(4, 2)
    assert torch.equal(found, decode_latents(vae, latents[:, :, 9:]))


def test_other_spatial_tiles_reuse_nothing(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = torch.randn(1, 4, 18, 6, 6, generator=torch.Generator().manual_seed(1))
    decoder = OwnDecoder()
    decoder.decode(vae, latents, None)
    found = decoder.decode(vae, latents, 32)
    assert decoder.counts == TileCounts(6, 0)
    assert torch.equal(found, decode_latents(vae, latents, spatial_tile_px=32))


def test_nothing_is_kept_of_a_video_that_is_done(vae: AutoencoderKLHunyuanVideo) -> None:
    latents = torch.randn(1, 4, 9, 2, 2, generator=torch.Generator().manual_seed(1))
    decoder = OwnDecoder()
    decoder.decode(vae, latents, None)
    decoder.forget()
    assert decoder.counts == TileCounts(0, 0)
    decoder.decode(vae, latents, None)
    assert decoder.counts == TileCounts(3, 0)
