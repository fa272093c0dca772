"""Make every test run alike: offline, seeded, and never among the user's own files."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

# Libraries read these while they are imported, so they are set before any test module is.
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HOME = Path(tempfile.mkdtemp(prefix="framepack-tests-"))
for _name in [name for name in os.environ if name.startswith("FRAMEPACK_")]:
    del os.environ[_name]
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HOME=str(_HOME / "huggingface"),
    LOCAL_MODELS_DIR=str(_HOME / "models"),
    OUTPUTS_DIR=str(_HOME / "outputs"),
    FRAMEPACK_SETTINGS=str(_HOME / "settings.toml"),
    XDG_CONFIG_HOME=str(_HOME / "config"),
    XDG_CACHE_HOME=str(_HOME / "cache"),
    XDG_DATA_HOME=str(_HOME / "data"),
    TOKENIZERS_PARALLELISM="false",
    FRAMEPACK_KEEP_EMBEDDINGS="false",  # else what a test loads depends on those before it
)
Path(os.environ["FRAMEPACK_SETTINGS"]).touch()
# More threads than cores, or than are free, is slower than one; the caller may choose.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long tests too")


@pytest.fixture(autouse=True)
def _ctrl_c_works() -> None:
    """A background job of a script is started with Ctrl-C ignored, and so would the program."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


_ORDER = ("browser", "unit", "parity", "system")
"""Folders of tests, as they are begun. What waits for a browser goes first: of several processes,
one gets these alone, and the short tests that follow them even out the ends."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tiers that were not asked for, or that this machine cannot run; order the rest."""
    items.sort(key=_place)
    reasons = {}
    if not config.getoption("--full"):
        reasons["full"] = "a long test: run.py test --full"
    if any(item.get_closest_marker("gpu") for item in items) and not _has_accelerator():
        reasons["gpu"] = "torch sees no accelerator"
    if importlib.util.find_spec("playwright") is None:
        reasons["browser"] = "Playwright is not installed"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)


def _has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own settings file, outputs folder and models folder."""
    settings = tmp_path / "framepack-settings.toml"
    settings.touch()
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(settings))
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path / "outputs"))
    monkeypatch.setenv("LOCAL_MODELS_DIR", str(tmp_path / "models"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine."""
    connect = socket.socket.connect

    def guarded(this: socket.socket, address: Any) -> None:
        outside = this.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK
        if outside:
            raise AssertionError(f"a test wants to connect to {address}")
        connect(this, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same random state, without importing torch for it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
