"""Read LoRA files in every common layout, as changes to the Linear layers of our transformer."""

# Shape letters:
#   r rank of a LoRA  out, in  width of a Linear layer's output and input

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from framepack.domain.errors import InvalidRequest
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.weights.lora_names import NameTable, Role, Target, split_key, without_prefix

__all__ = ["LoraDelta", "LoraFile", "linear_shapes", "read_lora", "some_names"]

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
_ADAPTER_METADATA = "lora_adapter_metadata"
_MOST_NAMES = 5


@dataclass(frozen=True, eq=False, slots=True)
class LoraDelta:
    """What a LoRA adds to one Linear layer.

    Attributes:
        down: [r, in], as stored.
        up: [out, r], as stored.
        alpha: the scale times the rank; None means a scale of 1.
    """

    down: Tensor
    up: Tensor
    alpha: float | None

    @property
    def rank(self) -> int:
        """Width r between the two matrices."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """What ``up @ down`` is multiplied with before the user's weight."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def shape(self) -> tuple[int, int]:
        """[out, in] of the Linear layer it fits."""
        return self.up.shape[0], self.down.shape[1]


@dataclass(frozen=True, eq=False, slots=True)
class LoraFile:
    """A LoRA in terms of our network.

    Attributes:
        path: where it was read.
        layout: whose names its keys have.
        metadata: what the file says about itself.
        deltas: by the name of our Linear layer, such as ``transformer_blocks.0.attn.to_q``.
        unknown: keys that name nothing in our network or are no LoRA pair;
            :func:`check_lora` refuses them.
    """

    path: Path
    layout: str
    metadata: Mapping[str, str]
    deltas: Mapping[str, LoraDelta]
    unknown: tuple[str, ...] = ()


def read_lora(path: str | Path) -> LoraFile:
    """Read a LoRA from a safetensors file in any of the known layouts.

    Fused layers of the original HunyuanVideo network are split: their parts share the down
    matrix, and each takes its rows of the up matrix.

    Args:
        path: written by diffusers or PEFT, by kohya's trainers (musubi-tuner), or with the names
            of the original HunyuanVideo network (diffusion-pipe and others).

    Returns:
        Deltas by our names, on the CPU, as stored.

    Raises:
        InvalidRequest: not there, not safetensors, damaged, in no known layout, or a pair that
            is incomplete or does not fit together.

    Source: LoRA, arXiv 2106.09685; rsLoRA, arXiv 2312.03732.
    """
    path = Path(path)
    _check_path(path)
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        pairs, unknown = _sort_keys(path, sorted(file.keys()))
        alphas = _AdapterAlphas(path, metadata)
        deltas: dict[str, LoraDelta] = {}
        for module, (target, keys) in pairs.items():
            pair = _read_pair(path, file, module, keys, alphas)
            for name, delta in _split(path, module, target, pair).items():
                if name in deltas:
                    raise InvalidRequest(
                        f"LoRA {path} changes {name} twice, the second time as {module}; needed: "
                        "one LoRA per file; save it again with the program that made it"
                    )
                deltas[name] = delta
    layouts = dict.fromkeys(target.layout for target, _ in pairs.values())
    return LoraFile(path, " and ".join(layouts), metadata, deltas, unknown)


def _check_path(path: Path) -> None:
    if path.suffix.lower() in _PICKLES:
        raise InvalidRequest(
            f"LoRA {path} is a {path.suffix} file, which can run any code when it is read; "
            "needed: the same LoRA as .safetensors, which most publishers offer beside it"
        )
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InvalidRequest(f"LoRA {path} {found}; give the path of a .safetensors file")
    if path.stat().st_size == 0:
        raise InvalidRequest(f"LoRA {path} is an empty file; fetch it again")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InvalidRequest(
            f"LoRA {path} is damaged or not a safetensors file: {error}; fetch it again"
        ) from error


_Pairs = dict[str, tuple[Target, dict[Role, str]]]


def _sort_keys(path: Path, keys: Sequence[str]) -> tuple[_Pairs, tuple[str, ...]]:
    """Keys of each LoRA pair by the file's module name, and the keys of nothing we know."""
    table = _name_table()
    pairs: _Pairs = {}
    unknown = []
    for key in keys:
        parts = split_key(key)
        target = None if parts is None else table.find(parts.module)
        if parts is None or target is None:
            unknown.append(key)
            continue
        _, roles = pairs.setdefault(parts.module, (target, {}))
        if parts.role in roles:
            raise InvalidRequest(
                f"LoRA {path} has both {roles[parts.role]} and {key}, two adapters in one file; "
                "save one adapter per file"
            )
        roles[parts.role] = key
    if not pairs:
        found = f"found: {some_names(unknown)}" if unknown else "it holds no tensor"
        raise InvalidRequest(
            f"LoRA {path} has no key of a known layout, {found}; needed: pairs such as "
            "transformer_blocks.0.attn.to_q.lora_A.weight and .lora_B.weight, in the layout of "
            "diffusers, kohya or HunyuanVideo; use a LoRA trained for FramePack or HunyuanVideo"
        )
    return pairs, tuple(unknown)


@cache
def _name_table() -> NameTable:
    """Names of a network with one block of each kind; more blocks differ in the number only."""
    with torch.device("meta"):
        network = FramePackTransformer3DModel(
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            has_image_proj=True,
            has_clean_x_embedder=True,
        )
    return NameTable(linear_shapes(network))


def _read_pair(
    path: Path, file: Any, module: str, keys: Mapping[Role, str], alphas: "_AdapterAlphas"
) -> LoraDelta:
    """The two matrices of one module, checked."""
    missing = [role for role in ("down", "up") if role not in keys]
    if missing:
        raise InvalidRequest(
            f"LoRA {path} has {some_names(list(keys.values()))}, but no "
            f"{' and no '.join(missing)} matrix of {module}; the file is incomplete, fetch or save "
            "it again"
        )
    down, up = file.get_tensor(keys["down"]), file.get_tensor(keys["up"])
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or 0 in down.shape:
        raise InvalidRequest(
            f"LoRA {path} has for {module} a down matrix {list(down.shape)} and an up matrix "
            f"{list(up.shape)}; needed: [rank, in] and [out, rank] of one rank; fetch or save it "
            "again"
        )
    if "alpha" in keys:
        alpha: float | None = _number(path, keys["alpha"], file.get_tensor(keys["alpha"]))
    else:
        alpha = alphas.of(module, down.shape[0])
    if not all(bool(matrix.float().isfinite().all()) for matrix in (down, up)):
        raise _not_finite(path, module)
    return LoraDelta(down, up, alpha)


def _number(path: Path, key: str, stored: Tensor) -> float:
    if stored.numel() != 1:
        raise InvalidRequest(
            f"LoRA {path} has {stored.numel()} numbers in {key}; needed: one; save it again"
        )
    if not math.isfinite(float(stored.item())):
        raise _not_finite(path, key)
    return float(stored.item())


def _not_finite(path: Path, name: str) -> InvalidRequest:
    return InvalidRequest(
        f"LoRA {path} has numbers in {name} that are not finite: its training diverged or the "
        "file is damaged; use an earlier checkpoint of it or fetch it again"
    )


class _AdapterAlphas:
    """Alphas from the adapter's configuration, which diffusers writes into the metadata."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        text = metadata.get(_ADAPTER_METADATA, "{}")
        try:
            config = {key.removeprefix("transformer."): v for key, v in json.loads(text).items()}
            alpha = config.get("lora_alpha")
            self._default = None if alpha is None else float(alpha)
            pattern = dict(config.get("alpha_pattern") or {})
            self._special = {_literal(name): float(value) for name, value in pattern.items()}
            if not all(map(math.isfinite, (self._default or 0.0, *self._special.values()))):
                raise ValueError("an alpha is not finite")
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidRequest(
                f"LoRA {path} has metadata {_ADAPTER_METADATA} that cannot be read: {error}; "
                "needed: the adapter's configuration as diffusers writes it; save the LoRA again"
            ) from error
        self._by_root = bool(config.get("use_rslora"))

    def of(self, module: str, rank: int) -> float | None:
        """The alpha of a module as the file names it; None when the metadata has none."""
        name = f".{without_prefix(module)}"
        fitting = (alpha for end, alpha in self._special.items() if name.endswith(f".{end}"))
        alpha = next(fitting, self._default)
        if alpha is not None and self._by_root:
            return alpha * math.sqrt(rank)  # rsLoRA divides by the root of the rank
        return alpha


def _literal(pattern: str) -> str:
    """The module name that a pattern of PEFT stands for; patterns of another kind are refused."""
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not name.replace(".", "_").isidentifier():
        raise ValueError(f"alpha_pattern has {pattern!r}, which is more than a module's name")
    return name


def _split(path: Path, module: str, target: Target, pair: LoraDelta) -> dict[str, LoraDelta]:
    """A pair of the file as one delta for each of our layers that it covers."""
    rows, width = pair.shape
    if target.rows == "whole":
        sizes = [rows]
    elif target.rows == "qkv":
        sizes = [rows // 3] * 3
    elif target.rows == "qkv+mlp":
        sizes = [width, width, width, rows - 3 * width]
    else:
        sizes = [rows // 2] * 2
    if sum(sizes) != rows or min(sizes) <= 0:
        raise InvalidRequest(
            f"LoRA {path} has {rows} output rows for {module}, which stands for "
            f"{', '.join(target.modules)} at width {width}; they cannot be shared out; use a LoRA "
            "trained for FramePack or HunyuanVideo"
        )
    parts = list(pair.up.split(sizes))
    if target.rows == "halves swapped":
        parts = [torch.cat(parts[::-1])]
    return {
        name: LoraDelta(pair.down, up, pair.alpha)
        for name, up in zip(target.modules, parts, strict=True)
    }


def linear_shapes(network: nn.Module) -> dict[str, tuple[int, int]]:
    """[out, in] of each Linear layer of a network, on any device, ``meta`` included."""
    return {
        name: (module.out_features, module.in_features)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    }


def some_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
