"""Which files of a directory belong to a run, so that no other is overwritten or deleted."""

import logging
import re
from pathlib import Path

__all__ = ["delete_run_files", "foreign_file"]

logger = logging.getLogger(__name__)

_OWN = {
    ".": r"run\.json|conditions\.safetensors|state\.safetensors|preview\.webp|lock",
    "inputs": r"(start|end|section-\d+)\.png",
    "latents": r"\d{6}\.safetensors",
    "source": r"\d{6}\.safetensors",
    "segments": r"(\d{6}|seam|source)\.(mp4|mkv)",
}
# Half written by a killed process: ours, and what safetensors writes to first.
_HALF_WRITTEN = r"\..*\.part|\.tmp\w{6}"


def foreign_file(directory: Path) -> Path | None:
    """A file or folder in a run directory that no run puts there; None if there is none."""
    _, foreign = _sorted_out(directory)
    return foreign[0] if foreign else None


def delete_run_files(directory: Path) -> None:
    """Delete a run's own files, and its folders if nothing else is in them.

    What another program holds open stays behind, with a warning: the video is worth more.
    """
    own, _ = _sorted_out(directory)
    folders = [directory / name for name in _OWN if name != "."]
    for path in [*own, *[folder for folder in folders if folder.is_dir()], directory]:
        try:
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s was not removed: %s", path, error.strerror or error)


def _sorted_out(directory: Path) -> tuple[list[Path], list[Path]]:
    """The run's own files, and everything else; its folders are neither."""
    own: list[Path] = []
    foreign: list[Path] = []
    for name, pattern in _OWN.items():
        folder = directory / name
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if path.is_dir() and name == "." and path.name in _OWN:
                continue
            ours = path.is_file() and re.fullmatch(f"{pattern}|{_HALF_WRITTEN}", path.name)
            (own if ours else foreign).append(path)
    return own, foreign
