"""What accelerators this computer has, found without torch.

Torch says what it can use; this says what is there, so that ``doctor`` can tell a card that
torch does not see from no card, and ``plan`` can offer the large model without loading torch.
"""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

from framepack.domain.settings import Settings
from framepack.pipeline.published import needed_gb

__all__ = [
    "PUBLISHED_FILES_GB",
    "PUBLISHED_HEAD_DIM",
    "Card",
    "find_cards",
    "may_run_published",
    "package_version",
    "parse_nvidia",
    "torch_build",
]

Kind = Literal["nvidia", "amd", "intel", "apple"]

PUBLISHED_FILES_GB: Mapping[str, float] = {
    "transformer": 25.7,
    "text_encoder": 16.1,
    "image_encoder": 0.9,
    "vae": 0.5,
    "text_encoder_2": 0.2,
}
"""Files of their networks, GB of 10**9 bytes."""

PUBLISHED_HEAD_DIM = 128
"""Width of their attention heads."""

_TIMEOUT_S = 10
_INTEL_PREFIXES = ("0x56", "0xe2", "0x0b", "0x7d", "0x64", "0xb0")  # Arc, Max, Core Ultra


@dataclass(frozen=True)
class Card:
    """An accelerator.

    Attributes:
        kind: who makes it, which decides the torch build that serves it.
        name: as its driver calls it.
        memory_gb: memory it can use, GB of 10**9 bytes; None where the driver does not say.
        driver: version of its driver, or "".
    """

    kind: Kind
    name: str
    memory_gb: float | None = None
    driver: str = ""


def find_cards() -> tuple[Card, ...]:
    """The accelerators of this computer; may take a second or two."""
    return (*_nvidia(), *_from_kernel(Path("/sys")), *_from_windows(), *_apple())


def torch_build() -> str:
    """The installed torch's version, such as ``2.13.0+cpu``, or "" without torch."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def package_version(package: str) -> str | None:
    """The version of a Python package; "0" where it does not say, None where it is missing.

    Args:
        package: the name that it is imported by.
    """
    if find_spec(package) is None:
        return None
    for name in (package, package.replace("_", "-")):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "0"


def may_run_published(settings: Settings) -> bool:
    """Whether this computer seems to have what the 13B model needs; a quick guess, no torch.

    A card whose memory no driver tells is believed to suffice.
    """
    build = torch_build()
    if settings.device == "cpu" or not build or build.endswith("+cpu"):
        return False
    return any(
        card.memory_gb is None or card.memory_gb >= needed_gb(card.kind == "apple")
        for card in find_cards()
    )


def parse_nvidia(table: str) -> Iterator[Card]:
    """Read ``nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader``."""
    for line in table.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) != 3:
            continue
        size = re.match(r"(\d+) MiB$", fields[1])
        yield Card(
            "nvidia", fields[0], int(size[1]) * 2**20 / 1e9 if size else None, driver=fields[2]
        )


def _nvidia() -> Iterator[Card]:
    tool = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if tool is None:
        return iter(())
    query = "--query-gpu=name,memory.total,driver_version"
    return parse_nvidia(_output(tool, query, "--format=csv,noheader"))


def _from_kernel(system: Path) -> Iterator[Card]:
    """AMD and Intel cards as Linux lists them."""
    for path in sorted(system.glob("class/kfd/kfd/topology/nodes/*/properties")):
        target = re.search(r"^gfx_target_version (\d+)$", _read(path), re.MULTILINE)
        if target is None or int(target[1]) == 0:  # 0 is the processor's own node
            continue
        number = int(target[1])
        name = f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}"
        banks = path.parent.glob("mem_banks/*/properties")
        sizes = [re.search(r"^size_in_bytes (\d+)$", _read(bank), re.MULTILINE) for bank in banks]
        memory = sum(int(size[1]) for size in sizes if size)
        yield Card("amd", name, memory / 1e9 or None)
    for path in sorted(system.glob("class/drm/card*/device/vendor")):
        device = _read(path.with_name("device"))
        if _read(path) == "0x8086" and device.startswith(_INTEL_PREFIXES):
            yield Card("intel", f"Intel graphics {device}")


def _from_windows() -> Iterator[Card]:
    if platform.system() != "Windows":
        return
    query = "(Get-CimInstance Win32_VideoController).Name"
    for line in _output("powershell", "-NoProfile", "-Command", query).splitlines():
        if "Radeon" in line:
            yield Card("amd", line.strip())
        elif re.search(r"\bIntel\b.*\bArc\b", line):
            yield Card("intel", line.strip())


def _apple() -> tuple[Card, ...]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return (Card("apple", "Apple silicon", psutil.virtual_memory().total / 1e9),)
    return ()


def _output(*command: str) -> str:
    """What a program prints; nothing when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # a device that has just gone, or may not be read
        return ""
