"""Find the LoRA files that a request names. No torch."""

from collections.abc import Sequence
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.loras import LoraRef
from framepack.domain.settings import Settings

__all__ = ["find_lora", "find_loras"]

_SUFFIX = ".safetensors"


def find_loras(loras: Sequence[LoraRef], settings: Settings) -> tuple[LoraRef, ...]:
    """The same LoRAs with the absolute paths of their files.

    Raises:
        InvalidRequest: one is neither a file nor in the LoRA folder, or is named twice.
    """
    found = tuple(
        lora.model_copy(update={"path": find_lora(lora.path, settings)}) for lora in loras
    )
    paths = [lora.path for lora in found]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise InvalidRequest(f"LoRA {twice} is named twice; give it once, with one weight")
    return found


def find_lora(path: Path, settings: Settings) -> Path:
    """The absolute path of a LoRA file.

    Args:
        path: of the file, or its name in the LoRA folder, with or without suffix.
        settings: name the LoRA folder.

    Raises:
        InvalidRequest: it is neither a file nor in the LoRA folder.
    """
    path = path.expanduser()
    if path.is_file():
        return path.absolute()
    folder = settings.loras_dir
    names = [path.name] if path.suffix else [path.name, f"{path.name}{_SUFFIX}"]
    if folder is not None and path.name == str(path):
        for name in names:
            if (folder / name).is_file():
                return (folder / name).absolute()
    where = f"nor in {folder}" if folder is not None else "and no LoRA folder is set"
    raise InvalidRequest(
        f"LoRA {path} is no file {where}; give a path, or set loras_dir and name a file in it"
    )
