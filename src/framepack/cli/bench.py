"""``framepack bench``: measure this machine, and a report that can be passed on."""

from pathlib import Path
from typing import Annotated

import typer

from framepack.cli.console import say, write, write_json
from framepack.cli.frames_bar import stage_bar
from framepack.cli.options import Device, DtypeName, JsonFlag, ModelsDir, Quiet
from framepack.domain.errors import InvalidRequest

__all__ = ["command"]


def command(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            show_default=False,
            help="A quarter of a minute instead of one: the embedded model alone, made once.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE.json",
            show_default=False,
            help="Write the report here too, and the text beside it as FILE.md; default: none.",
        ),
    ] = None,
    device: Device = None,
    dtype: DtypeName = None,
    models_dir: ModelsDir = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Measure how fast this machine is, in about a minute.

    Makes a short video with the embedded model, and reckons what the 13B would take from a few
    layers of its size; nothing is downloaded. Prints a text that can be pasted; neither it nor
    the file names a user, a folder or the machine.
    """
    from framepack.cli.bench_report import bench_report, report_text
    from framepack.cli.machine import examine
    from framepack.domain.settings import Settings
    from framepack.pipeline.bench import run_bench

    target = _checked(out)
    settings = Settings.load(device=device, dtype=dtype, models_dir=models_dir)
    with stage_bar(quiet=quiet) as on_progress:
        on_progress("looking at the machine", 0.0)
        machine = examine(settings)
        result = run_bench(settings, quick=quick, on_progress=on_progress)
    report = bench_report(machine, result)
    text = report_text(report)
    if target is not None:
        _save(target, report, text)
    if as_json:
        write_json(report, indent=2)
    else:
        write(text)
    if target is not None and not quiet:
        say(f"written: {target} and {target.with_suffix('.md')}")


def _checked(out: str | None) -> Path | None:
    """Refuse a file that could not be written before a minute is spent on it."""
    from framepack.media.files import check_output_writable

    if out is None:
        return None
    target = Path(out)
    if target.suffix != ".json":
        raise InvalidRequest(f"--out is {out!r}; it must end in .json")
    if not target.absolute().parent.is_dir():
        raise InvalidRequest(f"--out is {out!r}, but there is no folder {target.parent}")
    for path in (target, target.with_suffix(".md")):
        check_output_writable(path, suffixes=(path.suffix,))
    return target


def _save(target: Path, report: dict[str, object], text: str) -> None:
    import json

    target.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
