"""The GPU suite runs on a CPU with a small network: a first run on an accelerator must not fail."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import gpu
from benchmarks.common import JsonLines, read_lines
from benchmarks.gpu_suite.catalogue import CUDA, STAGES, Target
from benchmarks.gpu_suite.faster import is_fp8_layer
from benchmarks.gpu_suite.networks import build_ours
from benchmarks.gpu_suite.profiles import kind_of, shares
from benchmarks.gpu_suite.runner import Measured, Suite, run_stages
from benchmarks.gpu_suite.sizes import PUBLISHED, SMALL
from benchmarks.gpu_suite.videos import FixedSchedule


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    out = tmp_path_factory.mktemp("gpu")
    code = gpu.main(["--config", "small", "--device", "cpu", "--out", str(out)])
    found = {(row["stage"], row["row"]): row for row in read_lines(out / "rows.jsonl")}
    failed = [row for row in found.values() if row["status"].startswith("failed")]
    assert (code, failed) == (0, [])
    assert (out / "profile-ours.txt").stat().st_size > 0
    return found


def test_every_row_of_the_catalogue_comes(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for stage, listed in STAGES.items():
        for each in listed:
            row = rows[stage, each.name]
            assert row["status"] == ("needs CUDA" if each.needs == CUDA else "measured"), row
            assert (row["value"] is None) == (each.needs == CUDA)


def test_ours_agrees_with_diffusers_in_every_row(
    rows: dict[tuple[str, str], dict[str, Any]],
) -> None:
    errors = {name: row["relative_error"] for name, row in rows.items() if "relative_error" in row}
    assert {("step", "ours"), ("memory", "ours"), ("vae", "ours-next")} <= errors.keys()
    assert max(errors.values()) < 1e-4


def test_rows_say_where_they_were_measured_and_what_they_are_to_reach(
    rows: dict[tuple[str, str], dict[str, Any]],
) -> None:
    for row in rows.values():
        assert {"machine", "torch", "commit", "device", "config"} <= row.keys()
    step = rows["step", "ours"]
    assert step["targets"][0] == {"of": "value", "bound": "<=", "number": 0.86, "is_reached": None}
    assert step["against"] == "step/diffusers"
    assert step["ratio"] > 0
    assert step["tokens"] == SMALL.num_tokens


def test_ratios_and_rates_follow_from_the_values(
    rows: dict[tuple[str, str], dict[str, Any]],
) -> None:
    ours, theirs = rows["step", "ours"], rows["step", "diffusers"]
    assert ours["ratio"] == pytest.approx(theirs["value"] / ours["value"], rel=1e-3)
    rate = SMALL.step_flops / ours["value"] / 1e12
    assert ours["tflops_per_s"] == pytest.approx(rate, rel=1e-3)
    assert rows["minute", "sections"]["is_whole"]


def test_the_published_section_has_the_tokens_and_operations_that_were_counted() -> None:
    assert PUBLISHED.num_tokens == 18795
    assert PUBLISHED.step_flops == pytest.approx(255.4e12 + 260.4e12, rel=1e-3)


def suite(tmp_path: Path) -> Suite:
    return Suite(SMALL, torch.device("cpu"), torch.float32, tmp_path, {})


def test_a_stage_that_fails_is_a_row_and_the_next_one_runs(tmp_path: Path) -> None:
    def breaks(_: Suite) -> Iterator[Measured]:
        yield Measured("gemm", 1.0)
        raise ValueError("no such kernel\nwith a long story")

    def works(_: Suite) -> Iterator[Measured]:
        yield Measured("build", 2.0)

    lines = JsonLines(tmp_path / "rows.jsonl")
    passed = run_stages(suite(tmp_path), {"probe": breaks, "weights": works}, lines, limit_s=60)
    found = {row["row"]: row for row in read_lines(tmp_path / "rows.jsonl")}
    assert not passed
    assert found["gemm"]["status"] == "measured"
    assert found["conv3d"]["status"] == "failed: ValueError: no such kernel"
    assert found["sdpa-flash"]["status"] == "needs CUDA"
    assert found["build"]["value"] == 2.0


def test_a_stage_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    def hangs(_: Suite) -> Iterator[Measured]:
        time.sleep(30)
        yield Measured("build", 1.0)

    lines = JsonLines(tmp_path / "rows.jsonl")
    begun = time.monotonic()
    assert not run_stages(suite(tmp_path), {"weights": hangs}, lines, limit_s=0.2)
    assert time.monotonic() - begun < 5
    row = read_lines(tmp_path / "rows.jsonl")[0]
    assert row["status"] == "failed: StageTimeoutError: took more than 0 s"


def test_a_target_is_reached_at_its_number() -> None:
    assert Target("value", "<=", 0.86).is_reached(0.86)
    assert not Target("value", "<=", 0.86).is_reached(0.87)
    assert Target("ratio", ">=", 1.2).is_reached(1.2)
    assert not Target("ratio", ">=", 1.2).is_reached(1.19)


def test_the_fixed_schedule_spares_every_other_step() -> None:
    schedule, added = FixedSchedule(), torch.ones(1)
    spared = []
    for _ in range(5):
        reused = schedule.reuse(added)
        spared.append(reused is not None)
        if reused is None:
            schedule.keep(added)
    assert spared == [False, True, False, True, False]
    assert (schedule.num_asked, schedule.num_computed) == (5, 3)


def test_fp8_is_for_the_large_products_of_the_blocks_alone(tmp_path: Path) -> None:
    network = build_ours(suite(tmp_path))
    chosen = {name for name, module in network.named_modules() if is_fp8_layer(module, name)}
    kinds = {name.split(".", 2)[2] for name in chosen}
    assert {"attn.to_q", "proj_mlp", "proj_out", "ff.net.0.proj", "ff_context.net.2"} <= kinds
    assert not any("norm" in kind or "embed" in kind for kind in kinds)


def test_kernels_are_sorted_by_their_names() -> None:
    names = {
        "fmha_cutlassF_bf16_aligned_64x128_rf_sm80": "attention",
        "nvjet_tst_256x128_64x4_1x2_h_bz_coopA_bias_TNT": "matrix products",
        "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernel>": (
            "elementwise"
        ),
        "Memcpy HtoD (Pinned -> Device)": "copies",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel": "norms",
        "triton_unknown": "other",
    }
    assert {name: kind_of(name) for name in names} == names
    assert shares([("aten::addmm", 3.0), ("aten::copy_", 1.0)]) == {
        "matrix products": 0.75,
        "copies": 0.25,
    }


def test_rows_are_in_the_file_before_the_next_one_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = JsonLines(tmp_path / "rows.jsonl")
    lines.add({"row": 1})
    assert read_lines(tmp_path / "rows.jsonl") == [{"row": 1}]
    assert json.loads(capsys.readouterr().out) == {"row": 1}
