"""The recipe of the shipped IFNet: procedural clips, training, export.

The training resumes from its checkpoint; a finished one is passed over.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from framepack.domain.errors import InvalidRequest
from framepack.models.ifnet import IFNetConfig
from framepack.training.rife.measure import compare_methods
from framepack.training.rife.trainer import APART, CONFIG, TOGETHER, RifeTrainer
from framepack.training.tiny.data import PictureBank
from framepack.training.tiny.recipe import training_device

__all__ = ["NUM_STEPS", "WEIGHTS_NAME", "export", "train"]

logger = logging.getLogger(__name__)

NUM_STEPS = 16000
NUM_PICTURES = 600
WEIGHTS_NAME = "model.safetensors"
_HELD_OUT = 1000  # added to the seed where pictures must not have been seen


def train(
    run_dir: Path,
    *,
    device: str = "auto",
    steps: int | None = None,
    num_pictures: int = NUM_PICTURES,
    seed: int = 0,
    minutes: float | None = None,
    num_measured: int = 4,
    output: Path | None = None,
    on_log: Callable[[str, Mapping[str, float]], None] | None = None,
) -> bool:
    """Train the small IFNet, or go on with a training that was stopped.

    Args:
        run_dir: checkpoint and log; the same directory resumes.
        device: ``auto``, ``cpu``, ``cuda``, ...
        steps: optimiser steps; the learning rate follows them.
        num_pictures: pictures of the procedural world, 110 kB of memory each.
        seed: everything random follows from it.
        minutes: stop, resumably, after so long; None to finish.
        num_measured: clips of every motion and speed that the result is measured on; 0 for none.
        output: folder for weights, config and figures; ``run_dir/model`` if None.
        on_log: called with the stage's name and its figures while it trains.

    Returns:
        True when the training is complete; only then the weights are written.

    Raises:
        InvalidRequest: settings that differ from those ``run_dir`` began with.
    """
    num_steps = steps or NUM_STEPS
    run_dir.mkdir(parents=True, exist_ok=True)
    settings = {"seed": seed, "num_pictures": num_pictures, "steps": num_steps}
    _remember_settings(run_dir, settings)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    bank = PictureBank(seed, num_pictures)
    start: Mapping[str, Tensor] | None = None
    for stage in (TOGETHER, APART):
        trainer = RifeTrainer(
            run_dir / stage.name,
            num_steps=max(1, round(stage.share * num_steps)),
            bank=bank,
            stage=stage,
            start=start,
            seed=seed,
            device=training_device(device),
        )

        def log(row: Mapping[str, float], name: str = stage.name) -> None:
            if on_log is not None:
                on_log(name, row)

        left = None if deadline is None else max(0.0, deadline - time.monotonic()) / 60
        if not trainer.run.run(trainer.train_step, minutes=left, on_log=log):
            return False
        start = trainer.run.ema.values["ifnet"]
    folder = output or run_dir / "model"
    export(run_dir, folder)
    if num_measured:
        figures = compare_methods(
            weights=folder / WEIGHTS_NAME, seed=seed + _HELD_OUT, num_pictures=num_measured
        )
        _write_json(folder / "figures.json", figures)
    return True


def export(run_dir: Path, folder: Path, config: IFNetConfig = CONFIG) -> None:
    """Write the averaged weights of a training in fp16, and what network they are of.

    Raises:
        InvalidRequest: nothing was trained in ``run_dir``.
    """
    path = run_dir / APART.name / "checkpoint.pt"
    if not path.exists():
        raise InvalidRequest(f"{path} is missing; train first, with `framepack train rife`")
    average = torch.load(path, map_location="cpu", weights_only=True)["ema"]["ifnet"]
    weights = {key: value.to(torch.float16).contiguous() for key, value in average.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS_NAME)
    _write_json(folder / "config.json", asdict(config))
    size_mb = (folder / WEIGHTS_NAME).stat().st_size / 1e6
    logger.info("exported %s, %.1f MB", folder, size_mb)


def _remember_settings(run_dir: Path, settings: Mapping[str, int]) -> None:
    """Refuse to mix trainings: batches and learning rate follow from the settings."""
    path = run_dir / "plan.json"
    if not path.exists():
        _write_json(path, settings)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    for key, value in settings.items():
        if begun.get(key) != value:
            raise InvalidRequest(
                f"{run_dir} was begun with {key} {begun.get(key)}, now it is {value}; give the "
                "same settings or another directory"
            )


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
