"""A small network and LoRA files for it."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from tests.helpers.loras import Save, Tensors
from tests.helpers.networks import build

from framepack.models.transformer import FramePackTransformer3DModel


@pytest.fixture
def model() -> FramePackTransformer3DModel:
    return build()


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write tensors as a LoRA file."""

    def write(tensors: Tensors, name: str = "it.safetensors", **metadata: str) -> Path:
        path = tmp_path / name
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, path, metadata or None
        )
        return path

    return write
