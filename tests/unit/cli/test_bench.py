"""The report of a machine can be passed on: it has every figure, and says nobody's name."""

import getpass
import json
import platform
from pathlib import Path
from typing import Any

import pytest

from framepack.cli import bench_report as report_module
from framepack.cli.bench_report import bench_report, processor_name, report_text
from framepack.cli.machine import Compute, Folder, Machine, ModelFiles
from framepack.cli.main import main
from framepack.pipeline import bench
from framepack.pipeline.bench import BenchResult, VideoFigures
from framepack.pipeline.bench_published import PublishedEstimate
from framepack.pipeline.hardware import Card

VIDEO = VideoFigures(128, 128, 2, 10, 73, 3, 0.0176, 0.0187, 1.25, 0.2, 5.5, 5.5 / 73)
ESTIMATE = PublishedEstimate.of(
    0.8,
    1.8,
    num_tokens=18795,
    measured_tokens=18795,
    attention="cudnn",
    attention_ms={"sdpa": 11.5, "cudnn": 7.25},
)
MACHINE = Machine(
    framepack="0.1.0",
    python="3.12.1, 64 bit",
    system="Linux 6.1, x86_64",
    cores=16,
    memory_gb=128.4,
    free_memory_gb=100.0,
    cards=(Card("nvidia", "NVIDIA H200", 150.0, "580.1"),),
    compute=Compute(
        "2.13.0+cu130",
        backend="cuda 13.0",
        device="cuda:0",
        device_name="NVIDIA H200",
        memory_gb=150.04,
        dtype="bfloat16",
        threads=16,
    ),
    folders=(Folder("outputs", "/home/jo/videos", 100.0, True),),
    encoder="libx264",
    models=(
        ModelFiles("tiny", "embedded", True),
        ModelFiles("i2v", "13B", False, sources=("https://hub/a",)),
    ),
    settings_file="/home/jo/.config/framepack/settings.toml",
    offline=False,
)


def result(**changes: Any) -> BenchResult:
    fields: dict[str, Any] = {
        "quick": False,
        "busy_percent": 2.0,
        "video": VIDEO,
        "published": ESTIMATE,
        "published_reason": "",
        "peak_host_gb": 1.25678,
        "peak_device_gb": 0.5,
        "elapsed_s": 58.0,
    }
    return BenchResult(**{**fields, **changes})


def test_the_text_has_the_figures_and_calls_the_estimate_one() -> None:
    text = report_text(bench_report(MACHINE, result()))
    assert text.splitlines()[0].endswith("NVIDIA H200")
    assert "| a denoising step | 17.6 ms | 800 ms |" in text
    assert "| decoding a section | 1.25 s | 1.8 s |" in text
    assert "**estimate**" in text
    assert "1.26 GB and 0.50 GB on the device" in text
    assert "150 GB, bfloat16" in text
    assert "Its attention: cudnn, of cudnn 7.25 ms, sdpa 11.5 ms." in text
    assert "Other programs" not in text


def test_an_estimate_from_fewer_tokens_says_so() -> None:
    scaled = PublishedEstimate.of(80.0, 900.0, num_tokens=18795, measured_tokens=284)
    text = report_text(bench_report(MACHINE, result(published=scaled)))
    assert "with 284 tokens, and scaled" in text
    assert "| decoding a section | 1.25 s | 900 s |" in text


def test_what_was_left_out_and_a_busy_machine_are_told() -> None:
    left_out = result(published=None, published_reason="left out by --quick", busy_percent=60.4)
    text = report_text(bench_report(MACHINE, left_out))
    assert "The 13B: left out by --quick." in text
    assert "| a denoising step | 17.6 ms | - |" in text
    assert "Other programs used 60 % of the processor" in text


def test_nothing_in_the_report_tells_whose_machine_it_is() -> None:
    report = json.dumps(bench_report(MACHINE, result()))
    for secret in ("/home/jo", "settings.toml", str(Path.cwd()), str(Path.home())):
        assert secret not in report
    node = platform.node()
    words = report.replace('"', " ").replace(",", " ").split()
    assert not node or node not in words
    assert getpass.getuser() not in words


def test_models_that_cannot_run_here_are_not_listed() -> None:
    machine = bench_report(MACHINE, result())["machine"]
    assert machine["models_here"] == ["tiny"]
    assert machine["device_memory_gb"] == 150.0


def test_the_processor_is_named_as_its_maker_does(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9654\nflags\t: fpu\n")
    assert processor_name(info) == "AMD EPYC 9654"
    assert processor_name(tmp_path / "none") != ""


@pytest.fixture
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run_bench", lambda *_, **__: result())
    monkeypatch.setattr(report_module, "_commit", lambda: "abc1234")


@pytest.mark.usefixtures("_measured")
def test_the_report_is_written_with_its_text_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    assert main(["bench", "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == printed
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["machine"]["commit"] == "abc1234"
    assert report["result"]["peak_host_gb"] == 1.257
    assert report["result"]["published"]["step_s"] == 0.8


@pytest.mark.usefixtures("_measured")
def test_json_is_the_report_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("report.txt", "must end in .json"), ("no/report.json", "there is no folder")],
)
def test_a_file_that_cannot_be_is_refused_before_measuring(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    said: str,
) -> None:
    monkeypatch.setattr(bench, "run_bench", lambda *_, **__: pytest.fail("measured"))
    assert main(["bench", "--out", str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("report*"))


@pytest.mark.parametrize("taken", ["report.json", "report.md"])
def test_a_folder_in_the_place_of_a_file_is_told_before_measuring(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    taken: str,
) -> None:
    (tmp_path / taken).mkdir()
    monkeypatch.setattr(bench, "run_bench", lambda *_, **__: pytest.fail("measured"))
    assert main(["bench", "--device", "cpu", "--out", str(tmp_path / "report.json")]) == 2
    assert f"{taken} exists and is no file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("report*")] == [taken]
