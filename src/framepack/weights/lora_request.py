"""The LoRA files of a request: read, and checked against the model."""

from collections.abc import Mapping, Sequence

from framepack.domain.loras import LoraRef
from framepack.domain.settings import Settings
from framepack.models.spec import ModelSpec
from framepack.weights.hashing import HashCache
from framepack.weights.lora import LoraFile, check_lora, model_shapes, read_lora

__all__ = ["check_loras", "load_loras", "lora_hashes"]


def load_loras(
    loras: Sequence[LoraRef], weights: Sequence[float] | None = None
) -> list[tuple[LoraFile, float]]:
    """Read the files, with their weights.

    Args:
        loras: what the request names.
        weights: others than theirs, one for each.

    Raises:
        InvalidRequest: a file is missing or damaged.
    """
    files = [read_lora(lora.path) for lora in loras]
    return list(zip(files, weights or [lora.weight for lora in loras], strict=True))


def check_loras(loras: Sequence[LoraRef], spec: ModelSpec, settings: Settings) -> None:
    """Refuse LoRAs that do not fit the model, before its weights are read.

    Raises:
        InvalidRequest: names what does not fit.
    """
    if not loras:
        return
    shapes = model_shapes(spec, settings)
    for lora, _ in load_loras(loras):
        check_lora(lora, shapes)


def lora_hashes(loras: Sequence[LoraRef]) -> Mapping[str, str]:
    """SHA-256 of each file, by what a run's record calls it."""
    cache = HashCache()
    return {
        f"lora {number} {lora.path.name} x {lora.weight:g}": cache.sha256(lora.path)
        for number, lora in enumerate(loras, start=1)
    }
