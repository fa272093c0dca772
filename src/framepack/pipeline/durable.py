"""Files that are either the old version or the new one, never something between.

Tensor files carry a digest of their content: the safetensors header alone does not
notice a damaged tensor.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from framepack.domain.errors import WorkspaceError
from framepack.media.files import atomic_file

__all__ = ["load_tensors", "save_tensors", "write_json"]


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document durably; in ASCII, because a path may be no valid UTF-8."""
    text = json.dumps(document, indent=2)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write tensors and a JSON document about them durably, in one safetensors file.

    Raises:
        WorkspaceError: the file system refused (disk full, no permission).
    """
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(document)
    metadata = {"document": text, "sha256": _digest(on_host, text)}
    try:
        with atomic_file(path) as part:
            save_file(on_host, part, metadata=metadata)
    except SafetensorError as error:  # it has no OSError
        raise WorkspaceError(f"cannot write {path}: {error}; free some space") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote, on the CPU.

    Raises:
        WorkspaceError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Copies: a tensor of the file itself keeps it mapped, and Windows then refuses to
            # replace or delete it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        text = metadata["document"]
        if metadata["sha256"] != _digest(tensors, text):
            raise ValueError("its content does not match its checksum")
        return tensors, json.loads(text)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WorkspaceError(f"{path} is damaged ({error})") from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
