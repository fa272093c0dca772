"""The whole recipe of the embedded model: world, code, VAE, transformer, export.

Each stage resumes from its checkpoint; a finished stage is passed over. The VAE and the
transformer depend only on the latent code, so they may train side by side on two machines
or two cores (``stages``).
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from framepack.domain.errors import InvalidRequest
from framepack.training.tiny.captions import corpus
from framepack.training.tiny.components import LATENT_CHANNELS, TextTokenizers, build_tokenizers
from framepack.training.tiny.data import PictureBank
from framepack.training.tiny.export import export_model, size_in_mb
from framepack.training.tiny.following import measure_following, measure_sprites
from framepack.training.tiny.latent_space import LatentSpace, fit_latent_space
from framepack.training.tiny.samples import Layout
from framepack.training.tiny.sheets import reconstruction_sheet, sample_sheet
from framepack.training.tiny.train_transformer import TransformerTrainer
from framepack.training.tiny.train_vae import VaeTrainer

logger = logging.getLogger(__name__)

STAGES = ("vae", "transformer", "export")
VAE_STEPS = 16000
TRANSFORMER_STEPS = 8000
CPU_BATCH = 5
GPU_BATCH = 64
SHEET_EVERY = 500
WORTH_COMPILING = 300  # steps; compiling takes about as long as this many steps save

OnLog = Callable[[str, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrainingPlan:
    """How much to train, and on what.

    Attributes:
        vae_steps, transformer_steps: optimiser steps; the learning-rate schedules follow them.
        batch_size: full-size clips per transformer step; the VAE's batches grow alike.
        num_pictures: pictures of the procedural world.
        seed: everything random follows from it.
        device: a torch device.
        compile_blocks: compile the transformer's repeated blocks; pays after a few minutes.
    """

    vae_steps: int = VAE_STEPS
    transformer_steps: int = TRANSFORMER_STEPS
    batch_size: int = CPU_BATCH
    num_pictures: int = 3000
    seed: int = 0
    device: str = "cpu"
    compile_blocks: bool = True


def training_device(device: str) -> str:
    """Resolve ``auto`` to the accelerator, if there is one that torch can use."""
    if device != "auto":
        return device
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator is not None else "cpu"


def train(
    run_dir: Path,
    *,
    device: str = "auto",
    vae_steps: int | None = None,
    transformer_steps: int | None = None,
    batch_size: int | None = None,
    num_pictures: int = 3000,
    seed: int = 0,
    minutes: float | None = None,
    output: Path | None = None,
    stages: tuple[str, ...] = STAGES,
    on_log: OnLog | None = None,
) -> bool:
    """Train the embedded model, or go on with a training that was stopped.

    Args:
        run_dir: checkpoints, logs and sample sheets; the same directory resumes.
        device: ``auto``, ``cpu``, ``cuda``, ...
        vae_steps, transformer_steps, batch_size: None for the device's defaults.
        num_pictures: pictures of the procedural world, 110 kB of memory each.
        seed: everything random follows from it.
        minutes: stop (resumably) after so long in each stage; None to finish.
        output: folder for the exported model; ``run_dir/model`` if None.
        stages: any of ``vae``, ``transformer``, ``export``.
        on_log: called with the stage and its figures while it trains.

    Returns:
        True when every asked stage is complete.

    Raises:
        InvalidRequest: an unknown stage, or settings that differ from those ``run_dir`` began
            with.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise InvalidRequest(f"unknown stage {unknown[0]!r}; choose {', '.join(STAGES)}")
    resolved = training_device(device)
    plan = TrainingPlan(
        vae_steps=vae_steps or VAE_STEPS,
        transformer_steps=transformer_steps or TRANSFORMER_STEPS,
        batch_size=batch_size or (CPU_BATCH if resolved == "cpu" else GPU_BATCH),
        num_pictures=num_pictures,
        seed=seed,
        device=resolved,
        compile_blocks=(transformer_steps or TRANSFORMER_STEPS) >= WORTH_COMPILING
        and _can_compile(resolved),
    )
    return Recipe(run_dir, plan, on_log).run(stages, minutes=minutes, output=output)


class Recipe:
    """A training directory and its stages."""

    def __init__(self, run_dir: Path, plan: TrainingPlan, on_log: OnLog | None = None) -> None:
        self.run_dir, self.plan = run_dir, plan
        self._on_log = on_log or (lambda stage, row: None)
        run_dir.mkdir(parents=True, exist_ok=True)
        self._remember_plan()
        self.bank = PictureBank(plan.seed, plan.num_pictures)
        self.tokenizers: TextTokenizers = build_tokenizers(corpus())
        self.space = self._latent_space()

    def run(self, stages: tuple[str, ...], *, minutes: float | None, output: Path | None) -> bool:
        """Run stages in order; returns whether all of them are complete."""
        complete = True
        if "vae" in stages:
            complete &= self._train_vae(minutes)
        if "transformer" in stages:
            complete &= self._train_transformer(minutes)
        if "export" in stages and complete:
            self.export(output or self.run_dir / "model")
        return complete

    def export(self, folder: Path) -> None:
        """Write the averaged weights of both trainings as a model folder."""
        vae, transformer = (self.run_dir / name / "checkpoint.pt" for name in STAGES[:2])
        for path in (vae, transformer):
            if not path.exists():
                raise InvalidRequest(f"{path} is missing; train the {path.parent.name} stage first")
        averages: dict[str, dict[str, Tensor]] = {}
        for path in (vae, transformer):
            averages |= torch.load(path, map_location="cpu", weights_only=True)["ema"]
        weights = {name: averages[name] for name in ("vae", "transformer", "conditioner")}
        export_model(folder, space=self.space.to("cpu"), tokenizers=self.tokenizers, **weights)
        logger.info("exported %s, %.1f MB", folder, size_in_mb(folder))

    def vae_trainer(self) -> VaeTrainer:
        """The first stage, at the step it had reached."""
        plan = self.plan
        return VaeTrainer(
            self.run_dir / "vae",
            num_steps=plan.vae_steps,
            bank=self.bank,
            space=self.space,
            seed=plan.seed,
            device=plan.device,
            batch_factor=max(1, plan.batch_size // CPU_BATCH),
        )

    def transformer_trainer(self) -> TransformerTrainer:
        """The second stage, at the step it had reached."""
        plan = self.plan
        return TransformerTrainer(
            self.run_dir / "transformer",
            num_steps=plan.transformer_steps,
            bank=self.bank,
            space=self.space,
            tokenizers=self.tokenizers,
            batch_size=plan.batch_size,
            seed=plan.seed,
            device=plan.device,
            compile_blocks=plan.compile_blocks,
        )

    def _train_vae(self, minutes: float | None) -> bool:
        trainer = self.vae_trainer()

        def log(row: Mapping[str, float]) -> None:
            self._on_log("vae", row)
            if row["step"] % SHEET_EVERY == 0:
                path = self.run_dir / "sheets" / f"vae-{int(row['step']):06d}.png"
                with _evaluating(trainer.vae):
                    decibels = reconstruction_sheet(trainer.vae, self.bank, path)
                logger.info("%s: %.1f dB", path, decibels)

        return trainer.run.run(trainer.train_step, minutes=minutes, on_log=log)

    def _train_transformer(self, minutes: float | None) -> bool:
        trainer = self.transformer_trainer()

        def log(row: Mapping[str, float]) -> None:
            self._on_log("transformer", row)
            if row["step"] % SHEET_EVERY == 0:
                path = self.run_dir / "sheets" / f"transformer-{int(row['step']):06d}.png"
                with _evaluating(trainer.transformer, trainer.conditioner):
                    decibels = sample_sheet(
                        trainer.transformer,
                        trainer.conditioner,
                        trainer.samples,
                        self.space,
                        path,
                        seed=self.plan.seed + 1,
                    )
                    followed = self._followed(trainer)
                logger.info("%s: %.1f dB", path, decibels)
                self._on_log("transformer", {"step": row["step"], **followed})

        return trainer.run.run(trainer.train_step, minutes=minutes, on_log=log)

    def _followed(self, trainer: TransformerTrainer) -> dict[str, float]:
        """Share of camera and sprite words followed, small and at the default size."""
        models = trainer.transformer, trainer.conditioner, trainer.samples
        shares = {}
        for size in (64, 128):
            layout = Layout(False, 0, 0, size, size, with_end=False)
            camera = measure_following(*models, layout, seed=self.plan.seed + 1)
            sprites = measure_sprites(*models, layout, seed=self.plan.seed + 1)
            shares[f"followed at {size} px"] = camera.followed
            for word, found in sprites.items():
                shares[f"{word} at {size} px"] = found.followed
        return shares

    def _latent_space(self) -> LatentSpace:
        path = self.run_dir / "latent_space.safetensors"
        if not path.exists():
            # Stages may begin side by side: each writes its own file, the same numbers.
            mine = path.with_suffix(f".{os.getpid()}.tmp")
            fit_latent_space(self.bank, LATENT_CHANNELS, self.plan.seed).save(mine)
            mine.replace(path)
        return LatentSpace.load(path, self.plan.device)

    def _remember_plan(self) -> None:
        """Refuse to mix trainings: batches follow from these settings."""
        path = self.run_dir / "plan.json"
        mine = {
            "seed": self.plan.seed,
            "batch_size": self.plan.batch_size,
            "num_pictures": self.plan.num_pictures,
            "vae_steps": self.plan.vae_steps,
            "transformer_steps": self.plan.transformer_steps,
        }
        if not path.exists():
            path.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
            return
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if changed := [key for key, value in mine.items() if theirs.get(key) != value]:
            key = changed[0]
            raise InvalidRequest(
                f"{self.run_dir} was begun with {key} {theirs.get(key)}, now it is {mine[key]}; "
                "give the same settings or another directory"
            )


def _can_compile(device: str) -> bool:
    """Whether torch.compile has the compiler it needs; said aloud where it has not."""
    if device != "cpu" or any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        return True
    logger.warning("no C++ compiler found: training runs uncompiled, about a quarter slower")
    return False


@contextmanager
def _evaluating(*modules: torch.nn.Module) -> Iterator[None]:
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module in modules:
            module.train()
