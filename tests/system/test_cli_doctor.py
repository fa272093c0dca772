"""What doctor says of this machine, and whether its stored case tells right from wrong."""

import json
from pathlib import Path

import pytest
import torch

from framepack.cli.main import main
from framepack.domain.errors import FramePackError
from framepack.domain.settings import Settings
from framepack.pipeline import sanity
from framepack.pipeline.components import Components
from framepack.pipeline.sanity import Distance, check_sanity, compare, render_case

EXACT = {"device": "cpu", "dtype": "float32"}


def test_doctor_tells_what_runs_here(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json", "--device", "cpu"])
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is (code == 0)
    topics = {finding["topic"]: finding for finding in report["findings"]}
    assert topics["tiny"]["level"] == "good"
    assert topics["i2v"]["text"].startswith("FramePack 13B, bi-directional: no, ")
    assert "https://huggingface.co/lllyasviel/FramePackI2V_HY" in topics["i2v"]["text"]
    assert topics["H.264"]["text"].startswith("libx264")
    assert report["machine"]["compute"]["torch"] == torch.__version__


def test_doctor_speaks_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["ok", "program", "framepack"]
    assert any("6 GB" in line for line in lines) or torch.accelerator.is_available()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sanity_passes_in_every_number_format_of_the_cpu(dtype: str) -> None:
    report = check_sanity(Settings.load(device="cpu", dtype=dtype))
    assert report.passed, report.text


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_sanity_passes_on_an_accelerator(dtype: str) -> None:
    report = check_sanity(Settings.load(dtype=dtype))
    assert report.passed, report.text


@pytest.mark.parametrize("wrong", sanity.WRONG)
def test_sanity_notices_what_is_wrong(wrong: str) -> None:
    report = check_sanity(Settings.load(**EXACT), changes=sanity.WRONG[wrong])
    assert report.distance is not None
    assert not report.passed
    assert "differs from what is stored" in report.text


def test_sanity_of_other_weights_asks_for_a_new_case(tmp_path: Path) -> None:
    tensors, document = sanity.load_tensors(sanity.CASE_PATH)
    document["components"]["transformer"] = "0" * 64
    case = tmp_path / "case.safetensors"
    sanity.save_tensors(case, tensors, document)
    report = check_sanity(Settings.load(**EXACT), case=case)
    assert not report.passed
    assert "transformer changed" in report.text
    assert "--update-sanity" in report.text


def test_a_missing_case_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FramePackError, match="install framepack-studio again"):
        check_sanity(Settings.load(**EXACT), case=tmp_path / "none")


def test_the_case_is_rendered_alike_every_time(components: Components) -> None:
    first, second = render_case(components), render_case(components)
    assert compare(first, second) == Distance(0.0, 0.0)
    assert torch.equal(first.frames, second.frames)


def test_limits_that_cannot_tell_right_from_wrong_are_refused() -> None:
    passing = {"bfloat16": Distance(0.05, 2.0)}
    with pytest.raises(FramePackError, match="wrong solver"):
        sanity._limit_beyond(passing, {"solver": Distance(0.06, 2.5)})
    limit = sanity._limit_beyond(passing, {"solver": Distance(0.06, 9.0)})
    assert limit == Distance(pytest.approx(0.075), pytest.approx(3.0))


def test_nan_is_never_within_limits() -> None:
    assert not Distance(float("nan"), 0.0).is_within(Distance(1.0, 1.0))
