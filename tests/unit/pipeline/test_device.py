"""Device and number format follow what the machine can do, or what was asked for."""

from pathlib import Path

import pytest
import torch

from framepack.domain.errors import InvalidRequest
from framepack.pipeline import device as device_module
from framepack.pipeline.device import (
    backend_name,
    choose_device,
    choose_dtype,
    describe_device,
    has_fast_bf16,
    keep_freed_memory,
    memory_bytes,
)

CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")


def _accelerator(monkeypatch: pytest.MonkeyPatch, name: str | None, count: int = 1) -> None:
    found = torch.device(name) if name else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)


def test_without_an_accelerator_the_cpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    _accelerator(monkeypatch, None)
    assert choose_device() == CPU


@pytest.mark.parametrize(
    ("found", "chosen"), [("cuda", "cuda:0"), ("xpu", "xpu:0"), ("mps", "mps")]
)
def test_an_accelerator_is_preferred(
    monkeypatch: pytest.MonkeyPatch, found: str, chosen: str
) -> None:
    _accelerator(monkeypatch, found)
    assert str(choose_device()) == chosen
    assert choose_device("cpu") == CPU


def test_one_of_several_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _accelerator(monkeypatch, "cuda", count=2)
    assert str(choose_device("cuda:1")) == "cuda:1"


@pytest.mark.parametrize("asked", ["cuda:2", "xpu", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    _accelerator(monkeypatch, "cuda", count=2)
    with pytest.raises(InvalidRequest, match="finds cuda:0, cuda:1, cpu"):
        choose_device(asked)


@pytest.mark.parametrize(("is_fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_cpu_runs_bf16_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, is_fast: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(device_module, "_cpu_has_bf16", lambda: is_fast)
    assert choose_dtype(CPU) == choose_dtype(CPU, "vae") == dtype


def test_accelerators_run_encoders_and_vae_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "has_fast_bf16", lambda _: True)
    assert choose_dtype(CUDA, "transformer") == torch.bfloat16
    assert choose_dtype(CUDA, "vae") == choose_dtype(CUDA, "text_encoder") == torch.float16


def test_the_number_format_can_be_asked_for() -> None:
    assert choose_dtype(CPU, "vae", "float32") == torch.float32
    assert choose_dtype(CUDA, "transformer", "float16") == torch.float16
    with pytest.raises(InvalidRequest, match="float16"):
        choose_dtype(CPU, "vae", "float16")
    with pytest.raises(InvalidRequest, match="choose auto"):
        choose_dtype(CPU, "vae", "int8")


@pytest.mark.parametrize(
    ("probes", "expected"), [((False, False), False), ((True, False), True), ((False, True), True)]
)
def test_torchs_probes_are_asked(
    monkeypatch: pytest.MonkeyPatch, probes: tuple[bool, bool], expected: bool
) -> None:
    monkeypatch.setattr(device_module.platform, "machine", lambda: "x86_64")
    for name, answer in zip(("avx512_bf16", "amx_tile"), probes, strict=True):
        monkeypatch.setattr(
            torch.cpu, f"_is_{name}_supported", lambda answer=answer: answer, raising=False
        )
    assert has_fast_bf16(CPU) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2\n", False),
    ],
)
def test_without_probes_linux_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: bool
) -> None:
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}")
    flags = device_module._linux_cpu_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(device_module, "_linux_cpu_flags", lambda: flags)
    assert has_fast_bf16(CPU) is expected


def test_no_cpuinfo_means_no_flags(tmp_path: Path) -> None:
    assert device_module._linux_cpu_flags(tmp_path / "missing") == frozenset()


def test_the_cpu_describes_itself() -> None:
    info = describe_device(CPU)
    assert backend_name(CPU) == info.backend == "cpu"
    assert 0 < info.free_bytes <= info.total_bytes
    assert memory_bytes(CPU)[1] == info.total_bytes
    assert info.name


def test_keeping_freed_memory_says_whether_it_works() -> None:
    assert isinstance(keep_freed_memory(), bool)
