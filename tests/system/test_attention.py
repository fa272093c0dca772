"""A run goes on with the attention it began with, to the bit, whatever is chosen by then."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.helpers.runs import SECTION_FRAMES, SMALL, seconds

import framepack
from framepack.cli.main import main
from framepack.domain.events import SectionDone
from framepack.models import cpu_attention
from framepack.models.linear import has_onednn
from framepack.pipeline.workspace import Workspace

REQUEST: dict[str, Any] = {**SMALL, "duration_s": seconds(2 * SECTION_FRAMES - 3)}

pytestmark = pytest.mark.skipif(not has_onednn(), reason="torch has no oneDNN here")


@pytest.fixture(autouse=True)
def few_tokens_count_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest videos have too few tokens for oneDNN to be worth it."""
    monkeypatch.setattr(cpu_attention, "LEAST_TOKENS", 1)


def settings(**asked: Any) -> framepack.Settings:
    return framepack.Settings.load(device="cpu", dtype="float32", **asked)


def latents(run_dir: Path) -> list[torch.Tensor]:
    files = sorted((run_dir / "latents").glob("*.safetensors"))
    assert len(files) == 2
    return [tensor for file in files for tensor in load_file(file).values()]


def whole(folder: Path, attention: str) -> list[torch.Tensor]:
    asked = settings(attention=attention, keep_runs=True)
    framepack.generate(
        output=folder / f"{attention}.mp4", run_dir=folder / attention, settings=asked, **REQUEST
    )
    return latents(folder / attention)


def begun(folder: Path) -> Path:
    """A run that was stopped after its first section, by oneDNN."""
    asked, run_dir = settings(attention="onednn", keep_runs=True), folder / "stopped"
    events = framepack.stream(output=folder / "out.mp4", run_dir=run_dir, settings=asked, **REQUEST)
    for event in events:
        if isinstance(event, SectionDone):
            break
    events.close()  # type: ignore[attr-defined]
    return run_dir


def test_auto_goes_on_with_what_the_run_began_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = begun(tmp_path)
    assert Workspace.open(run_dir).made_with["attention"] == "onednn"
    for _ in framepack.stream_resume(run_dir, settings=settings(attention="auto")):
        pass
    undisturbed = whole(tmp_path, "onednn")
    assert all(map(torch.equal, latents(run_dir), undisturbed))
    assert "began with" not in caplog.text
    # Another back end would have been noticed.
    assert not any(map(torch.equal, whole(tmp_path, "sdpa"), undisturbed))


def test_another_by_name_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_dir = begun(tmp_path)
    for _ in framepack.stream_resume(run_dir, settings=settings(attention="sdpa")):
        pass
    assert "began with attention onednn and goes on with sdpa" in caplog.text


@pytest.mark.parametrize(
    ("asked", "lacks"),
    [
        (["--attention", "flash"], "attention flash was asked for, but"),
        pytest.param(
            ["--quantize", "transformer=sdnq-int8"],
            "sdnq",
            marks=pytest.mark.skipif(find_spec("sdnq") is not None, reason="sdnq is installed"),
        ),
    ],
)
def test_what_cannot_run_here_is_refused_before_anything_is_said_or_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str], lacks: str
) -> None:
    command = ["generate", "--prompt", "x", "--model", "tiny", "-o", str(tmp_path / "out.mp4")]
    assert main([*command, *asked]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[0].startswith("Error: ")
    assert lacks in " ".join(said)
    assert not list(tmp_path.glob("**/run.json"))
