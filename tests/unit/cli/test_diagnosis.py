"""What a machine can run is said in plain words, with what it would need for more."""

from dataclasses import replace

import pytest

from framepack.cli.diagnosis import Finding, diagnose
from framepack.cli.machine import Attention, Compute, Folder, Machine, ModelFiles
from framepack.pipeline.hardware import Card
from framepack.pipeline.published import Allowed

CPU = Compute("2.13.0+cpu", device="cpu", dtype="float32", reason="no accelerator", threads=2)
GPU = Compute(
    "2.13.0+cu130",
    backend="cuda 13.0",
    device="cuda",
    device_name="NVIDIA H200",
    memory_gb=150.0,
    dtype="bfloat16",
    reason="an accelerator",
)
CARD = Card("nvidia", "NVIDIA H200", 150.0, "580.1")
I2V = ModelFiles("i2v", "FramePack 13B", False, "missing", sources=("https://hub/a",))
MACHINE = Machine(
    framepack="0.1.0",
    python="3.12.1, 64 bit",
    system="Linux",
    cores=2,
    memory_gb=16.0,
    free_memory_gb=8.0,
    cards=(),
    compute=CPU,
    folders=(Folder("outputs", "/o", 100.0, True), Folder("models", "/m", 100.0, True)),
    encoder="libx264",
    models=(ModelFiles("tiny", "embedded", True, size_gb=0.02, sha256="ab" * 32), I2V),
    settings_file="/s",
    offline=False,
)


def _attention(attention: Attention) -> Finding:
    return _finding(replace(MACHINE, compute=replace(CPU, attention=attention)), "attention")


@pytest.mark.parametrize(
    ("attention", "text"),
    [
        (Attention("auto", candidates=("sdpa", "onednn")), "onednn, which is faster"),
        (Attention("auto", candidates=("sdpa",)), "sdpa, the only one"),
        (Attention("auto", candidates=("sdpa", "cudnn")), "sdpa, cudnn can run; the first video"),
        (
            Attention("auto", candidates=("sdpa", "cudnn"), measured={"9 tokens": "cudnn (x)"}),
            "measured here: for 9 tokens cudnn (x)",
        ),
        (Attention("sage"), "sage, which was asked for"),
    ],
)
def test_who_computes_attention_is_said(attention: Attention, text: str) -> None:
    found = _attention(attention)
    assert found.level == "good"
    assert found.text.startswith(text)


def test_attention_that_cannot_run_is_a_problem() -> None:
    found = _attention(Attention("flash", problem="FlashAttention 2 is not installed; pip"))
    assert (found.level, found.text) == ("problem", "flash: FlashAttention 2 is not installed; pip")


def _finding(machine: Machine, topic: str) -> Finding:
    return next(finding for finding in diagnose(machine) if finding.topic == topic)


def test_a_cpu_runs_the_embedded_model_and_says_what_the_large_one_needs() -> None:
    assert not any(finding.level == "problem" for finding in diagnose(MACHINE))
    assert _finding(MACHINE, "tiny").text.startswith("embedded: yes")
    large = _finding(MACHINE, "i2v")
    assert large.text.startswith("FramePack 13B: no, there is no accelerator")
    assert "https://hub/a" in large.text
    assert "6 GB" in large.advice


def test_a_large_card_lacks_only_the_weights() -> None:
    large = _finding(replace(MACHINE, cards=(CARD,), compute=GPU), "i2v")
    assert large.text.startswith(
        "FramePack 13B: yes (the transformer fits as a whole), once its weights are here"
    )
    assert large.advice.startswith("`framepack models download i2v`")


def test_a_large_card_with_weights_runs_everything() -> None:
    here = replace(I2V, is_present=True, problem="", size_gb=43.4)
    machine = replace(MACHINE, cards=(CARD,), compute=GPU, models=(here,))
    text = "FramePack 13B: yes (the transformer fits as a whole), 43.4 GB here"
    assert _finding(machine, "i2v") == Finding("i2v", "good", text)


def test_a_small_card_is_told_how_much_is_needed() -> None:
    small = replace(GPU, memory_gb=4.3)
    large = _finding(replace(MACHINE, cards=(CARD,), compute=small), "i2v")
    assert "cuda has 4.3 GB" in large.text
    assert "6 GB" in large.advice


@pytest.mark.parametrize(
    ("memory_gb", "host_gb", "text"),
    [
        (25.8, 64.0, "all blocks of the transformer stay on it"),
        (8.6, 64.0, "blocks stay on it, the others come from the machine's memory"),
        (8.6, 16.0, "blocks stay on it, the others come from its files"),
    ],
)
def test_a_card_in_between_is_told_what_is_streamed(
    memory_gb: float, host_gb: float, text: str
) -> None:
    between = replace(GPU, memory_gb=memory_gb)
    machine = replace(MACHINE, cards=(CARD,), compute=between, memory_gb=host_gb)
    assert text in _finding(machine, "i2v").text


def test_what_the_settings_allow_is_reckoned_with_and_said() -> None:
    card = replace(GPU, memory_gb=25.8)
    machine = replace(MACHINE, cards=(CARD,), compute=card, memory_gb=64.0)
    allowed = Allowed(budget_gb=6.0, quantize={"transformer": "fp8"})
    found = _finding(replace(machine, allowed=allowed), "i2v").text
    assert "of the transformer's 62 blocks stay on it" in found
    assert "settings: vram_budget 6.0 GB, quantize transformer fp8" in found
    none = _finding(replace(machine, allowed=Allowed(budget_gb=2.0)), "i2v")
    assert none.level == "note"
    assert "does not fit as the settings have it (vram_budget 2.0 GB)" in none.text
    assert none.advice


def test_a_card_with_a_torch_for_the_cpu_is_a_problem() -> None:
    found = _finding(replace(MACHINE, cards=(CARD,)), "accelerator")
    assert found.level == "problem"
    assert "built for cpu, not cuda" in found.text
    assert "run.py setup" in found.advice


def test_a_card_that_torch_cannot_use_is_a_problem() -> None:
    blind = replace(CPU, torch="2.13.0+cu130", backend="cuda 13.0")
    found = _finding(replace(MACHINE, cards=(CARD,), compute=blind), "accelerator")
    assert found.level == "problem"
    assert "driver" in found.advice


def test_a_card_left_unused_by_the_settings_is_no_problem() -> None:
    chosen = replace(CPU, backend="cuda 13.0", is_chosen=True)
    found = _finding(replace(MACHINE, cards=(CARD,), compute=chosen), "accelerator")
    assert found.level == "note"


def test_torch_that_does_not_start_is_a_problem_for_every_model() -> None:
    broken = replace(MACHINE, compute=Compute("", problem="libcudart.so not found"))
    assert _finding(broken, "torch").level == "problem"
    assert _finding(broken, "tiny").level == "problem"
    assert "no device to compute on" in _finding(broken, "i2v").text


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (Folder("outputs", "/o", 5, False), "OUTPUTS_DIR"),
        (Folder("outputs", "/o", 0.1, True), "free"),
    ],
)
def test_a_folder_that_cannot_take_a_video_is_a_problem(folder: Folder, expected: str) -> None:
    found = _finding(replace(MACHINE, folders=(folder,)), "outputs folder")
    assert found.level == "problem"
    assert expected in found.advice


def test_a_download_that_would_not_fit_or_may_not_start_is_said() -> None:
    tight = (Folder("models", "/m", 10.0, True),)
    machine = replace(MACHINE, cards=(CARD,), compute=GPU, folders=tight, offline=True)
    advice = _finding(machine, "i2v").advice
    assert "10 GB free" in advice
    assert "offline" in advice


def test_no_encoder_is_a_problem() -> None:
    assert _finding(replace(MACHINE, encoder=""), "H.264").level == "problem"


def test_missing_embedded_weights_are_a_problem() -> None:
    gone = ModelFiles("tiny", "embedded", False, "install it again")
    assert _finding(replace(MACHINE, models=(gone,)), "tiny").level == "problem"
