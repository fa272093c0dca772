"""Streamed networks compute what they compute otherwise, to the bit, in bounded memory."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.networks import build, predict, section_inputs
from torch import Tensor, nn

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import forward_indices
from framepack.memory.placement import NUM_BUFFERS, held_bytes
from framepack.memory.streaming import Streamer, block_of
from framepack.models import fused
from framepack.models.reuse import Reuse
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.checkpoint import load_transformer

CPU = torch.device("cpu")
BLOCKS = [f"{kind}transformer_blocks.{n}" for kind in ("", "single_") for n in (0, 1)]
Units = Literal["block", "layer"]


@pytest.fixture
def model() -> FramePackTransformer3DModel:
    """As it is when it is not streamed: with packed projections, so that its blocks run fused."""
    model = build().requires_grad_(False)
    model.pack_projections()
    return model


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    return section_inputs(forward_indices(3))


@pytest.mark.parametrize("most_rows", [6400, 20])
@pytest.mark.parametrize(
    ("by", "resident"), [("block", ()), ("block", (0, 3)), ("block", (1,)), ("layer", ())]
)
def test_a_streamed_network_gives_the_same_bits(
    model: FramePackTransformer3DModel,
    inputs: dict[str, Tensor],
    by: Units,
    resident: tuple[int, ...],
    most_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "_MOST_ROWS", most_rows)
    plain = predict(model, inputs)
    streamer = Streamer(model, CPU, by=by)
    streamer.bring(resident)
    for _ in range(2):
        assert torch.equal(predict(model, inputs), plain)


@pytest.mark.parametrize("by", ["block", "layer"])
def test_keys_shapes_and_values_of_the_state_dict_stay(
    model: FramePackTransformer3DModel, inputs: dict[str, Tensor], by: Units
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    streamer = Streamer(model, CPU, by=by)
    streamer.bring()
    predict(model, inputs)
    for after in (
        model.state_dict(),
        _after(streamer.release, model),
        _after(streamer.close, model),
    ):
        assert list(after) == list(before)
        assert all(torch.equal(after[name], value) for name, value in before.items())


def test_closing_leaves_the_network_as_it_was(
    model: FramePackTransformer3DModel, inputs: dict[str, Tensor]
) -> None:
    plain = predict(model, inputs)
    streamer = Streamer(model, CPU)
    streamer.bring((0,))
    streamer.close()
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert torch.equal(predict(model, inputs), plain)


def test_a_forward_of_somebody_else_is_put_back(model: FramePackTransformer3DModel) -> None:
    block = model.transformer_blocks[0]
    other = block.forward
    block.forward = other
    Streamer(model, CPU).close()
    assert block.__dict__["forward"] is other


def test_the_device_holds_the_rest_the_residents_and_two_buffers(
    model: FramePackTransformer3DModel, inputs: dict[str, Tensor]
) -> None:
    streamer = Streamer(model, CPU)
    size = streamer.size("transformer")
    assert streamer.device_bytes == 0
    streamer.bring((0,))
    predict(model, inputs)
    largest = max(size.block_bytes[1:])
    assert 0 < size.tabled_layer_bytes <= largest
    expected = size.rest_bytes + size.block_bytes[0] + NUM_BUFFERS * largest
    assert streamer.device_bytes == expected
    streamer.release()
    assert streamer.device_bytes == 0


def test_each_block_is_copied_once_in_a_pass_and_the_next_one_before_it_is_needed(
    model: FramePackTransformer3DModel,
    inputs: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streamer = Streamer(model, CPU)
    streamer.bring()
    copied, ran = _watched(streamer, monkeypatch)
    reuse = Reuse()
    for _ in range(3):  # the second learns that the refiner of the text does not run again
        copied.clear()
        ran.clear()
        predict(model, {**inputs, "reuse": reuse})
    blocks = [streamer._names.index(name) for name in BLOCKS]
    assert [index for index, _ in ran] == blocks
    assert sorted(copied) == sorted(blocks)
    assert all(index in before for index, before in ran[1:])


def test_what_is_tabled_is_brought_once_for_all_steps_and_never_with_its_block(
    model: FramePackTransformer3DModel,
    inputs: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = [torch.tensor([level]) for level in (900.0, 500.0, 100.0)]
    plain = [predict(model, {**inputs, "timestep": level}) for level in levels]
    streamer = Streamer(model, CPU)
    streamer.bring(range(len(streamer._names)))
    copied, _ = _watched(streamer, monkeypatch)
    stores: list[dict[Any, Any]] = [{} for _ in levels]
    given = ("encoder_hidden_states", "encoder_attention_mask", "pooled_projections", "guidance")
    with torch.inference_mode():
        model.prepare_steps(levels, stores, **{name: inputs[name] for name in given})
    tabled = range(len(streamer._names), len(streamer._units))
    assert copied == list(tabled)
    for level, store, expected in zip(levels, stores, plain, strict=True):
        passed = {**inputs, "timestep": level, "reuse": Reuse(step=store)}
        assert torch.equal(predict(model, passed), expected)
    assert copied == list(tabled)


def test_streamed_blocks_run_fused(
    model: FramePackTransformer3DModel,
    inputs: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a block ran by itself")

    expected = predict(model, inputs)
    for block in (*model.transformer_blocks, *model.single_transformer_blocks):
        monkeypatch.setattr(type(block), "forward", refuse)
    for by in ("block", "layer"):
        streamer = Streamer(model, CPU, by=by)  # type: ignore[arg-type]
        streamer.bring()
        assert torch.equal(predict(model, inputs), expected)
        streamer.close()


@pytest.mark.parametrize("by", ["block", "layer"])
def test_blocks_that_run_by_themselves_give_the_same_bits_too(
    model: FramePackTransformer3DModel, by: Units
) -> None:
    two = section_inputs(forward_indices(3), prompt_lengths=(23, 10))
    plain = predict(model, two)
    Streamer(model, CPU, by=by).bring()
    for _ in range(2):
        assert torch.equal(predict(model, two), plain)


def test_other_blocks_stay_from_one_run_to_the_next(
    model: FramePackTransformer3DModel, inputs: dict[str, Tensor]
) -> None:
    plain = predict(model, inputs)
    streamer = Streamer(model, CPU)
    streamer.bring()
    size = streamer.size("transformer")
    every = tuple(range(len(streamer._names)))
    for resident in ((0, 1), every, (), (1, 3), every[:-1], (1, 3)):
        streamer.keep(resident)
        assert streamer.resident == set(resident)
        assert streamer.device_bytes == held_bytes(size, resident)
        assert torch.equal(predict(model, inputs), plain)
    streamer.release()
    assert streamer.device_bytes == 0


def test_blocks_may_run_in_any_order_and_in_part(model: FramePackTransformer3DModel) -> None:
    """As with a step cache, which ends a pass after the first block."""
    tokens, text, temb = torch.randn(1, 6, 64), torch.randn(1, 4, 64), torch.randn(1, 64)
    blocks: list[Any] = [*model.transformer_blocks, *model.single_transformer_blocks]
    order = [0, 0, 2, 1, 3, 0, 1, 0, 3, 3]
    with torch.inference_mode():
        plain = [blocks[index](tokens, text, temb) for index in order]
        Streamer(model, CPU).bring((2,))
        streamed = [blocks[index](tokens, text, temb) for index in order]
    for (a, b), (c, d) in zip(plain, streamed, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_a_part_of_a_block_can_be_called_by_itself(model: FramePackTransformer3DModel) -> None:
    """Step caches look at the first block's modulation before it runs."""
    block: Any = model.transformer_blocks[0]
    temb = torch.randn(1, 64)
    with torch.inference_mode():
        plain = block.norm1(temb)
        streamer = Streamer(model, CPU)
        streamer.bring()
        resting = block.norm1.linear.weight
        assert all(map(torch.equal, block.norm1(temb), plain))
    assert block.norm1.linear.weight is resting


def test_weights_changed_at_rest_are_what_runs_next(
    model: FramePackTransformer3DModel, inputs: dict[str, Tensor]
) -> None:
    """LoRAs are weighed anew between release and bring."""
    streamer = Streamer(model, CPU)
    streamer.bring((1,))
    predict(model, inputs)
    streamer.release()
    with torch.inference_mode():
        for block in model.transformer_blocks:
            block.attn.to_q.weight.mul_(1.5)  # type: ignore[operator, union-attr]
    streamer.bring((1,))
    streamed = predict(model, inputs)
    other = build().requires_grad_(False)
    other.pack_projections()
    with torch.inference_mode():
        for block in other.transformer_blocks:
            block.attn.to_q.weight.mul_(1.5)  # type: ignore[operator, union-attr]
    assert torch.equal(streamed, predict(other, inputs))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_blocks_read_from_disk_give_the_same_bits_and_stay_in_their_file(
    model: FramePackTransformer3DModel,
    inputs: dict[str, Tensor],
    tmp_path: Path,
    stored: torch.dtype,
) -> None:
    tensors = {name: value.to(stored).contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    model.save_config(tmp_path)
    whole = load_transformer(tmp_path, dtype=torch.float32)
    # In a file weights begin anywhere, and matrix products round by where they begin.
    whole.load_state_dict({k: v.clone() for k, v in whole.state_dict().items()}, assign=True)
    whole.pack_projections()
    mapped = load_transformer(tmp_path, dtype=None)
    streamer = Streamer(mapped, CPU, from_disk=True, dtype=torch.float32)
    streamer.bring()
    assert torch.equal(predict(mapped, inputs), predict(whole, inputs))
    for block in (*mapped.transformer_blocks, *mapped.single_transformer_blocks):
        for parameter in block.parameters():
            assert parameter.dtype == stored
            assert _is_mapped(parameter)


def test_adapters_that_are_not_merged_are_refused(model: FramePackTransformer3DModel) -> None:
    from peft import LoraConfig

    model.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(InvalidRequest, match="merge it"):
        Streamer(model, CPU)


def test_tensors_know_their_block() -> None:
    assert block_of("single_transformer_blocks.12.attn.to_out.0.weight") == (
        "single_transformer_blocks.12"
    )
    assert block_of("model.layers.3.mlp.up_proj.weight") == "model.layers.3"
    assert block_of("x_embedder.proj.weight") is None


def _is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor's bytes are those of a file."""
    regions = Path("/proc/self/maps")
    if not regions.is_file():
        pytest.skip("only Linux tells what is mapped")
    for line in regions.read_text().splitlines():
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        if first <= tensor.data_ptr() < last:
            return line.endswith(".safetensors")
    return False


def _after(action: Any, model: nn.Module) -> dict[str, Tensor]:
    action()
    return dict(model.state_dict())


def _watched(
    streamer: Streamer, patch: pytest.MonkeyPatch
) -> tuple[list[int], list[tuple[int, tuple[int, ...]]]]:
    """Units as they are copied; units as they run, with all that were copied before."""
    copied: list[int] = []
    ran: list[tuple[int, tuple[int, ...]]] = []
    for index, unit in enumerate(streamer._units):
        _spy(patch, unit, "copy_to", lambda i=index: copied.append(i))
    using = streamer._using

    def noted(index: int) -> Any:
        ran.append((index, tuple(copied)))
        return using(index)

    patch.setattr(streamer, "_using", noted)
    return copied, ran


def _spy(patch: pytest.MonkeyPatch, target: Any, name: str, note: Any) -> None:
    plain = getattr(target, name)

    def noted(*args: Any) -> Any:
        note()
        return plain(*args)

    patch.setattr(target, name, noted)
