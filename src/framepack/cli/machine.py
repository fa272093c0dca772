"""Facts about this computer, gathered for ``framepack doctor``."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

import framepack
from framepack.domain.errors import CheckpointError, MissingWeights
from framepack.domain.settings import Settings, settings_path
from framepack.models.spec import PRESETS, ModelSpec
from framepack.pipeline.hardware import PUBLISHED_HEAD_DIM, Card, find_cards, torch_build
from framepack.pipeline.published import Allowed

if TYPE_CHECKING:
    import torch

__all__ = ["Attention", "Compute", "Folder", "Machine", "ModelFiles", "examine"]

_NETWORK_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Attention:
    """Who computes attention.

    Attributes:
        asked: the setting.
        problem: why that cannot run, and how to mend it, or "".
        candidates: exact back ends that can run; ``auto`` takes the fastest.
        measured: which one that was and what it was measured against, by size.
    """

    asked: str
    problem: str = ""
    candidates: tuple[str, ...] = ()
    measured: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compute:
    """What torch computes with.

    Attributes:
        torch: version of torch, or "" where it does not import.
        problem: why torch does not import, or "".
        backend: what this build of torch serves: cuda 13.0, rocm 7.2, xpu, mps or cpu.
        device: the device chosen, or "".
        device_name: its maker's name for it.
        memory_gb: its own memory, GB; None where it is the computer's.
        dtype: the number format chosen, or "".
        reason: why this device and this format.
        threads: CPU threads that torch uses.
        is_chosen: the settings or a flag name the device.
        attention: who can compute attention there; None without torch.
    """

    torch: str
    problem: str = ""
    backend: str = "cpu"
    device: str = ""
    device_name: str = ""
    memory_gb: float | None = None
    dtype: str = ""
    reason: str = ""
    threads: int = 0
    is_chosen: bool = False
    attention: Attention | None = None


@dataclass(frozen=True)
class Folder:
    """A folder that is written to.

    Attributes:
        title: what it is for.
        path: the folder; it may not exist yet.
        free_gb: free space on its disk, GB.
        is_writable: files can be made in it.
    """

    title: str
    path: str
    free_gb: float
    is_writable: bool


@dataclass(frozen=True)
class ModelFiles:
    """The weights of a preset on this machine.

    Attributes:
        model: the preset.
        title: one line on it.
        is_present: every component is complete.
        problem: what is missing or damaged, and how to mend it; "" when complete.
        size_gb: bytes of its weights, GB; 0 when absent.
        sha256: of the transformer's folder, for the embedded model; "" when not computed.
        sources: pages it comes from.
    """

    model: str
    title: str
    is_present: bool
    problem: str = ""
    size_gb: float = 0.0
    sha256: str = ""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """Everything that ``doctor`` judges.

    Attributes:
        framepack: our version.
        python: version and word size.
        system: operating system and processor.
        cores: physical cores, or logical ones where those are unknown.
        memory_gb: the computer's memory, GB.
        free_memory_gb: what programs can still get of it, GB.
        cards: accelerators found without torch.
        compute: what torch can use.
        folders: where files are written.
        encoder: the H.264 encoder and its library, or "".
        models: the presets.
        settings_file: the settings file, whether or not it exists.
        offline: the network is not to be used.
        allowed: what the settings allow of the device.
    """

    framepack: str
    python: str
    system: str
    cores: int
    memory_gb: float
    free_memory_gb: float
    cards: tuple[Card, ...]
    compute: Compute
    folders: tuple[Folder, ...]
    encoder: str
    models: tuple[ModelFiles, ...]
    settings_file: str
    offline: bool
    allowed: Allowed = field(default_factory=Allowed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def examine(settings: Settings) -> Machine:
    """Look at this computer. Imports torch and may take some seconds.

    Raises:
        InvalidRequest: the settings name a device that is not there.
    """
    memory = psutil.virtual_memory()
    return Machine(
        framepack=framepack.__version__,
        python=f"{platform.python_version()}, {64 if sys.maxsize > 2**32 else 32} bit",
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        memory_gb=memory.total / 1e9,
        free_memory_gb=memory.available / 1e9,
        cards=find_cards(),
        compute=_compute(settings),
        folders=_folders(settings),
        encoder=_encoder(),
        models=tuple(_model(spec, settings) for spec in PRESETS.values()),
        settings_file=str(settings_path()),
        offline=settings.offline,
        allowed=Allowed.of(settings),
    )


def _compute(settings: Settings) -> Compute:
    try:
        import torch
    except (ImportError, OSError) as error:  # a missing library, or one for another machine
        return Compute(torch_build(), problem=str(error).splitlines()[0])
    from framepack.pipeline.device import choose_device, choose_dtype, describe_device

    device = choose_device(settings.device)
    dtype = choose_dtype(device, requested=settings.dtype)
    found = describe_device(device)
    return Compute(
        torch=torch.__version__,
        backend=_backend(),
        device=str(device),
        device_name=found.name,
        memory_gb=None if device.type == "cpu" else found.total_bytes / 1e9,
        dtype=str(dtype).removeprefix("torch."),
        reason=_reason(device.type, str(dtype).removeprefix("torch."), settings),
        threads=torch.get_num_threads(),
        is_chosen=settings.device != "auto",
        attention=_attention(settings, device, dtype),
    )


def _attention(settings: Settings, device: "torch.device", dtype: "torch.dtype") -> Attention:
    """Who can compute attention for the published model's heads."""
    from framepack.pipeline.attention import describe_attention, find_facts
    from framepack.pipeline.attention_probe import ProbeMemory

    facts = find_facts(device, dtype, PUBLISHED_HEAD_DIM)
    found = describe_attention(settings.attention, facts, device, ProbeMemory())
    return Attention(found.asked, found.problem, found.candidates, found.measured)


def _backend() -> str:
    """What the installed build of torch serves."""
    import torch

    if torch.version.hip is not None:
        return f"rocm {torch.version.hip}"
    if torch.version.cuda is not None:
        return f"cuda {torch.version.cuda}"
    if torch.backends.mps.is_built():
        return "mps"
    return "xpu" if getattr(torch.version, "xpu", None) else "cpu"


def _reason(device: str, dtype: str, settings: Settings) -> str:
    """Why this device and this number format."""
    if settings.device != "auto":
        where = "asked for"
    elif device == "cpu":
        where = "no accelerator that torch can use"
    else:
        where = "the accelerator that torch found"
    if settings.dtype != "auto":
        return f"{where}; {dtype} was asked for"
    if dtype == "bfloat16":
        return f"{where}; it computes bfloat16 fast"
    return f"{where}; {dtype}, because it does not compute bfloat16 fast"


def _folders(settings: Settings) -> tuple[Folder, ...]:
    models = settings.models_dir or settings.hub_cache
    return (_folder("outputs", settings.outputs_dir), _folder("models", models))


def _folder(title: str, path: Path) -> Folder:
    """Free space and write access of the nearest folder that exists. Leaves nothing behind."""
    existing = path.absolute()
    while not existing.is_dir() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            is_writable = True
    except OSError:
        is_writable = False
    return Folder(title, str(path.absolute()), shutil.disk_usage(existing).free / 1e9, is_writable)


def _encoder() -> str:
    """The encoder of the video writer, and whose library it is."""
    import av

    try:
        codec = av.Codec("libx264", "w")
    except (ValueError, av.FFmpegError):
        return ""
    library = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"{codec.name} (PyAV {av.__version__}, libavcodec {library})"


def _model(spec: ModelSpec, settings: Settings) -> ModelFiles:
    from framepack.weights.hashing import hash_folder
    from framepack.weights.locate import locate_all

    sources = tuple(f"https://huggingface.co/{repo}" for repo in spec.repos)
    try:
        folders = locate_all(spec, settings)
    except (MissingWeights, CheckpointError) as error:
        return ModelFiles(spec.key, spec.title, False, str(error), sources=sources)
    files = [path for folder in folders.values() for path in folder.glob(f"*{_NETWORK_SUFFIX}")]
    return ModelFiles(
        spec.key,
        spec.title,
        True,
        size_gb=sum(path.stat().st_size for path in files) / 1e9,
        # The 13B's would be 40 GB to read; its files were verified when they were fetched.
        sha256="" if sources else hash_folder(folders["transformer"]),
        sources=sources,
    )
