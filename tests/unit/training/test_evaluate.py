"""The evaluation as a whole, fed with true renderings: it must find nothing wrong with them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from framepack.training.tiny.captions import CAMERA_PHRASES
from framepack.training.tiny.cases import GENERATED, QUICK, Cases
from framepack.training.tiny.evaluate import measure
from framepack.training.tiny.rendering import Order, fitted
from framepack.training.tiny.report import Records, figures
from framepack.training.tiny.world import (
    CAMERA_MOTIONS,
    SPRITE_COLOURS,
    SPRITE_SHAPES,
    Sprite,
    camera_clip,
    dissolve_clip,
    sprite_clip,
    sprite_start,
)

COUNTS = replace(QUICK, pictures=6, camera=9, photographs=0, sprites=5, ends=2, vae=1)
VERBS = {
    "left": "left",
    "right": "right",
    "up": "up",
    "rises": "up",
    "upwards": "up",
    "down": "down",
    "falls": "down",
    "downwards": "down",
}


class TrueRenderer:
    """Draws exactly what the prompt says."""

    def render(self, order: Order) -> Tensor:
        numbers = torch.arange(order.num_frames)
        if order.image is None:
            return self._sprite(order, numbers)
        picture = fitted(order.image, order.width, order.height)
        if order.end_image is not None:
            end = fitted(order.end_image, order.width, order.height)
            return dissolve_clip(picture, end, numbers, order.num_frames)
        return camera_clip(picture, self.motion(order.prompt), numbers)

    def reconstruct(self, clip: Tensor) -> Tensor:
        return (clip + 0.01).clamp(0, 1)

    def describe(self) -> Mapping[str, Any]:
        return {
            "model": "true",
            "parameters": 0,
            "fp16_mb": 0.0,
            "device": "cpu",
            "dtype": "float32",
        }

    @staticmethod
    def motion(prompt: str) -> str:
        found = [
            (len(phrase), motion)
            for motion, phrases in CAMERA_PHRASES.items()
            for phrase in phrases
            if phrase in prompt
        ]
        return max(found)[1] if found else "static"

    @staticmethod
    def _sprite(order: Order, numbers: Tensor) -> Tensor:
        words = order.prompt.split()
        motion = next((VERBS[word] for word in words if word in VERBS), "still")
        sprite = Sprite(
            shape=next(word for word in words if word in SPRITE_SHAPES),
            colour=next(word for word in words if word in SPRITE_COLOURS),
            motion=motion,
            background="gray",
            start=sprite_start(motion, (0, 0)),
            radius=0.14 * min(order.width, order.height),
        )
        return sprite_clip(sprite, numbers, order.height, order.width)


class StillRenderer(TrueRenderer):
    """Never moves, whatever it is told."""

    @staticmethod
    def motion(prompt: str) -> str:
        return "static"


@pytest.fixture
def cases(tmp_path: Path) -> Cases:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return Cases(folder, 1000, COUNTS, ())


def test_nothing_is_wrong_with_the_truth(cases: Cases, tmp_path: Path) -> None:
    told: list[int] = []
    summary = measure(
        TrueRenderer(),
        cases,
        tmp_path / "out",
        kind="Quick",
        seed=1000,
        tell=lambda done, total, what: told.append(total - done),
    )
    assert told == list(range(16, -1, -1))
    values = {target["name"]: target["value"] for target in summary["targets"]}
    shares = [value for name, value in values.items() if "followed" in name or "right" in name]
    assert shares == [100] * 5
    assert values["the same, of what the true clip keeps"] == pytest.approx(100)
    assert values["VAE reconstruction, generated"] == pytest.approx(40, abs=1)
    assert summary["camera"][GENERATED]["all"]["every_section"] == 100
    assert summary["camera"][GENERATED]["all"]["speed"] == pytest.approx(1, abs=0.02)

    assert json.loads((tmp_path / "out/figures.json").read_text()) == summary
    assert "| camera motion followed, generated |" in (tmp_path / "out/figures.md").read_text()
    assert len(json.loads((tmp_path / "out/records.json").read_text())["camera"]) == 9
    sheets = {path.name for path in (tmp_path / "out/sheets").glob("*.png")}
    assert {"sprites.png", "end-pictures.png"} <= sheets
    with Image.open(tmp_path / "out/sheets/sprites.png") as sheet:
        assert sheet.width > 8 * 128


def test_a_model_that_never_moves_is_found_out(cases: Cases, tmp_path: Path) -> None:
    cases.counts = replace(COUNTS, sprites=0, ends=0, vae=0)
    summary = measure(StillRenderer(), cases, tmp_path / "out", kind="Quick", seed=1000)
    camera = summary["camera"][GENERATED]
    assert camera["by_motion"]["static"]["followed"]["value"] == 100
    assert camera["all"]["followed"]["value"] == pytest.approx(100 / 9, abs=0.1)
    assert {row["read"] for row in camera["misread"]} == {"static"}


def test_a_full_round_holds_every_motion_in_every_setting(tmp_path: Path) -> None:
    everything = Cases(tmp_path, 1000, replace(COUNTS, camera=108), ())
    settings = {
        (c.motion, c.order.variant, c.order.num_sections, c.order.width)
        for c in everything.camera()
    }
    assert len(settings) == 9 * 2 * 2 * 3


def test_the_same_seed_gives_the_same_cases(tmp_path: Path) -> None:
    first, second = (
        [
            (case.motion, case.order.prompt, case.order.seed, case.name)
            for case in Cases(tmp_path, 7, COUNTS, ()).camera()
        ]
        for _ in range(2)
    )
    assert first == second
    assert {motion for motion, *_ in first} == set(CAMERA_MOTIONS)


def test_without_records_only_the_size_is_judged() -> None:
    targets = figures(Records(), fp16_mb=26.0)["targets"]
    assert [(target["name"], target["reached"]) for target in targets] == [
        ("size of all weights in fp16", False)
    ]
