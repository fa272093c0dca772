"""How the transformer computes: what is asked for is checked first, applied, and recorded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.networks import build, predict, relative_error, section_inputs

from framepack.domain.choices import Compile, Offload
from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import inverted_indices
from framepack.pipeline.attention_probe import ProbeMemory
from framepack.pipeline.execution import (
    CompilerFacts,
    Execution,
    check_compile,
    find_compiler_facts,
)

CPU = CompilerFacts("cpu", "Linux", "g++", True, True, has_triton=False)
CUDA = replace(CPU, device="cuda", has_triton=True)


def execution(compile: Compile = "off", **options: Any) -> Execution:
    made = {"offload": "auto", "dtype": torch.float32, "heads": 2, "head_dim": 32} | options
    attention = made.pop("attention", "sdpa")
    return Execution(attention, compile, device=torch.device("cpu"), **made)


def _said_against(asked: Compile, offload: Offload, facts: CompilerFacts) -> str | None:
    try:
        check_compile(asked, offload, facts)
    except InvalidRequest as error:
        return str(error)
    return None


class TestCompiler:
    @pytest.mark.parametrize(
        ("facts", "words"),
        [
            (replace(CPU, has_compiler=False), r"no C\+\+ compiler \(g\+\+\).*apt install g\+\+"),
            (
                replace(CPU, system="Windows", compiler="cl", has_compiler=False),
                r"compiler \(cl\).*Build Tools",
            ),
            (replace(CPU, system="Darwin", has_compiler=False), "xcode-select"),
            (replace(CPU, has_headers=False), "python3-dev"),
            (replace(CUDA, has_triton=False), "pip install triton"),
            (replace(CUDA, has_triton=False, system="Windows"), "pip install triton-windows"),
            (replace(CUDA, has_compiler=False), "no C"),
            (replace(CPU, device="mps"), "not compiled on mps"),
        ],
    )
    def test_what_is_missing_is_said(self, facts: CompilerFacts, words: str) -> None:
        with pytest.raises(InvalidRequest, match=f"compile blocks was asked for, but .*{words}"):
            check_compile("blocks", "auto", facts)
        check_compile("off", "auto", facts)

    @pytest.mark.parametrize(
        "facts", [CPU, CUDA, replace(CUDA, system="Windows", has_compiler=False)]
    )
    def test_with_all_it_needs_it_is_allowed(self, facts: CompilerFacts) -> None:
        assert _said_against("blocks", "model", facts) is None

    @pytest.mark.parametrize("offload", ["balanced", "group", "sequential", "disk"])
    def test_streamed_blocks_are_not_compiled(self, offload: Offload) -> None:
        with pytest.raises(InvalidRequest, match=f"offload {offload}.*--compile off"):
            check_compile("blocks", offload, CPU)
        check_compile("off", offload, CPU)

    @pytest.mark.parametrize(
        ("system", "expected"), [("Linux", "g++"), ("Windows", "cl"), ("Darwin", "clang++")]
    )
    def test_the_compiler_is_the_one_that_torch_calls(
        self, monkeypatch: pytest.MonkeyPatch, system: str, expected: str
    ) -> None:
        monkeypatch.delenv("CXX", raising=False)
        asked: list[str] = []
        facts = find_compiler_facts(torch.device("cpu"), system=system, which=asked.append)
        assert asked == [facts.compiler] == [expected]
        assert not facts.has_compiler
        monkeypatch.setenv("CXX", "g++-14")
        assert find_compiler_facts(torch.device("cpu")).compiler == "g++-14"


@pytest.mark.full
def test_compiled_blocks_compute_the_same() -> None:
    facts = find_compiler_facts(torch.device("cpu"))
    if not (facts.has_compiler and facts.has_headers):
        pytest.skip("there is no C++ compiler, or Python has no headers here")
    model, inputs = build(), section_inputs(inverted_indices(1, 9))
    expected = predict(model, inputs)
    execution("blocks").apply(model, is_streamed=False)
    assert 0 < relative_error(predict(model, inputs), expected) < 1e-5


class TestExecution:
    def test_what_cannot_run_is_refused_before_anything_is_loaded(self) -> None:
        with pytest.raises(InvalidRequest, match="attention cudnn was asked for"):
            execution(attention="cudnn")
        with pytest.raises(InvalidRequest, match="offload disk"):
            execution("blocks", offload="disk")

    def test_the_choice_is_applied_and_recorded(self, tmp_path: Path) -> None:
        model = build()
        ways = execution(memory=ProbeMemory(tmp_path / "attention.json"))
        assert ways.record == {"compile": "off", "kernels": "torch"}
        ways.choose(300)
        assert ways.record == {"attention": "sdpa", "compile": "off", "kernels": "torch"}
        assert model.transformer_blocks[0].attn.processor._attention_backend is None
        ways.apply(model, is_streamed=False)
        assert model.transformer_blocks[0].attn.processor._attention_backend == "native"
        assert model.single_transformer_blocks[0]._compiled_call_impl is None

    def test_a_run_goes_on_as_it_began(self) -> None:
        ways = execution(attention="auto")
        ways.choose(300, began_with="sdpa")
        assert ways.record["attention"] == "sdpa"

    def test_blocks_are_compiled_once_and_said_to_be(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from framepack.pipeline import execution as module

        monkeypatch.setattr(module, "find_compiler_facts", lambda _: CPU)
        model = build()
        ways = execution("blocks")
        assert ways.record["compile"] == "blocks"
        for _ in range(2):
            ways.apply(model, is_streamed=False)
        assert caplog.text.count("compiled in the first step") == 1
        blocks = (*model.transformer_blocks, *model.single_transformer_blocks)
        assert all(block._compiled_call_impl is not None for block in blocks)
        with pytest.raises(InvalidRequest, match="does not fit cpu"):
            ways.apply(model, is_streamed=True)
