"""Norm and rotation in place give what the modules give, by torch and by the kernel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import framepack.models
from framepack.models import norm_rope
from framepack.models.attention import HeadNorm, rotate
from framepack.models.norm_rope import norm_and_turn, norm_and_turn_in_torch, takes_triton

CPU = torch.device("cpu")

# What the interpreter runs; the same cases as below, printed as relative distances.
INTERPRETED = """
import torch
from framepack.models.norm_rope import norm_and_turn_in_torch
from framepack.models.triton_norm_rope import norm_and_turn_by_triton

torch.manual_seed(0)
for dtype in (torch.float32, torch.bfloat16):
    cases = (5, 2, 3, 64, 3), (3, 1, 2, 12, None), (4, 2, 24, 128, 4)
    for tokens, parts, heads, width, turned in cases:
        wide = torch.randn(tokens, parts * heads * width + 6).to(dtype)
        weight = torch.randn(parts, width).to(dtype)
        phases = None
        if turned is not None:
            angles = torch.randn(turned + 1, 1, 1, width // 2)
            phases = torch.polar(torch.ones_like(angles), angles)[1:]
        expected = wide.clone()
        for each, run in ((expected, norm_and_turn_in_torch), (wide, norm_and_turn_by_triton)):
            run(each[:, :-6].unflatten(-1, (parts, heads, width)), weight, 1e-6, phases)
        assert torch.equal(wide[:, -6:], expected[:, -6:])
        print(float((wide.float() - expected.float()).norm() / expected.float().norm()))
"""


def case(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """[5, 2, 3, 16] heads, [2, 16] weights and phases of the first three tokens."""
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(5, 2, 3, 16, generator=generator).to(dtype)
    weight = torch.randn(2, 16, generator=generator).to(dtype)
    angles = torch.randn(3, 1, 1, 8, generator=generator)
    return heads, weight, torch.polar(torch.ones_like(angles), angles)


def by_modules(heads: Tensor, weight: Tensor, phases: Tensor | None) -> Tensor:
    """The same by the layers of the network, in double precision."""
    parts = []
    for part, scale in zip(heads.double().unbind(1), weight.double(), strict=True):
        norm = HeadNorm(16, eps=1e-6).double()
        norm.weight.data.copy_(scale)
        parts.append(norm(part))
    normed = torch.stack(parts, dim=1)
    if phases is not None:
        pairs = torch.view_as_real(phases[:, 0, 0])[None]
        for number, part in enumerate(parts):
            normed[: len(phases), number] = rotate(part[None, : len(phases)], pairs)[0]
    return normed.detach()


@pytest.mark.parametrize("is_turned", [True, False])
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-6), (torch.bfloat16, 5e-3)], ids=str
)
def test_result_is_that_of_the_modules(dtype: torch.dtype, limit: float, is_turned: bool) -> None:
    heads, weight, phases = case(dtype)
    expected = by_modules(heads, weight, phases if is_turned else None)
    norm_and_turn(heads, weight, 1e-6, phases if is_turned else None)
    assert heads.dtype == dtype
    assert (heads.double() - expected).norm() <= limit * expected.norm()


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_gives_what_torch_gives_in_its_interpreter() -> None:
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    distances = [float(line) for line in done.stdout.split()]
    assert len(distances) == 6
    assert max(distances[:3]) < 1e-6
    assert max(distances[3:]) < 1e-2


class TestWhoDoesIt:
    @pytest.fixture(autouse=True)
    def forgotten(self) -> Iterator[None]:
        takes_triton.cache_clear()
        yield
        takes_triton.cache_clear()

    def test_torch_without_cuda(self) -> None:
        assert not takes_triton(CPU, torch.float32)

    def test_the_kernel_where_it_was_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[Any, ...]] = []
        monkeypatch.setattr(norm_rope, "takes_triton", lambda *_: True)
        monkeypatch.setattr(norm_rope, "_kernel", lambda: lambda *given: calls.append(given))
        heads, weight, phases = case()
        norm_and_turn(heads, weight, 1e-6, phases)
        assert [given[0] is heads and given[3] is phases for given in calls] == [True]

    def test_the_kernel_is_launched_on_the_device_of_the_tokens(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, launched = [0], list[int]()

        @contextmanager
        def on(device: torch.device) -> Iterator[None]:
            now.append(device.index)
            yield
            now.pop()

        kernels: Any = ModuleType("framepack.models.triton_norm_rope")
        kernels.norm_and_turn_by_triton = lambda *_: launched.append(now[-1])
        monkeypatch.setattr(framepack.models, "triton_norm_rope", kernels, raising=False)
        monkeypatch.setitem(sys.modules, kernels.__name__, kernels)
        monkeypatch.setattr(torch.cuda, "device", on)
        heads: Any = SimpleNamespace(device=torch.device("cuda:1"))
        norm_rope._kernel.__wrapped__()(heads, torch.ones(1), 1e-6, None)
        assert (launched, now) == ([1], [0])

    def test_a_kernel_that_gives_torchs_numbers_is_taken(self) -> None:
        assert norm_rope._agrees(lambda: norm_and_turn_in_torch, CPU, torch.bfloat16)

    def test_one_that_does_not_compile_is_not(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(*_: Any) -> None:
            raise RuntimeError("Failed to find C compiler\nand more")

        caplog.set_level("INFO")
        assert not norm_rope._agrees(lambda: broken, CPU, torch.float32)
        assert "Triton does not run: Failed to find C compiler" in caplog.text
        assert "and more" not in caplog.text

    def test_one_that_gives_other_numbers_is_not(self, caplog: pytest.LogCaptureFixture) -> None:
        def wrong(heads: Tensor, *given: Any) -> None:
            norm_and_turn_in_torch(heads, *given)
            heads.mul_(1.05)

        assert not norm_rope._agrees(lambda: wrong, CPU, torch.float32)
        assert "Triton gives other numbers" in caplog.text
