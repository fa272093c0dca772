"""Measure the embedded model: every promise of its model card, through the real pipeline.

The cases are drawn (``cases``), made and read (``measures``, with ``motion`` and
``sprite_judge`` as the rulers), and summed up (``report``). On true renderings the rulers are
right every time; their tests hold them to it.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from framepack.media.files import atomic_file
from framepack.training.tiny.cases import FULL, QUICK, CameraCase, Cases
from framepack.training.tiny.measures import (
    Row,
    measure_camera,
    measure_end,
    measure_sprite,
    measure_vae,
)
from framepack.training.tiny.photographs import photograph_paths
from framepack.training.tiny.rendering import PipelineRenderer, Renderer
from framepack.training.tiny.report import Records, figures, markdown, write_sheet
from framepack.training.tiny.world import CAMERA_MOTIONS

__all__ = ["Progress", "evaluate", "measure"]

Progress = Callable[[int, int, str], object]
"""Called with cases done, cases in all, and what was just measured."""

_SHEET_ROWS = 12


def evaluate(
    model_dir: Path | None,
    *,
    output: Path,
    quick: bool = False,
    seed: int = 1000,
    photographs: bool = True,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a trained embedded model and write figures and contact sheets.

    Args:
        model_dir: folder that the trainer exported; None for the embedded model.
        output: folder for figures.json, figures.md, records.json and sheets/*.png.
        quick: a reduced count, minutes instead of half an hour, with wide margins.
        seed: cases follow from it; keep it apart from the trainer's.
        photographs: measure on photographs too, which needs the test extra.
        on_progress: called after each case.

    Returns:
        What figures.json holds: model, setup, targets and their breakdowns.

    Raises:
        MissingWeights: there are no weights.
        FramePackError: photographs were asked for and are not installed.
        WorkspaceError: the output cannot be written.
    """
    files = photograph_paths() if photographs else []
    renderer = PipelineRenderer(model_dir)
    counts = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="framepack-eval-") as folder:
        cases = Cases(Path(folder), seed, counts, files)
        return measure(
            renderer, cases, output, kind="Quick" if quick else "Full", seed=seed, tell=on_progress
        )


def measure(
    renderer: Renderer,
    cases: Cases,
    output: Path,
    *,
    kind: str,
    seed: int,
    tell: Progress | None = None,
) -> dict[str, Any]:
    """Measure whatever a renderer makes of the cases; see ``evaluate``."""
    started = time.perf_counter()
    records, sheets = Records(), _Sheets(output / "sheets")
    done = 0
    for done, what in enumerate(_all(renderer, cases, records, sheets), start=1):
        if tell is not None:
            tell(done, cases.number, what)
    sheets.write()
    model = dict(renderer.describe())
    summary = {
        "model": model,
        "setup": {
            "kind": kind,
            "seed": seed,
            "cases": done,
            "photographs": cases.photographs,
            "minutes": round((time.perf_counter() - started) / 60, 1),
            "rejected": cases.rejected,
        },
        **figures(records, model["fp16_mb"]),
    }
    _write(output / "figures.json", json.dumps(summary, indent=1) + "\n")
    _write(output / "figures.md", markdown(summary))
    _write(output / "records.json", json.dumps(records.to_dict(), indent=1) + "\n")
    return summary


def _all(renderer: Renderer, cases: Cases, records: Records, sheets: "_Sheets") -> Iterator[str]:
    """Measure everything; yields a few words after each case."""
    for source, name, clip in cases.clips():
        restored = measure_vae(renderer, clip, source=source, name=name)
        records.vae.append(restored)
        yield f"VAE, {name}: {restored.psnr:.1f} dB"
    for case in cases.camera():
        moved, row = measure_camera(
            renderer, case.order, source=case.source, name=case.name, motion=case.motion
        )
        records.camera.append(moved)
        sheets.add_camera(case, row)
        yield row.label
    for order, sprite in cases.sprites():
        shown, row = measure_sprite(renderer, order, sprite)
        records.sprites.append(shown)
        sheets.add("sprites", row)
        yield row.label
    for order, source, kind in cases.ends():
        ended, rows = measure_end(renderer, order, source=source, kind=kind)
        records.ends.append(ended)
        sheets.add("end-pictures", *rows)
        yield rows[0].label


class _Sheets:
    """Contact sheets in the making: a few rows of every kind, one of every camera motion."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._camera: dict[str, dict[str, Row]] = {}
        self._rows: dict[str, list[Row]] = {}

    def add_camera(self, case: CameraCase, row: Row) -> None:
        """Keep one row per motion for each source, shape and length."""
        order = case.order
        sheet = f"{case.source}-{order.width}x{order.height}-{order.num_sections}"
        self._camera.setdefault(sheet, {}).setdefault(case.motion, row)

    def add(self, sheet: str, *rows: Row) -> None:
        """Keep rows, as long as the sheet has room."""
        kept = self._rows.setdefault(sheet, [])
        if len(kept) + len(rows) <= _SHEET_ROWS:
            kept.extend(rows)

    def write(self) -> None:
        """Write all sheets."""
        for name, by_motion in self._camera.items():
            rows = [by_motion[motion] for motion in CAMERA_MOTIONS if motion in by_motion]
            write_sheet(rows, self._folder / f"camera-{name}.png")
        for name, rows in self._rows.items():
            write_sheet(rows, self._folder / f"{name}.png")


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
