"""Turn the evaluation's records into figures, a table to read, and contact sheets.

The targets stand here, beside the names they go by.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

from PIL import Image

from framepack.media.video import contact_sheet
from framepack.training.tiny.cases import GENERATED, PHOTOGRAPHS
from framepack.training.tiny.measures import (
    CameraRecord,
    EndRecord,
    Row,
    SpriteRecord,
    VaeRecord,
)
from framepack.training.tiny.world import CAMERA_MOTIONS

__all__ = ["Records", "figures", "markdown", "write_sheet"]

_CONFIDENCE = 1.96  # standard errors: 95 of 100 such intervals hold the true value
_PROPERTIES = ("shape", "colour", "motion")
_T = TypeVar("_T")

Summary = dict[str, Any]


@dataclass
class Records:
    """Everything measured so far."""

    camera: list[CameraRecord] = field(default_factory=list)
    sprites: list[SpriteRecord] = field(default_factory=list)
    ends: list[EndRecord] = field(default_factory=list)
    vae: list[VaeRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Every record as JSON-able values."""
        return asdict(self)


def figures(records: Records, fp16_mb: float) -> Summary:
    """Compute every figure of the model card.

    Args:
        records: what was measured; kinds without records are left out.
        fp16_mb: weights of all networks, MB of 10**6 bytes.

    Returns:
        JSON-able: ``targets`` (a list of name, wanted, unit, value, margin, number, reached),
        and the breakdowns ``camera``, ``sprites``, ``end_frame``, ``vae``.
    """
    return {
        "targets": _targets(records, fp16_mb),
        "camera": {
            source: _camera(chosen)
            for source, chosen in _grouped(records.camera, lambda r: r.source).items()
        },
        "sprites": _sprites(records.sprites),
        "end_frame": {
            key: _mean([record.gain_db for record in chosen])
            | {"share_3_db": _mean([float(record.gain_db >= 3) for record in chosen])["value"]}
            for key, chosen in _grouped(records.ends, lambda r: f"{r.kind}, {r.source}").items()
        },
        "vae": {
            key: _mean([record.psnr for record in chosen])
            for key, chosen in _grouped(records.vae, lambda r: r.source).items()
        },
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """The figures as a document: the targets first, then what lies behind them."""
    model, setup = summary["model"], summary["setup"]
    lines = [
        "# Figures of the embedded model",
        "",
        f"Model {model['model']}, {model['parameters'] / 1e6:.2f} M parameters, on "
        f"{model['device']} in {model['dtype']}. {setup['kind']} evaluation, seed "
        f"{setup['seed']}, {setup['cases']} cases, {setup['minutes']:.0f} minutes. "
        f"Margins are 95 % intervals.",
        "",
        "| Target | Wanted | Figure | Of | Reached |",
        "|---|---|---|---|---|",
        *(_target_line(target) for target in summary["targets"]),
    ]
    for source, camera in summary["camera"].items():
        lines += ["", f"## Camera, {source}", "", *_camera_lines(camera)]
    lines += ["", "## Sprites", "", *_sprite_lines(summary["sprites"])]
    for title, key in (("End picture, dB nearer", "end_frame"), ("VAE, dB", "vae")):
        lines += ["", f"## {title}", "", "| What | Mean | Lowest | Of |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {row['value']:.1f} ± {row['margin']:.1f} | {row['lowest']:.1f} | "
            f"{row['number']} |"
            for name, row in summary[key].items()
        ]
    passed = ", ".join(f"{number} {source}" for source, number in setup["rejected"].items())
    lines += ["", f"Pictures passed over because they cannot show motion: {passed}.", ""]
    if setup["photographs"]:
        lines += [f"Photographs: {', '.join(setup['photographs'])}.", ""]
    return "\n".join(lines)


def write_sheet(rows: Sequence[Row], path: Path) -> None:
    """Write rows of frames under one another, each below its label."""
    columns = max(len(row.frames) for row in rows)
    pictures: list[Image.Image] = []
    labels: list[str] = []
    for row in rows:
        frames = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in row.frames]
        blank = Image.new("RGB", (1, 1), "white")
        pictures += frames + [blank] * (columns - len(frames))
        labels += [row.label] + [""] * (columns - 1)
    contact_sheet(pictures, columns, path, labels=labels)


def _targets(records: Records, fp16_mb: float) -> list[Summary]:
    by_source = _grouped(records.camera, lambda record: record.source)
    rows = [_target("size of all weights in fp16", fp16_mb, "MB", 25, at_most=True)]
    for source, wanted in ((GENERATED, 95), (PHOTOGRAPHS, 90)):
        chosen = by_source.get(source, [])
        if chosen:
            share = _share([record.followed for record in chosen])
            rows.append(_target(f"camera motion followed, {source}", share, "%", wanted))
    if records.sprites:
        for index, name in enumerate(_PROPERTIES):
            share = _share([record.right(index) for record in records.sprites])
            rows.append(_target(f"sprite {name} right", share, "%", 85))
        share = _share([_all_right(record) for record in records.sprites])
        rows.append(_target("sprite shape, colour and motion right", share, "%", 85))
    if records.ends:
        gain = _mean([record.gain_db for record in records.ends])
        rows.append(_target("last frame nearer to the end picture than without", gain, "dB", 3))
    for source, wanted in ((GENERATED, 31), (PHOTOGRAPHS, 27)):
        restored = [record.psnr for record in records.vae if record.source == source]
        if restored:
            rows.append(_target(f"VAE reconstruction, {source}", _mean(restored), "dB", wanted))
    two = [record for record in records.camera if record.num_sections == 2]
    if two:
        kept = _mean([100 * record.kept for record in two])
        rows.append(_target("sharpness of the last frame of two sections", kept, "%", 70))
        # Noise looks sharp; what one clip has too much of makes up for no other's blur.
        kept = _mean([100 * min(1.0, record.kept_of_truth) for record in two])
        rows.append(_target("the same, of what the true clip keeps", kept, "%", 70))
    first = [record.first_frame_psnr for record in by_source.get(PHOTOGRAPHS, [])]
    if first:
        rows.append(_target("first frame to the photograph", _mean(first), "dB", 24))
    return rows


def _target(
    name: str, found: Summary | float, unit: str, wanted: float, *, at_most: bool = False
) -> Summary:
    row = found if isinstance(found, dict) else {"value": found, "margin": 0.0, "number": 1}
    value = row["value"]
    return {
        "name": name,
        "unit": unit,
        "wanted": wanted,
        "at_most": at_most,
        "value": value,
        "margin": row["margin"],
        "number": row["number"],
        "reached": value <= wanted if at_most else value >= wanted,
    }


def _camera(records: Sequence[CameraRecord]) -> Summary:
    def cell(chosen: Sequence[CameraRecord]) -> Summary:
        moving = [record.speed for record in chosen if record.motion != "static"]
        return {
            "followed": _share([record.followed for record in chosen]),
            "every_section": _share([record.followed_throughout for record in chosen])["value"],
            "nearest": _share([record.nearest == record.motion for record in chosen])["value"],
            "speed": round(fmean(moving), 3) if moving else None,
            "psnr": round(fmean(record.psnr for record in chosen), 2),
            "kept": round(100 * fmean(record.kept for record in chosen), 1),
            "kept_of_truth": round(100 * fmean(record.kept_of_truth for record in chosen), 1),
            "detail_kept": round(100 * fmean(record.detail_kept for record in chosen), 1),
            "residual": round(fmean(record.residual for record in chosen), 4),
        }

    motions = _grouped(records, lambda record: record.motion)
    return {
        "all": cell(records),
        "by_motion": {name: cell(motions[name]) for name in CAMERA_MOTIONS if name in motions},
        "by_setting": {
            key: cell(chosen) for key, chosen in sorted(_grouped(records, _setting).items())
        },
        "first_frame_psnr": _mean([record.first_frame_psnr for record in records]),
        "misread": [
            {"asked": r.motion, "read": r.reading, "prompt": r.prompt, "picture": r.picture}
            for r in records
            if not r.followed
        ],
    }


def _setting(record: CameraRecord) -> str:
    sections = "1 section" if record.num_sections == 1 else f"{record.num_sections} sections"
    return f"{record.variant}, {sections}, {record.width}x{record.height}"


def _sprites(records: Sequence[SpriteRecord]) -> Summary:
    summary: Summary = {
        name: _share([record.right(index) for record in records])
        for index, name in enumerate(_PROPERTIES)
    }
    summary["all"] = _share([_all_right(record) for record in records])
    summary["by_value"] = {
        f"{name} {value}": _share([record.right(index) for record in chosen])
        for index, name in enumerate(_PROPERTIES)
        for value, chosen in sorted(_grouped(records, _asked(index)).items())
    }
    summary["by_variant"] = {
        variant: _share([_all_right(record) for record in chosen])
        for variant, chosen in sorted(_grouped(records, lambda r: r.variant).items())
    }
    summary["misread"] = [
        {"asked": list(r.asked), "read": list(r.found), "prompt": r.prompt}
        for r in records
        if not _all_right(r)
    ]
    return summary


def _asked(index: int) -> Callable[[SpriteRecord], str]:
    return lambda record: record.asked[index]


def _all_right(record: SpriteRecord) -> bool:
    return record.asked == record.found


def _grouped(records: Iterable[_T], key: Callable[[_T], str]) -> dict[str, list[_T]]:
    groups: dict[str, list[_T]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _share(hits: Sequence[bool]) -> Summary:
    """Per cent of hits, with the larger side of Wilson's interval as margin."""
    number = len(hits)
    if not number:
        return {"value": 0.0, "margin": 0.0, "number": 0}
    share, square = sum(hits) / number, _CONFIDENCE**2
    centre = (share + square / (2 * number)) / (1 + square / number)
    half = _CONFIDENCE * math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    half /= 1 + square / number
    margin = max(centre + half - share, share - centre + half)
    return {"value": round(100 * share, 1), "margin": round(100 * margin, 1), "number": number}


def _mean(values: Sequence[float]) -> Summary:
    number = len(values)
    spread = stdev(values) if number > 1 else 0.0
    return {
        "value": round(fmean(values), 2),
        "margin": round(_CONFIDENCE * spread / math.sqrt(number), 2),
        "lowest": round(min(values), 2),
        "number": number,
    }


def _target_line(target: Mapping[str, Any]) -> str:
    sign = "at most" if target["at_most"] else "at least"
    margin = f" ± {target['margin']:.1f}" if target["margin"] else ""
    return (
        f"| {target['name']} | {sign} {target['wanted']:g} {target['unit']} | "
        f"{target['value']:.1f}{margin} {target['unit']} | {target['number']} | "
        f"{'yes' if target['reached'] else '**no**'} |"
    )


def _camera_lines(camera: Mapping[str, Any]) -> list[str]:
    """One line per motion and per setting."""
    head = (
        "| | Followed | In every section | Nearest true clip | Speed | PSNR to true clip "
        "| Sharpness kept | Of the true clip's |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    cells = {"all": camera["all"], **camera["by_motion"], **camera["by_setting"]}
    for name, cell in cells.items():
        followed = cell["followed"]
        speed = f"{cell['speed']:.2f}" if cell["speed"] is not None else "-"
        lines.append(
            f"| {name} | {followed['value']:.1f} % of {followed['number']} | "
            f"{cell['every_section']:.1f} % | {cell['nearest']:.1f} % | {speed} | "
            f"{cell['psnr']:.1f} dB | {cell['kept']:.0f} % | {cell['kept_of_truth']:.0f} % |"
        )
    first = camera["first_frame_psnr"]
    lines += ["", f"First frame to the picture: {first['value']:.1f} dB."]
    return lines


def _sprite_lines(sprites: Mapping[str, Any]) -> list[str]:
    cells = {name: sprites[name] for name in (*_PROPERTIES, "all")}
    cells |= sprites["by_variant"] | sprites["by_value"]
    lines = ["| | Right | Of |", "|---|---|---|"]
    for name, cell in cells.items():
        lines.append(
            f"| {name} | {cell['value']:.1f} ± {cell['margin']:.1f} % | {cell['number']} |"
        )
    return lines
