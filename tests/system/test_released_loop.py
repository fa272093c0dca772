"""The pipeline against the released loop, written once more: the same decoded frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers.runs import SECTION_FRAMES, frames_of, make_video, seconds
from torch import Tensor

import framepack
from framepack.domain.plan import Plan
from framepack.media.images import fit_image, load_image, to_frames
from framepack.media.segments import SegmentWriter
from framepack.models.autoencoder import decode_latents
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Conditions, Pictures, encode_conditions
from framepack.sampling.flow import section_noise, sigmas
from framepack.sampling.solvers import sample

VARIANTS = ("bi-directional", "forward-only")


# --- the algorithm, once more and independently: whole histories, whole video in memory ---


def _released_loop(plan: Plan, conditions: Conditions, components: Components) -> Tensor:
    """All pixels [1, 3, F, H, W] of a plan, by the description of the released program."""
    w = plan.latent_window_size
    start = conditions.start_latent
    shape = (1, start.shape[1], w, start.shape[3], start.shape[4])
    history = torch.zeros(1, start.shape[1], 19, start.shape[3], start.shape[4])
    inverted = plan.variant == "bi-directional"
    real = 0
    if not inverted:
        history = torch.cat([history, start], dim=2)
        real = 1
    pixels: Tensor | None = None
    for section in plan.sections:
        if inverted:
            near, middle, far = history[:, :, :19].split([1, 2, 16], dim=2)
            if pixels is None and conditions.end_anchor is not None:
                near = conditions.end_anchor
        else:
            far, middle, near = history[:, :, -19:].split([16, 2, 1], dim=2)
        new = _sample(plan, section, (near, middle, far), shape, conditions, components)
        last = inverted and section.index == 0
        if last and plan.has_start:
            new = torch.cat([start, new], dim=2)
        history = torch.cat([new, history] if inverted else [history, new], dim=2)
        real += new.shape[2]
        existing = history[:, :, :real] if inverted else history[:, :, -real:]
        if not inverted and not plan.has_start:
            existing = existing[:, :, 1:]  # the black anchor is not part of the video
        if pixels is None:
            pixels = decode_latents(components.vae, existing)
        elif inverted:
            window = 2 * w + (1 if last and plan.has_start else 0)
            current = decode_latents(components.vae, existing[:, :, :window])
            pixels = _append(current, pixels, 4 * w - 3)
        else:
            current = decode_latents(components.vae, existing[:, :, -2 * w :])
            pixels = _append(pixels, current, 4 * w - 3)
    assert pixels is not None
    return pixels


def _append(before: Tensor, after: Tensor, overlap: int) -> Tensor:
    weight = torch.linspace(1, 0, overlap).view(1, 1, -1, 1, 1)
    mixed = weight * before[:, :, -overlap:] + (1 - weight) * after[:, :, :overlap]
    return torch.cat([before[:, :, :-overlap], mixed, after[:, :, overlap:]], dim=2)


def _sample(
    plan: Plan,
    section: framepack.Section,
    tiers: tuple[Tensor, Tensor, Tensor],
    shape: tuple[int, ...],
    conditions: Conditions,
    components: Components,
) -> Tensor:
    request, indices = plan.request, section.indices
    near, middle, far = tiers
    text = conditions.prompts[section.prompt]

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        flow = components.transformer(
            hidden_states=x,
            timestep=sigma[None] * 1000,
            encoder_hidden_states=text.prompt_embeds,
            encoder_attention_mask=text.prompt_mask,
            pooled_projections=text.pooled,
            image_embeds=conditions.image_embeds,
            guidance=torch.tensor([request.guidance_scale * 1000]),
            indices_latents=torch.tensor(indices.noisy),
            latents_clean=torch.cat([conditions.start_anchor, near], dim=2),
            indices_latents_clean=torch.tensor(indices.clean),
            latents_history_2x=middle,
            indices_latents_history_2x=torch.tensor(indices.history_2x),
            latents_history_4x=far,
            indices_latents_history_4x=torch.tensor(indices.history_4x),
            return_dict=False,
        )[0]
        return x - sigma * flow

    noise = section_noise(plan.seed, section.render_index, shape)
    levels = sigmas(request.num_inference_steps, latent_shape=(shape[2], shape[3], shape[4]))
    *_, last = sample(denoise, noise, levels, request.solver)
    return last.x0


def _as_written(pixels: Tensor, plan: Plan, path: Path) -> NDArray[np.uint8]:
    """The frames as they come back from a lossless file of one segment."""
    with SegmentWriter(path, width=plan.width, height=plan.height, fps=plan.fps, crf=0) as writer:
        writer.write(to_frames(pixels)[: plan.num_frames])
    return frames_of(path)


@pytest.mark.parametrize(
    ("variant", "mode", "sections"),
    [
        ("bi-directional", "i2v", 1),
        ("bi-directional", "i2v", 3),
        ("bi-directional", "t2v", 2),
        ("bi-directional", "flf2v", 3),
        ("bi-directional", "lf2v", 2),
        ("forward-only", "i2v", 3),
        ("forward-only", "t2v", 3),
    ],
)
@torch.inference_mode()
def test_the_video_is_that_of_the_released_loop(
    tmp_path: Path,
    components: Components,
    picture: Path,
    end_picture: Path,
    variant: str,
    mode: str,
    sections: int,
) -> None:
    image = picture if mode in ("i2v", "flf2v") else None
    end_image = end_picture if mode in ("flf2v", "lf2v") else None
    frames = SECTION_FRAMES * sections + (1 if image else -3)
    result = make_video(
        tmp_path,
        components,
        variant=variant,
        image=image,
        end_image=end_image,
        duration_s=seconds(frames),
        crf=0,
    )
    plan = result.plan
    assert (plan.mode, plan.num_sections, plan.num_frames) == (mode, sections, frames)
    pictures = Pictures(
        *(fit_image(load_image(path), 64, 64) if path else None for path in (image, end_image))
    )
    conditions = encode_conditions(plan, components, pictures)
    expected = _as_written(
        _released_loop(plan, conditions, components), plan, tmp_path / "expected.mp4"
    )
    np.testing.assert_array_equal(frames_of(result.path), expected)
