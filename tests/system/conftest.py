"""What the tests of whole videos share: the embedded model, loaded once, and two pictures."""

from pathlib import Path

import pytest
from tests.helpers.runs import write_picture

import framepack
from framepack.models.spec import PRESETS
from framepack.pipeline.components import Components, load_components


@pytest.fixture(scope="session")
def components() -> Components:
    settings = framepack.Settings(device="cpu", dtype="float32")
    return load_components(PRESETS["tiny"], settings)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "start.png")


@pytest.fixture
def end_picture(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "end.png", seed=1)
