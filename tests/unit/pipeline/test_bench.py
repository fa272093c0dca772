"""A machine's figures: what is reckoned follows from what is measured, and nothing is made up."""

import dataclasses
from typing import Any

import pytest
import torch

from framepack.domain.choices import AttentionName
from framepack.domain.settings import Settings
from framepack.models import attention
from framepack.models.attention import dispatch_name
from framepack.models.spec import PRESETS
from framepack.pipeline import bench, bench_published
from framepack.pipeline.attention import AttentionChoice
from framepack.pipeline.attention_probe import ProbeMemory
from framepack.pipeline.bench import make_video, run_bench
from framepack.pipeline.bench_published import FULL, PublishedEstimate, Trial, measured_size
from framepack.pipeline.components import load_components

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_a_step_at_full_size_is_the_sum_of_its_blocks() -> None:
    fixed, double, single = 0.5, 3.0, 2.0
    trial = Trial(
        three=fixed + double + 2 * single,
        two=fixed + double + single,
        one=fixed + single,
        attention=1.0,
        num_tokens=1000,
    )
    assert trial.step_s(1000, 1.0) == pytest.approx(fixed + 20 * double + 40 * single)


def test_linear_layers_scale_with_tokens_and_attention_as_it_was_timed() -> None:
    linear, attention = 1.0, 0.25
    block = linear + attention
    trial = Trial(3 * block, 2 * block, block, attention, num_tokens=100)
    assert trial.step_s(1000, 7.0) == pytest.approx(60 * (10 * linear + 7.0))


def test_a_busy_machine_gives_no_negative_block() -> None:
    trial = Trial(three=3.0, two=3.5, one=1.0, attention=0.0, num_tokens=1000)
    assert trial.step_s(1000, 0.0) == pytest.approx(3.0 + 19 + 38)


def test_a_frame_costs_a_section_by_its_frames() -> None:
    estimate = PublishedEstimate.of(1.0, 11.0, num_tokens=18795, measured_tokens=18795)
    assert estimate.section_s == 36.0
    assert estimate.frame_s == 1.0


def test_more_room_measures_more_and_too_little_measures_nothing() -> None:
    assert measured_size(CUDA, torch.bfloat16, int(24e9)) == FULL
    assert measured_size(CUDA, torch.bfloat16, int(6e9)) == FULL
    assert measured_size(CUDA, torch.bfloat16, int(5e9)) == (24, 40)
    assert measured_size(CUDA, torch.bfloat16, int(2e9)) == (0, 0)
    assert measured_size(CPU, torch.float32, int(64e9)) == (8, 8)
    assert measured_size(CPU, torch.float32, int(4e9)) == (0, 0)


def test_the_layers_are_those_of_the_published_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_published, "_fill", lambda *_: None)
    network = bench_published._random_transformer(torch.device("meta"), torch.bfloat16)
    assert network.config.num_attention_heads == bench_published.HEADS
    blocks = [*network.transformer_blocks.parameters()]
    double = sum(each.numel() for each in blocks)
    single = sum(each.numel() for each in network.single_transformer_blocks.parameters()) / 2
    assert 20 * double + 40 * single == pytest.approx(12.46e9, rel=1e-3)
    tokens = bench_published._num_tokens(FULL, is_full=True)
    assert tokens == 18795


def test_the_13b_is_reckoned_from_small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bench_published.FramePackTransformer3DModel
    monkeypatch.setattr(
        bench_published,
        "FramePackTransformer3DModel",
        lambda **fields: plain(
            **fields,
            num_attention_heads=2,
            attention_head_dim=32,
            rope_axes_dim=(8, 12, 12),
            num_refiner_layers=1,
        ),
    )
    monkeypatch.setattr(bench_published, "_decode_s", lambda *_: 2.0)
    monkeypatch.setattr(bench_published, "_ATTENTION_TOKENS", 128)
    seen: list[str] = []
    estimate = bench_published.estimate_published(
        CPU, torch.float32, torch.float32, (8, 8), on_progress=seen.append
    )
    assert (estimate.num_tokens, estimate.measured_tokens) == (18795, 284)
    assert estimate.step_s > 0
    assert estimate.attention in ("sdpa", "onednn")  # all that a CPU has
    assert estimate.section_s == pytest.approx(25 * estimate.step_s + 2.0)
    assert seen == ["layers of the 13B", "its decoder"]


@pytest.mark.parametrize("name", ["sdpa", "onednn"])
def test_attention_is_timed_by_the_back_end_that_was_taken(
    monkeypatch: pytest.MonkeyPatch, name: AttentionName
) -> None:
    taken: list[str] = []

    def onednn(query: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        taken.append("onednn")
        return query

    def dispatched(query: torch.Tensor, *_: torch.Tensor, **given: Any) -> torch.Tensor:
        taken.append("sdpa" if given["backend"] == dispatch_name("sdpa") else "another")
        return query

    monkeypatch.setattr(attention, "attend_with_onednn", onednn)
    monkeypatch.setattr(attention, "dispatch_attention_fn", dispatched)
    with torch.inference_mode():
        bench_published._attention_s(CPU, torch.float32, 400, name)
    assert set(taken) == {name}


def test_back_ends_are_tried_now_and_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def probe(names: list[str], *_: object, memory: ProbeMemory) -> dict[str, float]:
        asked.append(len(memory.all()))
        return {name: 5.0 - number for number, name in enumerate(names)}

    monkeypatch.setattr(bench_published, "find_facts", lambda *_: None)
    monkeypatch.setattr(
        bench_published,
        "choose_attention",
        lambda _, __, ask: AttentionChoice(max(ask(["sdpa", "cudnn"]), key=len), "tried"),
    )
    monkeypatch.setattr(bench_published, "probe_attention", probe)
    chosen, times = bench_published.choose_backend(CPU, torch.float32, 100)
    assert (chosen, times) == ("cudnn", {"sdpa": 5.0, "cudnn": 4.0})
    assert asked == [0]


def test_a_video_has_the_figures_of_its_quickest_round() -> None:
    components = load_components(PRESETS["tiny"], Settings.load(device="cpu", dtype="float32"))
    seen: list[float] = []
    figures = make_video(
        components, rounds=2, sections=1, steps=1, side_px=64, on_progress=seen.append
    )
    assert (figures.width, figures.sections, figures.rounds) == (64, 1, 2)
    assert figures.num_frames == 37
    assert 0 < figures.step_s <= figures.step_median_s
    assert figures.step_s + figures.decode_s + figures.write_s <= figures.total_s
    assert figures.frame_s == pytest.approx(figures.total_s / 37)
    assert seen == [0.5, 1.0]


@pytest.fixture
def quick_parts(monkeypatch: pytest.MonkeyPatch) -> bench.VideoFigures:
    """A machine that is looked at without making a video."""
    figures = bench.VideoFigures(128, 128, 2, 10, 73, 1, 0.1, 0.11, 1.0, 0.2, 5.0, 5 / 73)
    monkeypatch.setattr(bench, "make_video", lambda *_, **__: figures)
    monkeypatch.setattr(bench, "load_components", lambda *_, **__: _Device())
    monkeypatch.setattr(bench, "busy_percent", lambda: 3.0)
    return figures


class _Device:
    device = CPU


def test_a_quick_look_leaves_the_13b_out_and_says_so(quick_parts: bench.VideoFigures) -> None:
    shares: list[float] = []
    result = run_bench(
        Settings.load(device="cpu"), quick=True, on_progress=lambda _, share: shares.append(share)
    )
    assert result.video == quick_parts
    assert (result.published, result.published_reason) == (None, "left out by --quick")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.usefixtures("quick_parts")
def test_prompt_and_picture_are_encoded_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []

    def load(_: object, settings: Settings) -> _Device:
        kept.append(settings.keep_embeddings)
        return _Device()

    monkeypatch.setattr(bench, "load_components", load)
    run_bench(Settings.load(device="cpu"), quick=True)
    assert kept == [False]


@pytest.mark.usefixtures("quick_parts")
def test_too_little_memory_for_the_13b_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "memory_bytes", lambda _: (int(1e9), int(2e9)))
    result = run_bench(Settings.load(device="cpu", dtype="float32"))
    assert result.published is None
    assert result.published_reason.startswith("1.0 GB are free")


@pytest.mark.usefixtures("quick_parts")
def test_a_device_that_runs_out_of_memory_costs_the_estimate_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> PublishedEstimate:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(bench, "estimate_published", refuse)
    monkeypatch.setattr(bench, "memory_bytes", lambda _: (int(64e9), int(64e9)))
    result = run_bench(Settings.load(device="cpu", dtype="float32"))
    assert result.published is None
    assert "ran out of memory" in result.published_reason
    assert dataclasses.asdict(result) == result.to_dict()
