"""How the transformer computes on this machine: by which attention, compiled or not."""

import logging
import os
import platform
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch

from framepack.domain.choices import Attention, Compile, Offload
from framepack.domain.errors import InvalidRequest
from framepack.domain.settings import Settings
from framepack.models.attention import use_backend
from framepack.models.attention_backends import AttentionFacts
from framepack.models.norm_rope import takes_triton
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.attention import (
    AttentionChoice,
    check_attention,
    choose_attention,
    find_facts,
)
from framepack.pipeline.attention_probe import AttentionShape, ProbeMemory, probe_attention
from framepack.pipeline.device import backend_name, choose_dtype
from framepack.weights.locate import read_json

__all__ = ["CompilerFacts", "Execution", "check_compile", "find_compiler_facts"]

logger = logging.getLogger(__name__)

_STREAMED: frozenset[Offload] = frozenset({"balanced", "group", "sequential", "disk"})
_BY_TRITON = frozenset({"cuda", "rocm", "xpu"})


@dataclass(frozen=True)
class CompilerFacts:
    """What compiling depends on.

    Attributes:
        device: cuda, rocm, xpu, mps or cpu.
        system: Linux, Darwin or Windows.
        compiler: the C++ compiler that torch calls.
        has_compiler: it is on the path.
        has_headers: Python's own C headers are here.
        has_triton: Triton is installed.
    """

    device: str
    system: str
    compiler: str
    has_compiler: bool
    has_headers: bool
    has_triton: bool


def find_compiler_facts(
    device: torch.device,
    *,
    system: str | None = None,
    which: Callable[[str], str | None] = shutil.which,
) -> CompilerFacts:
    """Look for what torch.compile needs on a device."""
    system = system or platform.system()
    usual = {"Windows": "cl", "Darwin": "clang++"}.get(system, "g++")
    compiler = os.environ.get("CXX", usual)
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return CompilerFacts(
        device=backend_name(device),
        system=system,
        compiler=compiler,
        has_compiler=which(compiler) is not None,
        has_headers=headers.is_file(),
        has_triton=find_spec("triton") is not None,
    )


def check_compile(asked: Compile, offload: Offload, facts: CompilerFacts) -> None:
    """Refuse to compile where that cannot work.

    Raises:
        InvalidRequest: says what is missing or in the way, and what to do.
    """
    if asked == "off":
        return
    if offload in _STREAMED:
        raise InvalidRequest(
            f"compile blocks and offload {offload} were asked for, but blocks that are streamed "
            "cannot be compiled; use --compile off, or --offload auto, none or model"
        )
    if problem := _compiler_lack(facts):
        raise InvalidRequest(f"compile blocks was asked for, but {problem}, or use --compile off")


def _compiler_lack(facts: CompilerFacts) -> str:
    if facts.device == "mps":
        return "blocks are not compiled on mps; use --device cpu"
    if facts.device in _BY_TRITON and not facts.has_triton:
        package = "triton-windows" if facts.system == "Windows" else "triton"
        return f"Triton is not installed; pip install {package}"
    if facts.device in _BY_TRITON and facts.system == "Windows":
        return ""  # its Triton brings a compiler
    if not facts.has_compiler:
        advice = {
            "Windows": "install the Build Tools of Visual Studio with C++, and start from their "
            "command prompt",
            "Darwin": "xcode-select --install",
        }.get(facts.system, "apt install g++, or your system's like")
        return f"there is no C++ compiler ({facts.compiler}) on the path; {advice}"
    if not facts.has_headers:
        return "Python's C headers are missing; apt install python3-dev, or your system's like"
    return ""


class Execution:
    """Chooses how the transformer computes, and has it compute so.

    Args:
        attention: the setting.
        compile: the setting.
        offload: where blocks are to lie.
        device: where it runs.
        dtype: its number format.
        heads, head_dim: of its attention.
        memory: of earlier probes; the user's own when None.

    Attributes:
        choice: who computes attention; None before :meth:`choose`.

    Raises:
        InvalidRequest: what is asked for cannot run here.
    """

    def __init__(
        self,
        attention: Attention,
        compile: Compile,
        *,
        offload: Offload,
        device: torch.device,
        dtype: torch.dtype,
        heads: int,
        head_dim: int,
        memory: ProbeMemory | None = None,
    ) -> None:
        self.choice: AttentionChoice | None = None
        self._asked = attention
        self._compile = compile
        self._device = device
        self._dtype = dtype
        self._heads = heads
        self._head_dim = head_dim
        self._memory = memory or ProbeMemory()
        self._facts: AttentionFacts = find_facts(device, dtype, head_dim)
        check_attention(attention, self._facts)
        check_compile(compile, offload, find_compiler_facts(device))

    @classmethod
    def of(
        cls,
        settings: Settings,
        transformer: Path,
        device: torch.device,
        offload: Offload | None = None,
    ) -> Self:
        """What the settings ask for, on a device.

        Args:
            settings: of this machine.
            transformer: its folder; only the config is read.
            device: where it runs.
            offload: in place of the settings'.

        Raises:
            InvalidRequest: what is asked for cannot run here.
        """
        config = read_json(transformer / "config.json")
        return cls(
            settings.attention,
            settings.compile,
            offload=offload or settings.offload,
            device=device,
            dtype=choose_dtype(device, requested=settings.dtype),
            heads=int(str(config["num_attention_heads"])),
            head_dim=int(str(config["attention_head_dim"])),
        )

    def choose(
        self, num_tokens: int, *, began_with: str | None = None, approximate: bool = False
    ) -> None:
        """Choose who computes attention in a run.

        Args:
            num_tokens: of a section.
            began_with: back end that the run began with, if it goes on.
            approximate: see :func:`choose_attention`.
        """
        shape = AttentionShape(num_tokens, self._heads, self._head_dim)
        self.choice = choose_attention(
            self._asked,
            self._facts,
            lambda names: probe_attention(
                names, self._device, self._dtype, shape, memory=self._memory
            ),
            began_with=began_with,
            approximate=approximate,
        )
        logger.info("attention by %s: %s", self.choice.name, self.choice.reason)

    def apply(self, transformer: Any, *, is_streamed: bool) -> None:
        """Have a transformer compute as was chosen; may be called again.

        Raises:
            InvalidRequest: its blocks are to be compiled, but must be streamed.
        """
        if not isinstance(transformer, FramePackTransformer3DModel):
            return
        if self.choice is not None:
            use_backend(transformer, self.choice.name)
        if self._compile == "off":
            return
        if is_streamed:
            raise InvalidRequest(
                f"compile blocks was asked for, but the transformer does not fit {self._device} as "
                "a whole, and blocks that are streamed cannot be compiled; use --compile off"
            )
        if transformer.transformer_blocks[0]._compiled_call_impl is None:
            logger.warning(
                "the transformer's blocks are compiled in the first step, which takes a minute or "
                "more; other sizes and prompt lengths may compile again"
            )
            transformer.compile_repeated_blocks()

    @property
    def record(self) -> Mapping[str, str]:
        """What changes roundings, for the run's record."""
        chosen = {"attention": self.choice.name} if self.choice is not None else {}
        kernels = "triton" if takes_triton(self._device, self._dtype) else "torch"
        return {**chosen, "compile": self._compile, "kernels": kernels}
