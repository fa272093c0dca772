"""How long the published 13B would take here, reckoned from a few of its layers.

No weights are needed: layers of the published size get random ones. A step of all layers is
reckoned from steps of three layers, two and one, so what is not measured is said to be an estimate.
"""

# Shape letters are those of docs/notation.md:
#   N tokens of a section  D token width

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLHunyuanVideo
from torch import Tensor, nn

from framepack.domain.choices import AttentionName
from framepack.domain.packing import RELEASED, inverted_indices
from framepack.memory.placement import section_working_bytes
from framepack.models.attention import JointAttnProcessor, dispatch_name, use_backend
from framepack.models.autoencoder import StreamingDecoder, use_direct_convolutions
from framepack.models.reuse import Reuse
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.attention import choose_attention, find_facts
from framepack.pipeline.attention_probe import AttentionShape, ProbeMemory, probe_attention

__all__ = [
    "PublishedEstimate",
    "Trial",
    "choose_backend",
    "estimate_published",
    "least_s",
    "measured_size",
]

HEADS, HEAD_DIM, WIDTH = 24, 128, 3072
NUM_DOUBLE, NUM_SINGLE = 20, 40
STEPS, SECTION_LATENTS, SECTION_FRAMES = 25, 9, 36
TEXT_TOKENS, PICTURE_TOKENS = 100, 729

FULL = (60, 104)
"""Latent rows and columns of 480x832 px."""

_SMALLER = ((24, 40), (8, 8))
_TRIAL_PARAMETERS = 0.76e9  # of one double-stream and two single-stream blocks, and the rest
_MARGIN_BYTES = 1.5e9
_ATTENTION_TOKENS = 2048  # what attention is timed with where a section is too long for it
_TILE_LATENTS = 5
_TILES_PER_SECTION = 428 / 120.7
"""Work of a section's decoding in tiles of 5 latents, counted: what comes back is reused."""


@dataclass(frozen=True)
class PublishedEstimate:
    """The published model on this device, 480x832 px, 25 steps.

    Attributes:
        num_tokens: of such a section.
        measured_tokens: that the layers were run with; fewer where the device is slow or small.
        attention: the back end that was taken, as ``--attention auto`` takes it.
        attention_ms: milliseconds of one attention by back end, of those that were tried; empty
            where there is nothing to choose from.
        step_s: of a denoising step.
        decode_s: of a section's decoding.
        section_s: of a section.
        frame_s: per frame of the video.
    """

    num_tokens: int
    measured_tokens: int
    attention: AttentionName
    attention_ms: Mapping[AttentionName, float]
    step_s: float
    decode_s: float
    section_s: float
    frame_s: float

    @classmethod
    def of(
        cls,
        step_s: float,
        decode_s: float,
        *,
        num_tokens: int,
        measured_tokens: int,
        attention: AttentionName = "sdpa",
        attention_ms: Mapping[AttentionName, float] | None = None,
    ) -> "PublishedEstimate":
        """All figures from those of a step and of decoding."""
        section_s = STEPS * step_s + decode_s
        return cls(
            num_tokens=num_tokens,
            measured_tokens=measured_tokens,
            attention=attention,
            attention_ms=attention_ms or {},
            step_s=step_s,
            decode_s=decode_s,
            section_s=section_s,
            frame_s=section_s / SECTION_FRAMES,
        )


@dataclass(frozen=True)
class Trial:
    """Seconds that were measured, at some number of tokens.

    Attributes:
        three: a pass with one double-stream and two single-stream blocks.
        two: with one of each.
        one: with one single-stream block.
        attention: attention alone.
        num_tokens: of each of these.
    """

    three: float
    two: float
    one: float
    attention: float
    num_tokens: int

    def step_s(self, num_tokens: int, attention_s: float) -> float:
        """A pass of all blocks.

        Linear layers cost in proportion to the tokens, attention to their square.

        Args:
            num_tokens: of a section.
            attention_s: attention alone of so many tokens.
        """
        # Differences leave out what is done once; the last block does less than the others.
        single, double = self.three - self.two, self.two - self.one
        if min(single, double) <= 0:  # the machine was busy with other things
            single = double = self.three / 3
        if num_tokens == self.num_tokens:
            return self.three + (NUM_DOUBLE - 1) * double + (NUM_SINGLE - 2) * single
        blocks = NUM_DOUBLE * double + NUM_SINGLE * single
        num_blocks = NUM_DOUBLE + NUM_SINGLE
        linear = max(blocks - num_blocks * self.attention, 0.0)
        return linear * num_tokens / self.num_tokens + num_blocks * attention_s


def measured_size(device: torch.device, dtype: torch.dtype, free_bytes: int) -> tuple[int, int]:
    """Latent rows and columns to measure with; (0, 0) where not even the layers fit.

    Args:
        device: where.
        dtype: number format of the transformer.
        free_bytes: memory that may be used.
    """
    weights = _TRIAL_PARAMETERS * dtype.itemsize
    for size in _SMALLER[-1:] if device.type == "cpu" else (FULL, *_SMALLER):
        num_tokens = _num_tokens(size, is_full=size == FULL)
        working = section_working_bytes(num_tokens, WIDTH, dtype.itemsize)
        if weights + working + _MARGIN_BYTES <= free_bytes:
            return size
    return 0, 0


@torch.inference_mode()
def estimate_published(
    device: torch.device,
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    size: tuple[int, int],
    *,
    on_progress: Callable[[str], None] = lambda _: None,
) -> PublishedEstimate:
    """Run a few layers and reckon the whole.

    Args:
        device: where.
        dtype: number format of the transformer.
        vae_dtype: of the VAE.
        size: see :func:`measured_size`; not (0, 0).
        on_progress: told what is done next.
    """
    on_progress("layers of the 13B")
    name, times = choose_backend(device, dtype, _num_tokens(size, is_full=size == FULL))
    trial = _try_blocks(device, dtype, size, name)
    num_tokens = _num_tokens(FULL, is_full=True)
    if trial.num_tokens == num_tokens:
        attention_s = trial.attention
    else:
        timed = _attention_s(device, dtype, _ATTENTION_TOKENS, name)
        attention_s = timed * (num_tokens / _ATTENTION_TOKENS) ** 2
    on_progress("its decoder")
    return PublishedEstimate.of(
        trial.step_s(num_tokens, attention_s),
        _decode_s(device, vae_dtype, size),
        num_tokens=num_tokens,
        measured_tokens=trial.num_tokens,
        attention=name,
        attention_ms=times,
    )


def choose_backend(
    device: torch.device, dtype: torch.dtype, num_tokens: int
) -> tuple[AttentionName, dict[AttentionName, float]]:
    """The back end that ``--attention auto`` takes, tried now, and the milliseconds of each tried.

    Args:
        device: where.
        dtype: number format.
        num_tokens: of a section.
    """
    facts = find_facts(device, dtype, HEAD_DIM)
    shape = AttentionShape(num_tokens, HEADS, HEAD_DIM)
    times: dict[AttentionName, float] = {}

    def probe(names: Sequence[AttentionName]) -> Mapping[AttentionName, float]:
        with tempfile.TemporaryDirectory() as folder:  # what was remembered is not measured
            memory = ProbeMemory(Path(folder) / "attention.json")
            times.update(probe_attention(names, device, dtype, shape, memory=memory))
        return times

    return choose_attention("auto", facts, probe).name, times


def least_s(device: torch.device, run: Callable[[], Any], rounds: int) -> float:
    """Least seconds of a call, done on the device."""
    least = float("inf")
    for _ in range(rounds):
        _wait(device)
        begun = time.perf_counter()
        run()
        _wait(device)
        least = min(least, time.perf_counter() - begun)
    return least


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _num_tokens(size: tuple[int, int], *, is_full: bool) -> int:
    """N of a section; where less than the whole is measured, the picture's tokens are left out."""
    packed = sum(RELEASED.tokens(*size, SECTION_LATENTS).values())
    return packed + TEXT_TOKENS + (PICTURE_TOKENS if is_full else 0)


def _try_blocks(
    device: torch.device, dtype: torch.dtype, size: tuple[int, int], attention: AttentionName
) -> Trial:
    network = _random_transformer(device, dtype)
    use_backend(network, attention)
    num_tokens = _num_tokens(size, is_full=size == FULL)
    arguments = _arguments(device, dtype, size)
    singles, doubles = network.single_transformer_blocks, network.transformer_blocks
    least = {}
    for name, blocks in (
        ("three", (doubles, singles)),
        ("two", (doubles, singles[:1])),
        ("one", (doubles[:0], singles[:1])),
    ):
        network.transformer_blocks, network.single_transformer_blocks = blocks
        reuse = Reuse()
        network(**arguments, reuse=reuse)  # what later steps and sections find done
        least[name] = least_s(device, lambda kept=reuse: network(**arguments, reuse=kept), 3)  # type: ignore[misc]
    alone = _attention_s(device, dtype, num_tokens, attention)
    return Trial(**least, attention=alone, num_tokens=num_tokens)


def _random_transformer(device: torch.device, dtype: torch.dtype) -> Any:
    """One double-stream and two single-stream blocks of the published width."""
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network: Any = FramePackTransformer3DModel(
                num_layers=1, num_single_layers=2, has_image_proj=True, has_clean_x_embedder=True
            )
        nn.Module.to(network, dtype)
        network.to_empty(device=device).eval().requires_grad_(False)
        _fill(network, device)
        network.pack_projections()
    return network


def _fill(network: nn.Module, device: torch.device) -> None:
    """Random weights from one short row of numbers: drawing billions would take a CPU a minute."""
    row = 0.02 * torch.randn(2**20, generator=torch.Generator().manual_seed(0))
    row = row.to(device)
    for name, parameter in network.named_parameters():
        flat = parameter.data.view(-1)
        for part in flat.split(len(row)):
            part.copy_(row[: len(part)])
        if parameter.ndim == 1 and "norm" in name and name.endswith("weight"):
            parameter.add_(1)


def _arguments(device: torch.device, dtype: torch.dtype, size: tuple[int, int]) -> dict[str, Any]:
    """Random arguments of a pass in the middle of a video."""
    generator = torch.Generator().manual_seed(1)
    places = inverted_indices(1, SECTION_LATENTS)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    arguments: dict[str, Any] = {
        "timestep": torch.tensor([700.0]).to(device, dtype),
        "guidance": torch.tensor([10_000.0]).to(device, dtype),
        "encoder_hidden_states": normal(1, TEXT_TOKENS, 4096),
        "encoder_attention_mask": None,
        "pooled_projections": normal(1, 768),
        "image_embeds": normal(1, PICTURE_TOKENS, 1152) if size == FULL else None,
        "return_dict": False,
    }
    tiers = {
        "latents": ("hidden_states", places.noisy),
        "latents_clean": ("latents_clean", places.clean),
        "latents_history_2x": ("latents_history_2x", places.history_2x),
        "latents_history_4x": ("latents_history_4x", places.history_4x),
    }
    for name, (argument, frames) in tiers.items():
        arguments[argument] = normal(1, 16, len(frames), *size)
        arguments[f"indices_{name}"] = torch.tensor(frames)
    return arguments


def _attention_s(
    device: torch.device, dtype: torch.dtype, num_tokens: int, name: AttentionName
) -> float:
    """Attention alone, by the back end that the layers take."""
    processor = JointAttnProcessor()
    processor._attention_backend = dispatch_name(name)
    processor.uses_onednn = name == "onednn"
    query, key, value = (
        torch.randn(1, num_tokens, HEADS, HEAD_DIM, device=device, dtype=dtype) for _ in range(3)
    )
    return least_s(device, lambda: processor.attend(query, key, value, None), 2)


def _decode_s(device: torch.device, dtype: torch.dtype, size: tuple[int, int]) -> float:
    """A section's decoding, from one tile whose cost goes by its area."""
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            vae: Any = AutoencoderKLHunyuanVideo()
        vae.encoder, vae.quant_conv = None, None
        nn.Module.to(vae, dtype)
        vae.to_empty(device=device).eval().requires_grad_(False)
        _fill(vae, device)
        use_direct_convolutions(vae)
    # Whole frames take 8 GB and more; no tile of the program is smaller than 256 px by need.
    rows, columns = (32, 32) if size == FULL else (8, 8)
    latents = torch.randn(1, 16, _TILE_LATENTS, rows, columns).to(device, dtype)
    rounds = 2 if device.type != "cpu" else 1
    spent = least_s(device, lambda: StreamingDecoder(vae).decode(latents), rounds)
    return spent * FULL[0] * FULL[1] / (rows * columns) * _TILES_PER_SECTION
