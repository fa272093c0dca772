"""A text encoder that stays in its files computes what one in memory does."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaModel

from framepack.domain.errors import CheckpointError
from framepack.memory.streaming import Streamer
from framepack.weights.checkpoint import load_encoder
from framepack.weights.mapped_encoder import map_llama

CPU = torch.device("cpu")
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    place = tmp_path / "text_encoder"
    LlamaModel(config).half().save_pretrained(place)
    return place


def hidden(model: LlamaModel) -> torch.Tensor:
    with torch.inference_mode():
        output = model(input_ids=IDS, output_hidden_states=True, use_cache=False)
    return torch.cat(output.hidden_states)


@pytest.mark.parametrize("by", ["block", "layer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streamed_from_its_file_it_gives_the_same_bits(
    folder: Path, dtype: torch.dtype, by: str
) -> None:
    """The frequencies of its positions stay in fp32, whatever its weights become."""
    whole = load_encoder(LlamaModel, folder, dtype=dtype)
    mapped = map_llama(folder)
    streamer = Streamer(mapped, CPU, by=by, from_disk=True, dtype=dtype)  # type: ignore[arg-type]
    streamer.bring()
    assert torch.equal(hidden(mapped), hidden(whole))
    streamer.release()
    assert all(parameter.dtype == torch.float16 for parameter in mapped.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streamed_from_memory_it_gives_the_same_bits(folder: Path, dtype: torch.dtype) -> None:
    whole, streamed = (load_encoder(LlamaModel, folder, dtype=dtype) for _ in range(2))
    Streamer(streamed, CPU, dtype=dtype).bring()
    assert torch.equal(hidden(streamed), hidden(whole))


def test_a_language_model_head_is_left_out(folder: Path) -> None:
    (file,) = folder.glob("*.safetensors")
    whole = hidden(map_llama(folder).float())
    tensors = {f"model.{name}": tensor for name, tensor in load_file(file).items()}
    save_file({**tensors, "lm_head.weight": torch.zeros(32, 32)}, file, {"format": "pt"})
    assert torch.equal(hidden(map_llama(folder).float()), whole)


def test_tensors_that_do_not_fit_are_named(folder: Path) -> None:
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    del tensors["layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        map_llama(folder)
