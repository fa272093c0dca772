"""Claims about the training loop: schedules end low, stopped runs go on exactly."""

from pathlib import Path

import pytest
import torch
from torch import nn

from framepack.training.loop import Schedule, TrainingRun
from framepack.training.optim import build_optimizers, orthogonalise

STEPS = 8


def _run(directory: Path) -> tuple[TrainingRun, nn.Module]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizers = build_optimizers(
        [model], muon_lr=1e-2, adam_lr=1e-2, is_matrix=lambda name: name.startswith("0.weight")
    )
    schedule = Schedule(STEPS, warmup_steps=2)
    return TrainingRun(directory, {"model": model}, optimizers, schedule, ema_decay=0.9), model


def _train(directory: Path, stop_at: int) -> nn.Module:
    run, model = _run(directory)

    def train_step(step: int) -> dict[str, float]:
        inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        loss = model(inputs).square().mean()
        run.update(loss)
        if step + 1 == stop_at:
            run.schedule = Schedule(step + 1)
        return {"loss": float(loss.detach())}

    run.run(train_step, log_every=1)
    return model


def test_a_stopped_training_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", STEPS)
    _train(tmp_path / "parts", 3)
    parts = _train(tmp_path / "parts", STEPS)
    for expected, actual in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(expected, actual)


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(100, warmup_steps=10, flat_until=0.5, floor=0.02)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[30] == 1.0
    assert factors[99] == pytest.approx(0.02)
    assert factors[50:] == sorted(factors[50:], reverse=True)


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    run, model = _run(tmp_path)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    run.update(model(torch.full((1, 4), torch.nan)).sum())
    assert run.skipped == 1
    for expected, actual in zip(before, model.parameters(), strict=True):
        assert torch.equal(expected, actual)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_orthogonalised_updates_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    update = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalise(update))
    assert float(singular.min()) > 0.5
    assert float(singular.max()) < 1.4
