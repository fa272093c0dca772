"""Choose where networks run and in which number format, by what the machine can do."""

import ctypes
import logging
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from framepack.domain.errors import FramePackError, InvalidRequest

__all__ = [
    "DeviceInfo",
    "DeviceMemoryError",
    "DtypeName",
    "backend_name",
    "choose_device",
    "choose_dtype",
    "describe_device",
    "device_name",
    "has_fast_bf16",
    "keep_freed_memory",
    "memory_bytes",
]

logger = logging.getLogger(__name__)

DtypeName = Literal["auto", "bfloat16", "float16", "float32"]

_DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_KEPT_BYTES = 256 * 2**20


class DeviceMemoryError(FramePackError):
    """A network and its working memory are larger than the device's memory."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device is, for people and for the choice of a model.

    Attributes:
        device: ``cpu``, ``cuda:0`` and so on, as torch names it.
        backend: cuda, rocm, xpu, mps or cpu.
        name: the maker's name of it.
        total_bytes: its memory; of the whole machine for the CPU.
        free_bytes: what is free now.
        dtype: number format the transformer would run in.
    """

    device: torch.device
    backend: str
    name: str
    total_bytes: int
    free_bytes: int
    dtype: torch.dtype


def choose_device(requested: str = "auto") -> torch.device:
    """Find the device to run on.

    Args:
        requested: ``auto`` for the accelerator torch can use, else the CPU; or a torch device
            name. ROCm devices are named ``cuda``.

    Raises:
        InvalidRequest: the device named is not there; says which are.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if requested == "auto":
        if accelerator is None or accelerator.type not in ("cuda", "xpu", "mps"):
            return torch.device("cpu")
        return _numbered(accelerator)
    device = torch.device(requested)
    if device.type == "cpu":
        return torch.device("cpu")
    found = accelerator.type if accelerator is not None else None
    count = torch.accelerator.device_count() if found else 0
    if device.type != found or (device.index or 0) >= count:
        there = [f"{found}:{index}" for index in range(count)] if found != "mps" else ["mps"]
        raise InvalidRequest(
            f"device {requested} is not there; torch {torch.__version__} finds "
            f"{', '.join([*(there if found else []), 'cpu'])}. Choose one of them, or install the "
            "torch build for your accelerator (run.py does)"
        )
    return _numbered(device)


def choose_dtype(
    device: torch.device, component: str = "transformer", requested: str = "auto"
) -> torch.dtype:
    """Find the number format for one component on a device.

    bf16 for the transformer wherever the device is good at it, fp32 elsewhere. Encoders and VAE
    run in fp16 on accelerators, as the published weights were used, and like the transformer on
    the CPU.

    Args:
        device: where it will run.
        component: a name of COMPONENTS.
        requested: ``auto``, or one format for everything.

    Raises:
        InvalidRequest: fp16 on the CPU, where it is slow or missing, or an unknown format.
    """
    if requested != "auto":
        if requested not in _DTYPES:
            raise InvalidRequest(f"dtype is {requested}; choose auto, {', '.join(_DTYPES)}")
        if requested == "float16" and device.type == "cpu":
            raise InvalidRequest(
                "dtype float16 was asked for on the CPU; use auto, float32, or bfloat16 there"
            )
        return _DTYPES[requested]
    if device.type != "cpu" and component != "transformer":
        return torch.float16
    return torch.bfloat16 if has_fast_bf16(device) else torch.float32


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 at least as fast as in fp32."""
    if device.type == "cuda":
        # ROCm devices answer as well; those that support bf16 at all compute in it.
        if torch.version.hip is not None:
            return bool(torch.cuda.is_bf16_supported())
        major, _ = torch.cuda.get_device_capability(device)
        return major >= 8
    if device.type == "xpu":
        return bool(torch.xpu.is_bf16_supported())
    if device.type == "mps":
        return int(platform.mac_ver()[0].split(".")[0] or 0) >= 14
    return _cpu_has_bf16()


def backend_name(device: torch.device) -> str:
    """cuda, rocm, xpu, mps or cpu."""
    if device.type == "cuda" and torch.version.hip is not None:
        return "rocm"
    return device.type


def memory_bytes(device: torch.device) -> tuple[int, int]:
    """Free and total memory of a device in bytes; for the CPU, of the machine."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # What torch holds in reserve for itself is free to us as well.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
            device
        ), total
    if device.type == "xpu":
        free, total = torch.xpu.mem_get_info(device)
        return free + torch.xpu.memory_reserved(device) - torch.xpu.memory_allocated(device), total
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return total - torch.mps.current_allocated_memory(), total
    machine = psutil.virtual_memory()
    return int(machine.available), int(machine.total)


def describe_device(device: torch.device) -> DeviceInfo:
    """Collect what there is to know about a device."""
    free, total = memory_bytes(device)
    return DeviceInfo(
        device=device,
        backend=backend_name(device),
        name=device_name(device),
        total_bytes=total,
        free_bytes=free,
        dtype=choose_dtype(device),
    )


def keep_freed_memory() -> bool:
    """Let glibc keep large blocks for reuse instead of giving them back each time.

    Activations of some 10 MB are allocated and freed for every layer; taking them from the
    system anew costs a page fault per 4 kB, a third of the CPU's time in the decoder. Only call
    this from a program's own process, never on import. At most 256 MB stay reserved.

    Returns:
        Whether it took effect; other C libraries are left alone.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    return all(
        mallopt(option, _KEPT_BYTES) == 1 for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    )


def _numbered(device: torch.device) -> torch.device:
    if device.type == "mps":
        return torch.device("mps")
    index = device.index if device.index is not None else torch.accelerator.current_device_index()
    return torch.device(device.type, index)


def device_name(device: torch.device) -> str:
    """The maker's name of a device; of a CPU its architecture where there is none."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return str(torch.xpu.get_device_name(device))
    return platform.processor() or platform.machine()


def _cpu_has_bf16() -> bool:
    """torch's own probes where it has them (they are private), else what Linux says."""
    probes = [
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ]
    if all(callable(probe) for probe in probes) and platform.machine() in ("x86_64", "AMD64"):
        return any(bool(probe()) for probe in probes if probe is not None)
    return bool(_BF16_FLAGS & _linux_cpu_flags())


def _linux_cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
