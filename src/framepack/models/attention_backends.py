"""The attention kernels that can be asked for: what each needs, and what diffusers calls it.

Pure: facts about a machine in, reasons out. What a machine has is found by
``framepack.pipeline.attention``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from framepack.domain.choices import AttentionName

__all__ = ["BACKENDS", "AttentionFacts", "Backend", "exact_candidates", "lack"]

_HALVES = frozenset({"bfloat16", "float16"})
_ALL = _HALVES | {"float32"}
_CUDA = frozenset({"cuda"})
_EVERYWHERE = frozenset({"cuda", "rocm", "xpu", "mps", "cpu"})


@dataclass(frozen=True)
class Backend:
    """An implementation of attention.

    Attributes:
        title: its name in sentences.
        dispatch: diffusers' name of it; "" where we compute it ourselves.
        devices: kinds of device it runs on.
        dtypes: number formats it takes.
        capability: lowest and highest CUDA compute capability; None for any.
        head_multiple: the head width must be a multiple of this.
        most_head_dim: the widest head; None for any.
        package: what must import, or "".
        lowest_version: of that package, or "".
        install: how to get the package.
        is_exact: differs from others by rounding alone.
    """

    title: str
    dispatch: str
    devices: frozenset[str] = _CUDA
    dtypes: frozenset[str] = _HALVES
    capability: tuple[tuple[int, int], tuple[int, int] | None] | None = None
    head_multiple: int = 1
    most_head_dim: int | None = None
    package: str = ""
    lowest_version: str = ""
    install: str = ""
    is_exact: bool = True


BACKENDS: Mapping[AttentionName, Backend] = {
    "sdpa": Backend("torch's own choice", "native", _EVERYWHERE, _ALL),
    "onednn": Backend("oneDNN", "", frozenset({"cpu"}), frozenset({"float32", "bfloat16"})),
    "cudnn": Backend(
        "cuDNN",
        "_native_cudnn",
        capability=((8, 0), None),
        head_multiple=8,
        most_head_dim=128,
    ),
    "flash3": Backend(
        "FlashAttention 3",
        "_flash_3",
        capability=((9, 0), (9, 0)),
        head_multiple=8,
        most_head_dim=256,
        package="flash_attn_3",
        install="git clone https://github.com/Dao-AILab/flash-attention && "
        "cd flash-attention/hopper && python setup.py install",
    ),
    "flash": Backend(
        "FlashAttention 2",
        "flash",
        devices=frozenset({"cuda", "rocm"}),
        capability=((8, 0), None),
        head_multiple=8,
        most_head_dim=256,
        package="flash_attn",
        lowest_version="2.6.3",
        install="pip install flash-attn --no-build-isolation",
    ),
    "xformers": Backend(
        "xFormers",
        "xformers",
        devices=frozenset({"cuda", "rocm"}),
        head_multiple=8,
        most_head_dim=256,
        package="xformers",
        lowest_version="0.0.29",
        install="pip install xformers",
    ),
    "sage": Backend(
        "SageAttention",
        "sage",
        capability=((8, 0), None),
        most_head_dim=128,
        package="sageattention",
        lowest_version="2.1.1",
        install="pip install git+https://github.com/thu-ml/SageAttention --no-build-isolation",
        is_exact=False,
    ),
}
"""In the order in which a probe tries them. Sources: diffusers' dispatcher and the projects'
own pages; the least versions are those that diffusers asks for."""


@dataclass(frozen=True)
class AttentionFacts:
    """What the choice depends on.

    Attributes:
        device: cuda, rocm, xpu, mps or cpu.
        dtype: number format of the transformer, such as "bfloat16".
        head_dim: width of one head.
        capability: of a CUDA device; None elsewhere.
        packages: version by name, of the packages that are installed.
        broken: those of them that do not import.
        has_onednn: torch can multiply matrices with oneDNN.
        prefers_onednn: and does so faster than with its default.
    """

    device: str
    dtype: str
    head_dim: int
    capability: tuple[int, int] | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    has_onednn: bool = False
    prefers_onednn: bool = False


def lack(name: AttentionName, facts: AttentionFacts) -> str:
    """Why a back end cannot run, with what to do about it; "" if it can."""
    return _unfit(BACKENDS[name], facts) or _absent(name, facts)


def exact_candidates(facts: AttentionFacts) -> list[AttentionName]:
    """The exact back ends that can run, ``sdpa`` first.

    oneDNN is one of them only where it is known to be the faster one.
    """
    return [
        name
        for name, backend in BACKENDS.items()
        if backend.is_exact and not lack(name, facts) and (name != "onednn" or facts.prefers_onednn)
    ]


def _unfit(backend: Backend, facts: AttentionFacts) -> str:
    """What of the device, the number format or the network it does not take."""
    title = backend.title
    if facts.device not in backend.devices:
        return f"{title} runs on {_any_of(backend.devices)}, and this device is {facts.device}"
    if facts.dtype not in backend.dtypes:
        return f"{title} takes {_any_of(backend.dtypes)}, and the number format is {facts.dtype}"
    if facts.device == "cuda" and backend.capability is not None:
        lowest, highest = backend.capability
        found = facts.capability or (0, 0)
        if found < lowest or (highest is not None and found > highest):
            return (
                f"{title} needs a GPU of compute capability {_range(lowest, highest)}, "
                f"and this one has {_dotted(found)}"
            )
    most = backend.most_head_dim
    if facts.head_dim % backend.head_multiple or (most is not None and facts.head_dim > most):
        needed = f"multiples of {backend.head_multiple}" if backend.head_multiple > 1 else "any"
        return (
            f"{title} takes head widths that are {needed} up to {most}, and this model's is "
            f"{facts.head_dim}"
        )
    return ""


def _absent(name: AttentionName, facts: AttentionFacts) -> str:
    backend = BACKENDS[name]
    if name == "onednn" and not facts.has_onednn:
        return "this build of torch has no oneDNN; install torch from PyPI or its own index"
    if not backend.package:
        return ""
    found = facts.packages.get(backend.package)
    if found is None:
        return f"{backend.title} is not installed; install it with: {backend.install}"
    if backend.lowest_version and _parts(found) < _parts(backend.lowest_version):
        return (
            f"{backend.title} is {found} here, {backend.lowest_version} or later is needed; "
            f"install it with: {backend.install}"
        )
    if backend.package in facts.broken:
        return (
            f"{backend.title} {found} is installed but does not import, most often because it was "
            f"built for another torch; install it again with: {backend.install}"
        )
    return ""


def _parts(version: str) -> tuple[int, ...]:
    """Leading numbers of a version, such as (2, 8, 3) of "2.8.3+cu12"."""
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _any_of(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _range(lowest: tuple[int, int], highest: tuple[int, int] | None) -> str:
    if highest is None:
        return f"{_dotted(lowest)} or later"
    return _dotted(lowest) if lowest == highest else f"{_dotted(lowest)} to {_dotted(highest)}"
