"""What all benchmarks share: where they run, and rows as JSON lines."""

import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, Any]:
    """Where this runs, and what: processor, threads, versions, commit."""
    return {
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit(),
    }


def processor() -> str:
    """The processor's name."""
    model = platform.processor() or platform.machine()
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return model


def commit() -> str:
    """The commit of the checkout, ``-dirty`` with changes; "" outside of a checkout."""
    command = ["git", "describe", "--always", "--exclude", "*", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


class JsonLines:
    """Rows, each on the screen and in a file as soon as it is known.

    Args:
        path: the file, made anew; None for none.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        line = json.dumps(row, allow_nan=False)
        print(line, flush=True)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]
