"""Who computes attention: as asked, as the run began, or the fastest exact one, by measurement."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from framepack.domain.choices import Attention, AttentionName
from framepack.domain.errors import InvalidRequest
from framepack.models.attention_backends import AttentionFacts
from framepack.pipeline import attention_probe, hardware
from framepack.pipeline.attention import (
    check_attention,
    choose_attention,
    describe_attention,
    find_facts,
)
from framepack.pipeline.attention_probe import (
    PROBE_S,
    AttentionShape,
    ProbeMemory,
    fastest,
    num_probed_queries,
    probe_attention,
)

CPU_DEVICE = torch.device("cpu")
PACKAGES = {"flash_attn": "2.8.3", "sageattention": "2.2.0"}
ADA = AttentionFacts("cuda", "bfloat16", 128, capability=(8, 9), packages=PACKAGES)
CPU = AttentionFacts("cpu", "float32", 128, has_onednn=True, prefers_onednn=True)
SHAPE = AttentionShape(64, 2, 8)


def never(_: Sequence[AttentionName]) -> Mapping[AttentionName, float]:
    raise AssertionError("there was no need to measure")


class TestChoice:
    def test_what_is_asked_for_is_taken(self) -> None:
        assert choose_attention("flash", ADA, never, began_with="sdpa").name == "flash"

    @pytest.mark.parametrize(("asked", "words"), [("xformers", "pip install"), ("onednn", "cuda")])
    def test_what_cannot_run_is_refused(self, asked: Attention, words: str) -> None:
        with pytest.raises(InvalidRequest, match=f"attention {asked} was asked for.*{words}"):
            check_attention(asked, ADA)
        check_attention("auto", ADA)
        check_attention("sage", ADA)

    def test_auto_measures_the_exact_ones(self) -> None:
        asked: list[Sequence[AttentionName]] = []

        def probe(names: Sequence[AttentionName]) -> Mapping[AttentionName, float]:
            asked.append(names)
            return {"sdpa": 3.0, "cudnn": 2.0, "flash": 2.5}

        choice = choose_attention("auto", ADA, probe)
        assert asked == [["sdpa", "cudnn", "flash"]]
        assert choice.name == "cudnn"
        assert choice.reason == "measured: cudnn 2.00 ms, flash 2.50 ms, sdpa 3.00 ms"

    def test_a_run_that_goes_on_keeps_its_own_where_that_is_here(self) -> None:
        assert choose_attention("auto", ADA, never, began_with="flash").name == "flash"
        assert choose_attention("auto", ADA, never, began_with="sage").name == "sage"
        gone = replace(ADA, packages={})
        assert choose_attention("auto", gone, lambda _: {}, began_with="flash").name == "sdpa"

    def test_sage_is_for_those_who_ask_for_speed(self) -> None:
        assert choose_attention("auto", ADA, never, approximate=True).name == "sage"
        assert choose_attention("sdpa", ADA, never, approximate=True).name == "sdpa"
        assert choose_attention("auto", CPU, never, approximate=True).name == "onednn"

    def test_a_processor_goes_by_its_rule_and_not_by_the_clock(self) -> None:
        assert choose_attention("auto", CPU, never).name == "onednn"
        plain = replace(CPU, prefers_onednn=False)
        assert choose_attention("auto", plain, never).name == "sdpa"

    @pytest.mark.parametrize(
        ("times", "expected"),
        [
            ({}, "sdpa"),
            ({"sdpa": 2.0, "cudnn": 1.0}, "cudnn"),
            ({"sdpa": 2.0, "cudnn": 1.99}, "sdpa"),
            ({"sdpa": 2.0, "flash": 3.0}, "sdpa"),
            ({"flash": 3.0}, "flash"),
        ],
    )
    def test_torch_stays_unless_another_is_clearly_faster(
        self, times: dict[AttentionName, float], expected: str
    ) -> None:
        assert fastest(times) == expected


class TestFacts:
    def test_this_machine_is_described(self) -> None:
        facts = find_facts(CPU_DEVICE, torch.float32, 32)
        assert (facts.device, facts.dtype, facts.head_dim) == ("cpu", "float32", 32)
        assert facts.capability is None

    def test_a_package_that_does_not_import_is_told_from_one_that_is_missing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from framepack.pipeline import attention

        there = {"flash_attn": "2.8.3", "xformers": "0.0.33"}
        monkeypatch.setattr(attention, "package_version", there.get)
        monkeypatch.setattr(attention.attention_dispatch, "_CAN_USE_FLASH_ATTN", False)
        monkeypatch.setattr(attention.attention_dispatch, "_CAN_USE_XFORMERS_ATTN", True)
        facts = find_facts(CPU_DEVICE, torch.float32, 32)
        assert facts.packages == there
        assert facts.broken == {"flash_attn"}

    def test_packages_are_known_by_the_name_they_are_imported_by(self) -> None:
        assert hardware.package_version("no_such_package") is None
        assert hardware.package_version("pydantic_settings") != "0"
        assert hardware.package_version("json") == "0"


class Trial:
    """A clock, and back ends that take what they are told to."""

    def __init__(self, costs: Mapping[str, float], *, tokens: int = 64) -> None:
        self.now = 0.0
        self.costs = costs
        self.tokens = tokens
        self.calls: list[tuple[str, int]] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, backend: str) -> Tensor:
        name = str(backend.value)  # type: ignore[attr-defined]
        self.calls.append((name, query.shape[1]))
        self.now += self.costs[name] * query.shape[1] / self.tokens
        if name == "flash":
            raise RuntimeError("FlashAttention only supports Ampere GPUs or newer\nmore")
        return query * 2 if name == "xformers" else query.clone()

    def times(self, memory: ProbeMemory, *names: AttentionName) -> dict[AttentionName, float]:
        shape = replace(SHAPE, tokens=self.tokens)
        return probe_attention(
            names,
            CPU_DEVICE,
            torch.float32,
            shape,
            memory=memory,
            attend=self.attend,
            clock=lambda: self.now,
        )


class TestProbe:
    @pytest.fixture
    def memory(self, tmp_path: Path) -> ProbeMemory:
        return ProbeMemory(tmp_path / "cache" / "attention.json")

    def test_it_times_all_and_remembers(self, memory: ProbeMemory) -> None:
        trial = Trial({"native": 0.02, "_native_cudnn": 0.01})
        expected = pytest.approx({"sdpa": 20.0, "cudnn": 10.0})
        assert trial.times(memory, "sdpa", "cudnn") == expected
        num_calls = len(trial.calls)
        assert trial.times(memory, "sdpa", "cudnn") == expected
        assert len(trial.calls) == num_calls
        Trial({"native": 0.02, "_native_cudnn": 0.01}, tokens=128).times(memory, "sdpa", "cudnn")
        assert len(memory.all()) == 2

    def test_another_version_of_a_package_is_measured_anew(
        self, memory: ProbeMemory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for version in ("2.2.0", "2.3.0"):
            monkeypatch.setattr(attention_probe, "package_version", lambda _, v=version: v)
            Trial({"native": 0.02, "sage": 0.01}).times(memory, "sdpa", "sage")
        assert ["sageattention 2.2.0" in key for key in memory.all()] == [True, False]

    def test_one_that_fails_or_gives_other_numbers_is_left_out(
        self, memory: ProbeMemory, caplog: pytest.LogCaptureFixture
    ) -> None:
        trial = Trial({"native": 0.02, "flash": 0.001, "xformers": 0.001})
        with caplog.at_level(logging.INFO):
            found = trial.times(memory, "sdpa", "flash", "xformers")
        assert list(found) == ["sdpa"]
        assert "attention by flash does not run: FlashAttention only supports" in caplog.text
        assert "attention by xformers gives other numbers" in caplog.text

    def test_a_slow_device_tries_fewer_queries_within_a_second(self, memory: ProbeMemory) -> None:
        trial = Trial({"native": 2.0, "_native_cudnn": 1.0}, tokens=8192)
        found = trial.times(memory, "sdpa", "cudnn")
        assert found == pytest.approx({"sdpa": 2000.0, "cudnn": 1000.0})
        assert {count for _, count in trial.calls} == {1024, 640}
        assert trial.now < 2 * PROBE_S

    def test_when_the_second_is_over_the_rest_is_not_tried(self, memory: ProbeMemory) -> None:
        trial = Trial({"native": 30.0, "_native_cudnn": 1.0})
        assert list(trial.times(memory, "sdpa", "cudnn")) == ["sdpa"]

    @pytest.mark.parametrize(
        ("tokens", "whole_s", "expected"),
        [(18795, 0.01, 18795), (18795, 0.5, 4096), (18795, 90.0, 128), (100, 90.0, 100)],
    )
    def test_queries_follow_the_time_that_all_take(
        self, tokens: int, whole_s: float, expected: int
    ) -> None:
        assert num_probed_queries(tokens, whole_s, 3) == expected

    @pytest.mark.parametrize("content", ["{", "[1]", '{"a": 3}', '{"a": {"sdpa": "x"}}'])
    def test_a_damaged_memory_is_none(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "attention.json"
        path.write_text(content)
        memory = ProbeMemory(path)
        assert memory.all() == {}
        memory.put("a", {"sdpa": 1.0})
        assert memory.get("a") == {"sdpa": 1.0}

    def test_it_leaves_the_random_state_alone_and_runs_for_real(self, memory: ProbeMemory) -> None:
        state = torch.get_rng_state()
        found = probe_attention(["sdpa"], CPU_DEVICE, torch.float32, SHAPE, memory=memory)
        assert found["sdpa"] > 0
        assert torch.equal(torch.get_rng_state(), state)


class TestReport:
    def test_it_tells_what_was_measured_on_this_device(self, tmp_path: Path) -> None:
        memory = ProbeMemory(tmp_path / "attention.json")
        probe_attention(["sdpa"], CPU_DEVICE, torch.float32, SHAPE, memory=memory)
        memory.put("Some GPU; bfloat16; 7 tokens, 2x8; torch 2", {"sdpa": 1.0})
        report = describe_attention("auto", CPU, CPU_DEVICE, memory)
        assert list(report.measured) == ["64 tokens, 2x8"]
        assert report.measured["64 tokens, 2x8"].startswith("sdpa (sdpa ")
        assert report.candidates == ("sdpa", "onednn")
        assert report.problem == ""

    def test_it_tells_why_what_is_asked_for_cannot_run(self, tmp_path: Path) -> None:
        memory = ProbeMemory(tmp_path / "attention.json")
        report = describe_attention("flash", replace(ADA, packages={}), CPU_DEVICE, memory)
        assert "pip install flash-attn" in report.problem
