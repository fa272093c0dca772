"""LoRAs in a network: check that they fit, merge them into the weights, take them out again.

A LoRA adds ``weight * alpha / rank * up @ down`` to the weight of a Linear layer. Merged, it costs
nothing per step, and whatever runs the network (fused attention, offloading, compilation) sees
ordinary weights. The bytes that merging replaces are kept, so taking a LoRA out leaves no trace.
"""

# Shape letters:
#   r rank of a LoRA  out, in  width of a Linear layer's output and input

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from framepack.domain.errors import CheckpointError, InvalidRequest
from framepack.domain.settings import Settings
from framepack.models.spec import PRESETS, ModelSpec
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.locate import locate, read_json
from framepack.weights.lora_files import LoraDelta, LoraFile, linear_shapes, read_lora, some_names
from framepack.weights.lora_names import is_text_encoder_key
from framepack.weights.quantized_files import stored_method

__all__ = [
    "LoraDelta",
    "LoraFile",
    "MergedLoras",
    "apply_loras",
    "check_lora",
    "linear_shapes",
    "merged_delta",
    "model_shapes",
    "read_lora",
]

Shapes = Mapping[str, tuple[int, int]]
"""Linear layers by name: [out, in]."""

_MERGEABLE = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

_merged: WeakSet[nn.Module] = WeakSet()


def model_shapes(spec: ModelSpec, settings: Settings) -> Shapes:
    """[out, in] of each Linear layer of a model's transformer, without reading a weight.

    Args:
        spec: the model. The two published 13B models need not be on this machine.
        settings: where weights are looked for.

    Raises:
        MissingWeights: another model, whose transformer is not on this machine.
        CheckpointError: its config does not describe a FramePack transformer.
        InvalidRequest: it is stored quantised, so that nothing can be merged into it.
    """
    source = spec.sources["transformer"]
    published = [PRESETS[key].sources["transformer"] for key in ("i2v", "f1")]
    config: dict[str, Any] = {"has_image_proj": True, "has_clean_x_embedder": True}
    place = str(source)
    if source not in published:
        folder = locate(spec, "transformer", settings)
        if stored_method(folder) is not None:
            raise InvalidRequest(
                f"LoRAs are merged before quantising, and the transformer in {folder} is stored "
                "quantised; use the original weights and --quantize"
            )
        path = folder / "config.json"
        config = {key: value for key, value in read_json(path).items() if key[:1] != "_"}
        place = str(path)
    try:
        with torch.device("meta"):
            return linear_shapes(FramePackTransformer3DModel(**config))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{place} does not describe a FramePack transformer: {error}; use another model"
        ) from error


def check_lora(lora: LoraFile, network: nn.Module | Shapes) -> None:
    """Refuse a LoRA of which any part would be left out or does not fit.

    Args:
        lora: from :func:`read_lora`.
        network: the transformer, or the shapes of its Linear layers.

    Raises:
        InvalidRequest: names what does not fit, in one line.
    """
    shapes = linear_shapes(network) if isinstance(network, nn.Module) else network
    text = [key for key in lora.unknown if is_text_encoder_key(key)]
    other = [key for key in lora.unknown if not is_text_encoder_key(key)]
    absent = [name for name in lora.deltas if name not in shapes]
    misfits = [
        f"{name} {list(delta.shape)}, the model has {list(shapes[name])}"
        for name, delta in lora.deltas.items()
        if name in shapes and shapes[name] != delta.shape
    ]
    problems = [
        f"{len(names)} {what}: {some_names(names)}"
        for names, what in (
            (other, "keys that are no LoRA pair of a Linear layer"),
            (text, "keys for a text encoder, which a LoRA does not change here"),
            (absent, "layers that the model does not have"),
            (misfits, "layers of another shape [out, in]"),
        )
        if names
    ]
    if problems:
        raise InvalidRequest(
            f"LoRA {lora.path} does not fit the model: {'; '.join(problems)}. Nothing of a LoRA "
            "is left out silently: use one trained for this model's transformer alone"
        )


# --- merging ---------------------------------------------------------------------------------


def merged_delta(
    loras: Iterable[tuple[LoraFile, float]], module: str, device: torch.device | str = "cpu"
) -> Tensor | None:
    """What LoRAs together add to the weight of one Linear layer.

    Args:
        loras: files and the weights asked for.
        module: name of our Linear layer.
        device: where it is computed.

    Returns:
        [out, in] fp32, the sum of ``weight * scale * up @ down``; None when nothing is added.
    """
    total: Tensor | None = None
    for lora, weight in loras:
        delta = lora.deltas.get(module)
        factor = 0.0 if delta is None else weight * delta.scale
        if delta is None or factor == 0.0:
            continue
        up, down = (m.to(device=device, dtype=torch.float32) for m in (delta.up, delta.down))
        total = (up * factor) @ down if total is None else total.addmm_(up * factor, down)
    return total


class MergedLoras:
    """LoRAs that are in a transformer's weights, and the way back.

    Attributes:
        transformer: the network they were merged into.
        originals: weights as they were, by the name of the Linear layer, on the CPU.
    """

    def __init__(self, transformer: nn.Module, *, keep_originals: bool = True) -> None:
        self.transformer = transformer
        self.originals: dict[str, Tensor] = {}
        self._keep_originals = keep_originals
        self._touched: list[str] = []

    @property
    def touched(self) -> tuple[str, ...]:
        """Linear layers whose weights were changed."""
        return tuple(self._touched)

    @torch.inference_mode()
    def remove(self) -> None:
        """Put every original byte back; a second call changes nothing.

        Raises:
            ValueError: the originals were not kept; load the network again.
        """
        if self._touched and not self._keep_originals:
            raise ValueError("the original weights were not kept; load the transformer again")
        for name in list(self.originals):
            weight = _weight(self.transformer, name)
            original = self.originals[name]
            assert weight.dtype == original.dtype, "the dtype changed while LoRAs were merged"
            weight.copy_(original)
            del self.originals[name]
        self._touched.clear()
        _merged.discard(self.transformer)

    def change(self, loras: Sequence[tuple[LoraFile, float]]) -> None:
        """Have other LoRAs or weights merged, to the byte as if the network were new.

        Args:
            loras: files and their weights, in place of those before.

        Raises:
            InvalidRequest: see :func:`apply_loras`; the LoRAs before stay.
            ValueError: the originals were not kept; load the network again.
        """
        if self._touched and not self._keep_originals:
            raise ValueError("the original weights were not kept; load the transformer again")
        names = _names_to_change(self.transformer, loras)
        with ExitStack() as undo:
            undo.callback(self.remove)
            for name in dict.fromkeys([*self._touched, *names]):
                self._put(name, loras)
            undo.pop_all()
        if self._touched:
            _merged.add(self.transformer)

    @torch.inference_mode()
    def _put(self, name: str, loras: Sequence[tuple[LoraFile, float]]) -> None:
        """Set a weight to its original plus what the LoRAs add."""
        weight = _weight(self.transformer, name)
        delta = merged_delta(loras, name, weight.device)
        original = weight
        if name in self.originals:
            original = self.originals[name].to(weight.device)
        elif delta is not None:
            if self._keep_originals:
                self.originals[name] = weight.detach().to("cpu", copy=True)
            self._touched.append(name)
        weight.copy_(original if delta is None else original.float() + delta)


def apply_loras(
    transformer: nn.Module,
    loras: Sequence[tuple[LoraFile, float]],
    *,
    keep_originals: bool = True,
) -> MergedLoras:
    """Merge LoRAs into a transformer's weights, in place.

    Weights change where they lie, so those that are slices of a larger buffer stay slices of it.
    Each sum is computed and added in fp32, on the weight's device, and rounded once. A LoRA of
    weight 0 changes nothing. Merge before quantising and before compiled graphs are captured.

    Args:
        transformer: a FramePackTransformer3DModel with its weights loaded.
        loras: files and their weights; their order does not matter.
        keep_originals: hold the original weights in host memory, as much as the changed layers
            take, to undo it; without them the network must be loaded again.

    Returns:
        The handle that undoes it.

    Raises:
        InvalidRequest: a LoRA does not fit, a weight is not finite or of a number format that
            cannot be added to, or LoRAs are merged already. The network is as it was.
    """
    if transformer in _merged:
        raise InvalidRequest(
            "this transformer has LoRAs merged already; call remove() of the handle that "
            "apply_loras returned, then merge all of them at once"
        )
    names = _names_to_change(transformer, loras)
    merged = MergedLoras(transformer, keep_originals=keep_originals)
    with ExitStack() as undo:
        if keep_originals:
            undo.callback(merged.remove)
        for name in names:
            merged._put(name, loras)
        undo.pop_all()
    if merged.touched:
        _merged.add(transformer)
    return merged


def _names_to_change(transformer: nn.Module, loras: Sequence[tuple[LoraFile, float]]) -> list[str]:
    """Layers that the LoRAs change, in the network's order, checked before anything is changed."""
    shapes = linear_shapes(transformer)
    wanted: set[str] = set()
    for lora, weight in loras:
        if not math.isfinite(weight):
            raise InvalidRequest(f"LoRA {lora.path} has the weight {weight}; give a finite number")
        check_lora(lora, shapes)
        if weight != 0.0:
            wanted |= lora.deltas.keys()
    names = [name for name in shapes if name in wanted]
    for name in names:
        held = _weight(transformer, name)
        if held.dtype not in _MERGEABLE or held.is_meta or held.shape != shapes[name]:
            raise InvalidRequest(
                f"LoRAs cannot be merged into {name}: its weight is {held.dtype} "
                f"{list(held.shape)} on {held.device}; needed: plain float weights; merge "
                "LoRAs after loading and before quantising"
            )
    return names


def _weight(network: nn.Module, name: str) -> Tensor:
    linear = network.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear.weight
