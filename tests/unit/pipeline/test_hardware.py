"""Accelerators are found without torch."""

from pathlib import Path

import pytest

from framepack.domain.settings import Settings
from framepack.pipeline import hardware
from framepack.pipeline.hardware import Card, may_run_published, parse_nvidia


def test_nvidia_table_is_read_even_with_commas_in_a_name() -> None:
    table = "NVIDIA GeForce RTX 4090, 24564 MiB, 580.65.06\nOdd, Card, [N/A], 525.1\n"
    first, second = parse_nvidia(table)
    assert first.name == "NVIDIA GeForce RTX 4090"
    assert first.memory_gb == pytest.approx(25.76, abs=0.01)
    assert first.driver == "580.65.06"
    assert second == Card("nvidia", "Odd, Card", None, driver="525.1")


def test_other_text_is_no_card() -> None:
    assert list(parse_nvidia("NVIDIA-SMI has failed because it couldn't communicate")) == []


def test_kernel_lists_amd_and_intel(tmp_path: Path) -> None:
    node = tmp_path / "class/kfd/kfd/topology/nodes/1"
    (node / "mem_banks/0").mkdir(parents=True)
    (node / "properties").write_text("simd_count 8\ngfx_target_version 110000\n")
    (node / "mem_banks/0/properties").write_text("size_in_bytes 25753026560\n")
    processor = tmp_path / "class/kfd/kfd/topology/nodes/0"
    processor.mkdir()
    (processor / "properties").write_text("gfx_target_version 0\n")
    device = tmp_path / "class/drm/card0/device"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x8086\n")
    (device / "device").write_text("0x56a0\n")
    amd, intel = hardware._from_kernel(tmp_path)
    assert amd == Card("amd", "gfx1100", 25.75302656)
    assert intel == Card("intel", "Intel graphics 0x56a0")


def test_a_program_that_is_missing_prints_nothing() -> None:
    assert hardware._output("framepack-no-such-program") == ""


@pytest.mark.parametrize(
    ("build", "device", "cards", "expected"),
    [
        ("2.13.0+cu130", "auto", [Card("nvidia", "large", 48.0)], True),
        ("2.13.0+cu130", "auto", [Card("nvidia", "small", 4.0)], False),
        ("2.13.0+cu130", "auto", [Card("nvidia", "small", 4.0), Card("amd", "?", None)], True),
        ("2.13.0+cu130", "auto", [Card("nvidia", "small", 6.4)], True),
        ("2.13.0", "auto", [Card("apple", "Apple silicon", 17.2)], False),
        ("2.13.0+cu130", "auto", [], False),
        ("2.13.0+cpu", "auto", [Card("nvidia", "large", 48.0)], False),
        ("2.13.0+cu130", "cpu", [Card("nvidia", "large", 48.0)], False),
        ("", "auto", [Card("nvidia", "large", 48.0)], False),
    ],
)
def test_offer_needs_a_card_that_is_large_enough_and_a_torch_that_serves_it(
    build: str,
    device: str,
    cards: list[Card],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "torch_build", lambda: build)
    monkeypatch.setattr(hardware, "find_cards", lambda: cards)
    assert may_run_published(Settings.load(device=device)) is expected
