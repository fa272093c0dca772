"""What encoders made of prompts and pictures, kept by content so that none is encoded twice.

Encoding one sentence takes a text encoder of 16 GB, and what comes of it is half a megabyte. An
entry is found by all that decides its bits: the encoder's files, the words or pixels, number
formats, the device and the libraries. The words themselves are not stored.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from framepack.pipeline.device import device_name

__all__ = ["EmbeddingCache", "embedding_key"]

logger = logging.getLogger(__name__)

_MAX_BYTES = 256_000_000
_DIGEST_BYTES = 32


def embedding_key(device: torch.device, facts: Mapping[str, Any]) -> str:
    """The name of an entry, 64 hexadecimal digits.

    Args:
        device: where it is computed.
        facts: all else that decides its bits, JSON-able.
    """
    machine = {
        "device": [device.type, device_name(device)],
        # On a CPU the threads share out sums, and sums round by how they are shared out.
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    text = json.dumps({"machine": machine, "facts": facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class EmbeddingCache:
    """Named tensors by key, in a folder of bounded size.

    A file is the SHA-256 of its content, then the content. One that was cut short counts as not
    there. Folders that cannot be written only cost time.

    Args:
        folder: the user's cache folder when None.
        max_bytes: of all entries; those not used for longest make room.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = _MAX_BYTES) -> None:
        self._folder = folder or user_cache_path("framepack", appauthor=False) / "embeddings"
        self._max_bytes = max_bytes

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of an entry, to the bit as they were put in; None if there is none."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            logger.debug("%s is damaged and counts as not there", path)
            return None
        try:
            return load(body)
        except SafetensorError:
            return None

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep an entry, and remove the oldest beyond the bound."""
        body = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(hashlib.sha256(body).digest() + body)
                Path(name).replace(self._path(key))
            finally:
                Path(name).unlink(missing_ok=True)  # gone already once it has taken its place
            self._bound()
        except OSError as error:
            logger.debug("embeddings are not kept in %s: %s", self._folder, error)

    def _bound(self) -> None:
        entries = []
        for path in self._folder.iterdir():
            stat = path.stat()
            entries.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.bin"
