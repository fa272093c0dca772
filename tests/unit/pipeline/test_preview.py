"""The preview follows the work, and never stops it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from framepack.domain.errors import WorkspaceError
from framepack.pipeline import preview
from framepack.pipeline.preview import PreviewWriter
from framepack.sampling.solvers import StepState


class _Colours:
    def strip(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        return np.full((4, 12, 3), int(latents.mean()), np.uint8)


def _state(value: float) -> StepState:
    latents = torch.full((1, 4, 3, 4, 4), float(value))
    return StepState(step=1, num_steps=4, x0=latents)


def test_the_newest_state_is_shown_at_most_twice_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(preview.time, "monotonic", lambda: now[0])
    path = tmp_path / "preview.webp"
    writer = PreviewWriter(path, _Colours())  # type: ignore[arg-type]
    assert writer.show(_state(40)) == str(path)
    now[0] += 0.4
    assert writer.show(_state(80)) is None
    now[0] += 0.2
    assert writer.show(_state(120)) == str(path)
    assert abs(int(np.asarray(Image.open(path)).mean()) - 120) <= 2


def test_a_preview_that_cannot_be_written_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> None:
        raise WorkspaceError(f"{path} is in use")

    monkeypatch.setattr(preview, "atomic_file", refuse)
    writer = PreviewWriter(tmp_path / "preview.webp", _Colours())  # type: ignore[arg-type]
    assert writer.show(_state(40)) is None
    assert "no preview: " in caplog.text


def test_a_model_without_colours_has_no_preview(tmp_path: Path) -> None:
    assert PreviewWriter(tmp_path / "preview.webp", None).show(_state(40)) is None
