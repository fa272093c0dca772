"""Train the embedded transformer with its text and image encoders, both variants at once."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from framepack.training.attention import use_matmul_attention
from framepack.training.loop import Schedule, TrainingRun
from framepack.training.optim import build_optimizers
from framepack.training.tiny.components import (
    TextTokenizers,
    build_image_encoder,
    build_text_encoder,
    build_text_encoder_2,
    build_transformer,
)
from framepack.training.tiny.curriculum import lesson_at
from framepack.training.tiny.data import PictureBank, seeded
from framepack.training.tiny.latent_space import LatentSpace
from framepack.training.tiny.meaning import MeaningReader
from framepack.training.tiny.samples import Batch, SampleMaker

TRAINING_SHIFT = 2.5
MUON_LR = 3.5e-3
READING_WEIGHT = 0.1


def shifted_sigmas(uniform: Tensor, shift: float = TRAINING_SHIFT) -> Tensor:
    """Noise levels for uniform draws in 0..1, pushed toward noise as sampling does."""
    return shift * uniform / (1 + (shift - 1) * uniform)


def context_arguments(batch: Batch) -> dict[str, Tensor]:
    """The transformer's packed context and the places of everything, as arguments."""
    indices = batch.layout.indices
    return {
        "latents_clean": torch.cat([batch.start, batch.history_1x], dim=2),
        "latents_history_2x": batch.history_2x,
        "latents_history_4x": batch.history_4x,
        "indices_latents": torch.tensor(indices.noisy),
        "indices_latents_clean": torch.tensor(indices.clean),
        "indices_latents_history_2x": torch.tensor(indices.history_2x),
        "indices_latents_history_4x": torch.tensor(indices.history_4x),
    }


class Conditioner(nn.Module):
    """The text and image encoders, called as the pipeline calls them, with gradients."""

    def __init__(self, tokenizers: TextTokenizers) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizers.llama)
        self.text_encoder_2 = build_text_encoder_2(tokenizers.clip)
        self.image_encoder = build_image_encoder()
        self._tokenizers = tokenizers

    def forward(
        self, captions: list[str], vision: Tensor, vision_end: Tensor | None
    ) -> dict[str, Tensor]:
        """Encode captions and pictures [B, 3, 64, 64] into the transformer's arguments."""
        device = vision.device
        tokens = _tokenize(self._tokenizers.llama, captions, device)
        hidden = self.text_encoder(**tokens, output_hidden_states=True).hidden_states[-3]
        clip_tokens = _tokenize(self._tokenizers.clip, captions, device)
        pooled = self.text_encoder_2(**clip_tokens).pooler_output
        image = self.image_encoder(vision).last_hidden_state
        if vision_end is not None:
            image = (image + self.image_encoder(vision_end).last_hidden_state) / 2
        return {
            "encoder_hidden_states": hidden,
            "encoder_attention_mask": tokens["attention_mask"].bool(),
            "pooled_projections": pooled,
            "image_embeds": image,
        }


def _tokenize(
    tokenizer: PreTrainedTokenizerFast, captions: list[str], device: torch.device
) -> dict[str, Tensor]:
    tokens: Any = tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
    return {
        "input_ids": tokens["input_ids"].to(device),
        "attention_mask": tokens["attention_mask"].to(device),
    }


class TransformerTrainer:
    """Flow matching on the embedded model's latents: predict noise minus clean latents.

    One transformer learns both variants; the frame indices tell them apart. The distilled
    guidance input is drawn at random and carries nothing, so any value is harmless; captions
    are dropped from a tenth of the examples, so classifier-free guidance works.
    """

    def __init__(
        self,
        directory: Path,
        *,
        num_steps: int,
        bank: PictureBank,
        space: LatentSpace,
        tokenizers: TextTokenizers,
        batch_size: int = 5,
        seed: int = 0,
        device: str = "cpu",
        compile_blocks: bool = True,
    ) -> None:
        torch.manual_seed(seed)
        self.device = torch.device(device)
        self.transformer = build_transformer().train()
        nn.Module.to(self.transformer, device)
        if device == "cpu":
            use_matmul_attention(self.transformer)
        self.conditioner = Conditioner(tokenizers).to(device).train()
        self.reader = MeaningReader().to(device)
        self.channel_weights = space.channel_weights.to(device)
        self.samples = SampleMaker(bank, space, self.device)
        self.seed, self.num_steps, self.batch_size = seed, num_steps, batch_size
        optimizers = build_optimizers(
            [self.transformer, self.conditioner, self.reader],
            muon_lr=MUON_LR,
            adam_lr=1e-3,
            is_matrix=lambda name: "blocks." in name and "norm" not in name,
        )
        schedule = Schedule(num_steps, warmup_steps=100, flat_until=0.5, shape="linear")
        self.run = TrainingRun(
            directory,
            {
                "transformer": self.transformer,
                "conditioner": self.conditioner,
                "reader": self.reader,
            },
            optimizers,
            schedule,
            ema_decay=0.998,
        )
        if compile_blocks:
            compile_blocks_of: Any = self.transformer.compile_repeated_blocks
            compile_blocks_of(dynamic=True)

    def train_step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns the loss and its share by noise level."""
        lesson = lesson_at(step / self.num_steps)
        batch = self.samples.batch(self.seed, step, size=self.batch_size, lesson=lesson)
        rng = seeded(self.seed, "noise", step)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        conditions = self._conditions(batch, batch.captions)
        losses, sigmas = self.losses(batch, conditions, generator, guidance=lesson.guidance)
        unread, read = self.reader(conditions, batch.meanings)
        norm = self.run.update(losses.mean() + READING_WEIGHT * unread)
        return {
            "loss": float(losses.detach().mean()),
            "grad_norm": norm,
            "captions_read": read,
        } | _by_level(losses.detach(), sigmas)

    def _conditions(self, batch: Batch, captions: list[str]) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16):
            encoded: dict[str, Tensor] = self.conditioner(captions, batch.vision, batch.vision_end)
        return encoded

    def losses(
        self,
        batch: Batch,
        conditions: dict[str, Tensor],
        generator: torch.Generator,
        *,
        guidance: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Squared velocity error [B] at random noise levels [B].

        Args:
            batch: what to predict.
            conditions: of its captions and pictures.
            generator: draws noise and noise levels.
            guidance: see ``Lesson``; source: model guidance, arXiv 2502.12154.
        """
        family = batch.family
        size = len(batch.captions) // family
        uniform = torch.rand(size, generator=generator, device=self.device)
        # Stratified: one draw in each of B equal parts of the range.
        order = torch.arange(size, device=self.device, dtype=torch.float32)
        sigmas = shifted_sigmas((order + uniform) / size).repeat_interleave(family)
        shape = (size, *batch.latents.shape[1:])
        noise = torch.randn(shape, generator=generator, device=self.device)
        noise = noise.repeat_interleave(family, dim=0)
        level = sigmas.view(-1, 1, 1, 1, 1)
        arguments = {
            "hidden_states": (1 - level) * batch.latents + level * noise,
            "timestep": sigmas * 1000,
            "guidance": torch.rand(len(sigmas), generator=generator, device=self.device) * 19000
            + 1000,
            **context_arguments(batch),
        }
        velocity = self._velocity(arguments, conditions)
        target = noise - batch.latents
        if guidance:
            with torch.no_grad():
                plain = self._velocity(
                    arguments, self._conditions(batch, [""] * len(batch.captions))
                )
                sprites = torch.tensor(
                    ["shape" in meaning for meaning in batch.meanings], device=self.device
                )
                target = target + guidance * sprites.view_as(level) * (velocity.detach() - plain)
        # With equal weights, carrying the noise of fine channels
        # through the narrow token stream would crowd out everything else.
        weights = self.channel_weights.view(-1, 1, 1, 1)
        errors = F.mse_loss(velocity, target, reduction="none") * weights * batch.weights
        return errors.mean(dim=(1, 2, 3, 4)), sigmas

    def _velocity(self, arguments: dict[str, Tensor], conditions: dict[str, Tensor]) -> Tensor:
        """Noise minus clean latents as the transformer predicts it, fp32."""
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted: Tensor = self.transformer(**arguments, **conditions, return_dict=False)[0]
        return predicted.float()


def _by_level(losses: Tensor, sigmas: Tensor) -> dict[str, float]:
    order = sigmas.argsort()
    half = len(order) // 2
    return {
        "loss_low_noise": float(losses[order[:half]].mean()),
        "loss_high_noise": float(losses[order[half:]].mean()),
    }
