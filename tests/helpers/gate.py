"""Sections that are written beside the next one, and when, as a test says."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from framepack.pipeline import storing
from framepack.pipeline.run_state import Segment
from framepack.pipeline.workspace import Workspace

__all__ = ["Gate", "written_beside"]

_PATIENCE_S = 60.0


class Gate:
    """Holds back the writing of the first-rendered section of a run.

    Args:
        monkeypatch: of the test.
        error: what the writing then ends with.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self._is_open = threading.Event()
        self._is_first = True
        write = Workspace.write_segment

        def held(
            workspace: Workspace, name: str, start_frame: int, frames: Iterable[Any]
        ) -> Segment | None:
            if self._is_first:
                self._is_first = False
                assert self._is_open.wait(_PATIENCE_S), "nobody opened the gate"
                if error is not None:
                    raise error
            return write(workspace, name, start_frame, frames)

        monkeypatch.setattr(Workspace, "write_segment", held)

    def open(self) -> None:
        """Let the section be written."""
        self._is_open.set()


def written_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sections written while the next one is denoised, as on an accelerator."""
    monkeypatch.setattr(storing, "costs_nothing_beside", lambda device: True)
