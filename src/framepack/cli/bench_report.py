"""The report of ``framepack bench``: facts of the machine, figures, and both as a text."""

import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import framepack

if TYPE_CHECKING:
    from framepack.cli.machine import Machine
    from framepack.pipeline.bench import BenchResult

__all__ = ["bench_report", "processor_name", "report_text"]

FORMAT = 1
"""Version of the report's fields."""

_BUSY_PERCENT = 25.0  # above it, other programs have their part in the figures


def bench_report(machine: "Machine", result: "BenchResult") -> dict[str, Any]:
    """The report: nothing in it tells whose machine it is.

    Args:
        machine: as ``doctor`` sees it; folders and files are left out.
        result: what was measured.
    """
    compute = machine.compute
    would_run = [
        model.model
        for model in machine.models
        if model.is_present and (not model.sources or compute.device not in ("", "cpu"))
    ]
    return {
        "format": FORMAT,
        "machine": {
            "framepack": machine.framepack,
            "commit": _commit(),
            "python": machine.python,
            "system": machine.system,
            "processor": processor_name(),
            "cores": machine.cores,
            "memory_gb": round(machine.memory_gb, 1),
            "accelerators": [asdict(card) for card in machine.cards],
            "torch": compute.torch,
            "backend": compute.backend,
            "device": compute.device,
            "device_name": compute.device_name,
            "device_memory_gb": compute.memory_gb and round(compute.memory_gb, 1),
            "dtype": compute.dtype,
            "threads": compute.threads,
            "models_here": would_run,
        },
        "result": _rounded(result.to_dict()),
    }


def report_text(report: dict[str, Any]) -> str:
    """The report as Markdown, to be pasted."""
    return "\n".join([*_head(report["machine"]), *_figures(report["result"]), *_notes(report)])


def processor_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as its maker has it where the system tells."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _head(machine: dict[str, Any]) -> Iterator[str]:
    version = f"framepack {machine['framepack']}"
    if machine["commit"]:
        version += f" ({machine['commit']})"
    on_cpu = machine["device"] == "cpu"
    yield f"### {version}, {machine['processor' if on_cpu else 'device_name']}"
    yield ""
    memory = f", {machine['device_memory_gb']:g} GB" if machine["device_memory_gb"] else ""
    threads = f", {machine['threads']} threads" if on_cpu else ""
    yield f"- device: {machine['device']}{memory}{threads}, {machine['dtype']}"
    yield (
        f"- processor: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']:g} GB"
    )
    for card in machine["accelerators"]:
        driver = f", driver {card['driver']}" if card["driver"] else ""
        yield f"- accelerator: {card['name']}{driver}"
    yield (
        f"- {machine['system']}; Python {machine['python']}; torch {machine['torch']}, built for "
        f"{machine['backend']}"
    )
    yield ""


def _figures(result: dict[str, Any]) -> Iterator[str]:
    video = result["video"]
    yield (
        f"| | embedded model, {video['width']}x{video['height']}, {video['steps']} steps | "
        "13B, 480x832, 25 steps, **estimate** |"
    )
    yield "|---|---|---|"
    published = result["published"] or {}
    rows = {
        "a denoising step": "step_s",
        "decoding a section": "decode_s",
        "a frame of the video": "frame_s",
    }
    for title, name in rows.items():
        yield f"| {title} | {_seconds(video[name])} | {_seconds(published.get(name))} |"
    yield f"| peak memory | {_memory(result)} | |"
    yield ""


def _notes(report: dict[str, Any]) -> Iterator[str]:
    result, video = report["result"], report["result"]["video"]
    yield (
        f"The video: {video['num_frames']} frames in {video['sections']} sections, "
        f"{video['total_s']:.1f} s in all, the least of {video['rounds']}; the median step took "
        f"{video['step_median_s'] / video['step_s']:.2f} times the quickest."
    )
    published = result["published"]
    if published is None:
        yield f"The 13B: {result['published_reason']}."
    else:
        whole = published["measured_tokens"] == published["num_tokens"]
        how = "" if whole else f" with {published['measured_tokens']} tokens, and scaled"
        yield (
            f"The 13B has {published['num_tokens']} tokens per section here; three of its 60 "
            f"blocks and a tile of its decoder were run{how}. Weights on the device as a whole "
            "are taken for granted."
        )
        tried = published["attention_ms"]
        listed = ", ".join(f"{name} {tried[name]:.3g} ms" for name in sorted(tried, key=tried.get))
        yield f"Its attention: {published['attention']}{f', of {listed}' if listed else ''}."
    if result["busy_percent"] > _BUSY_PERCENT:
        yield (
            f"Other programs used {result['busy_percent']:.0f} % of the processor before it began: "
            "the machine can do better."
        )


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


def _memory(result: dict[str, Any]) -> str:
    host = f"{result['peak_host_gb']:.2f} GB"
    on_device = result["peak_device_gb"]
    return host if on_device is None else f"{host} and {on_device:.2f} GB on the device"


def _rounded(value: Any) -> Any:
    """Four digits: more would be a clock's, not the machine's."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _commit() -> str:
    """The commit of the checkout that the package lies in, or ""."""
    root = Path(framepack.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
