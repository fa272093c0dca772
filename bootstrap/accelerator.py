"""Find out which accelerator a machine has, and which torch build serves it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from bootstrap import SetupError, output_of

# torch 2.13 is built for CUDA 12.6 (compute capability 5.0 to 9.0) and CUDA 13.0 (7.5 to
# 12.1). CUDA 12.8 ended with torch 2.11, which the program still accepts: it alone serves a
# 50xx card whose driver is older than 580. Source: pytorch/pytorch, RELEASE.md and the
# support matrices of its issues 172663 and 178665.
BUILDS = ("cpu", "cu126", "cu128", "cu130", "rocm7.2", "xpu", "pypi")
OLDER_TORCH = {"cu128": "2.11.0"}
ROCM_TARGETS = {
    *("gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100"),
    *("gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200", "gfx1201"),
}
# First two digits of the PCI device ids: Arc A and Flex, Arc B, Data Center Max, and the Arc
# graphics of Core Ultra (Meteor and Arrow Lake, Lunar Lake, Panther Lake).
INTEL_XPU_IDS = ("56", "e2", "0b", "7d", "64", "b0")


class Nvidia(NamedTuple):
    """An NVIDIA card as nvidia-smi reports it; of several, the strongest."""

    name: str
    capability: tuple[int, int]  # compute capability: (12, 0) for the RTX 50 series
    driver: str
    cuda: tuple[int, int]  # newest CUDA version that the driver serves


class Machine(NamedTuple):
    """Everything that the choice of a torch build depends on."""

    system: str  # Linux, Darwin or Windows
    arch: str  # x86_64 or arm64
    nvidia: Nvidia | None = None
    amd: tuple[str, ...] = ()  # gfx targets such as gfx1100; names on Windows
    intel: tuple[str, ...] = ()  # graphics that torch's XPU build serves
    remarks: tuple[str, ...] = ()  # what a probe found odd


class Choice(NamedTuple):
    """A torch build, and the lines that tell the user why."""

    build: str  # one of BUILDS; pypi is the package index's own torch
    notes: tuple[str, ...]


def driver_cuda(driver: str) -> tuple[int, int]:
    """The newest CUDA version that an NVIDIA driver serves; (0, 0) before CUDA 12."""
    number = re.match(r"\d+", driver)
    for oldest, cuda in ((580, (13, 0)), (570, (12, 8)), (560, (12, 6)), (525, (12, 0))):
        if number and int(number.group()) >= oldest:
            return cuda
    return (0, 0)


def parse_nvidia(query: str, header: str) -> Nvidia | None:
    """Read `nvidia-smi --query-gpu=name,compute_cap,driver_version` and its plain header."""
    cards = []
    for line in query.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3 and re.match(r"\d+\.\d+$", fields[1]):
            major, minor = fields[1].split(".")
            cards.append(((int(major), int(minor)), fields[0], fields[2]))
    if not cards:
        return None
    capability, name, driver = max(cards)
    said = re.search(r"CUDA (?:\w+ )?Version:\s*(\d+)\.(\d+)", header)
    cuda = (int(said.group(1)), int(said.group(2))) if said else driver_cuda(driver)
    return Nvidia(name, capability, driver, cuda)


def gfx_target(version: int) -> str:
    """Name of the kernel's gfx_target_version: 110000 is gfx1100, 90010 is gfx90a."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def choose_cuda(card: Nvidia, arch: str) -> Choice:
    """The CUDA build that has code for the card and that its driver can run."""
    level = ".".join(map(str, card.capability))
    found = f"found {card.name} (compute capability {level}, driver {card.driver})"
    blackwell = card.capability >= (10, 0)
    if card.capability < ((5, 0) if arch == "x86_64" else (8, 0)):
        return Choice("cpu", (f"{found}, which is too old for torch: running on the CPU",))
    if card.cuda >= (13, 0) and card.capability >= (7, 5):
        return Choice("cu130", (f"{found}: torch for CUDA 13.0",))
    if card.cuda >= (12, 0) and not blackwell:
        return Choice("cu126", (f"{found}: torch for CUDA 12.6",))
    if card.cuda >= (12, 8):
        note = f"{found}: torch {OLDER_TORCH['cu128']} for CUDA 12.8, the last for this driver"
        return Choice("cu128", (note, "better: update it to 580 or newer, then `run.py setup`"))
    needed = "580" if blackwell else "525"
    note = f"{found}, which needs driver {needed} or newer: running on the CPU"
    return Choice("cpu", (note, "update the NVIDIA driver, then `run.py setup`"))


def choose_build(machine: Machine) -> Choice:
    """Pick the torch build for a machine.

    Returns:
        The build and why; that it is the CPU is always said.

    Raises:
        SetupError: torch has no build for this machine at all.
    """
    cpu = "pypi" if machine.system == "Windows" else "cpu"  # the index's is CPU-only there
    notes = machine.remarks
    if machine.system == "Darwin":
        if machine.arch != "arm64":
            raise SetupError(
                "found an Intel Python on macOS; torch is built for Apple silicon only. "
                "On an Apple silicon Mac, start run.py with an arm64 Python from python.org."
            )
        return Choice("pypi", (*notes, "found Apple silicon: torch with Metal (MPS)"))
    if machine.nvidia:
        choice = choose_cuda(machine.nvidia, machine.arch)
        return Choice(cpu if choice.build == "cpu" else choice.build, notes + choice.notes)
    served = [target for target in machine.amd if target in ROCM_TARGETS]
    if served and machine.system == "Linux" and machine.arch == "x86_64":
        return Choice("rocm7.2", (*notes, f"found AMD {served[0]}: torch for ROCm 7.2"))
    if machine.amd:
        named = ", ".join(machine.amd)
        notes = (*notes, f"found AMD {named}, which torch's ROCm 7.2 for Linux does not serve")
    if machine.intel and machine.arch == "x86_64":
        return Choice("xpu", (*notes, f"found Intel graphics, {machine.intel[0]}: torch for XPU"))
    return Choice(cpu, (*notes, "no accelerator that torch can use was found: running on the CPU"))


def probe_nvidia() -> tuple[Nvidia | None, tuple[str, ...]]:
    """Ask nvidia-smi, which every NVIDIA driver installs (also inside WSL)."""
    elsewhere = os.pathsep.join(("/usr/lib/wsl/lib", r"C:\Windows\System32"))
    tool = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=elsewhere)
    if not tool:
        return None, ()
    query = "--query-gpu=name,compute_cap,driver_version"
    status, text = output_of(tool, query, "--format=csv,noheader")
    card = parse_nvidia(text, output_of(tool)[1]) if status == 0 else None
    if card:
        return card, ()
    first = (text.strip().splitlines() or ["no answer"])[0]
    return None, (f"nvidia-smi is installed but shows no usable card: {first}",)


def probe_linux(sys_folder: Path = Path("/sys")) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """AMD gfx targets and Intel device ids, from the kernel: no vendor tool is needed."""

    def read(path: Path) -> str:
        try:
            return path.read_text().strip()
        except OSError:  # a device that has just gone, or may not be read
            return ""

    amd, intel = [], []
    for path in sorted(sys_folder.glob("class/kfd/kfd/topology/nodes/*/properties")):
        version = re.search(r"^gfx_target_version (\d+)$", read(path), re.MULTILINE)
        if version and int(version.group(1)):  # 0 is the processor's own node
            amd.append(gfx_target(int(version.group(1))))
    for path in sorted(sys_folder.glob("class/drm/card*/device/vendor")):
        device = read(path.with_name("device"))
        if read(path) == "0x8086" and device[2:].startswith(INTEL_XPU_IDS):
            intel.append(f"device {device}")
    return tuple(amd), tuple(intel)


def probe_windows() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of AMD and Intel graphics, from Windows itself."""
    query = "(Get-CimInstance Win32_VideoController).Name"
    status, text = output_of("powershell", "-NoProfile", "-Command", query)
    names = [line.strip() for line in text.splitlines() if line.strip()] if status == 0 else []
    amd = tuple(name for name in names if "Radeon" in name)
    intel = tuple(name for name in names if re.search(r"\bIntel\b.*\bArc\b", name))
    return amd, intel


def probe_machine() -> Machine:
    """Look at this computer; takes up to a few seconds, so only before installing."""
    if sys.maxsize < 2**32:
        raise SetupError("found a 32-bit Python; torch needs a 64-bit one, from python.org")
    arch = platform.machine().lower()
    arch = {"amd64": "x86_64", "aarch64": "arm64"}.get(arch, arch)
    system = platform.system()
    if system == "Darwin":
        return Machine(system, arch)
    nvidia, remarks = probe_nvidia()
    amd, intel = probe_windows() if system == "Windows" else probe_linux()
    return Machine(system, arch, nvidia, amd, intel, remarks)
