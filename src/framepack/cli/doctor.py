"""``framepack doctor``: what this machine can run, and why not more."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.cli.console import write, write_json
from framepack.cli.options import AttentionBackend, Device, DtypeName, JsonFlag, ModelsDir
from framepack.cli.remote import KeyFile, connect

if TYPE_CHECKING:
    from framepack.cli.diagnosis import Finding

__all__ = ["command"]

_MARKS = {"good": "ok  ", "note": "    ", "problem": "!!  "}


def command(
    sanity: Annotated[
        bool,
        typer.Option(
            "--sanity",
            show_default=False,
            help="Render a stored case on the embedded model and compare with its stored result.",
        ),
    ] = False,
    update_sanity: Annotated[
        bool,
        typer.Option(
            "--update-sanity",
            hidden=True,
            show_default=False,
            help="Render the stored case anew, after the embedded weights have changed.",
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            show_default=False,
            help="Look at the FramePack server at this address instead of at this machine.",
        ),
    ] = None,
    key_file: KeyFile = None,
    device: Device = None,
    dtype: DtypeName = None,
    attention: AttentionBackend = None,
    models_dir: ModelsDir = None,
    as_json: JsonFlag = False,
) -> int:
    """Say what this machine can run, and why not more.

    Exits with 1 when something does not work, or when --sanity finds a difference.
    """
    if server is not None:
        return _examine_server(server, key_file, as_json=as_json)
    from framepack.domain.settings import Settings

    settings = Settings.load(device=device, dtype=dtype, attention=attention, models_dir=models_dir)
    if update_sanity:
        from framepack.pipeline.sanity import update_sanity as update

        write(update(settings))
        return 0
    from framepack.cli.diagnosis import Finding, diagnose
    from framepack.cli.machine import examine

    machine = examine(settings)
    findings = diagnose(machine)
    if sanity:
        from framepack.pipeline.sanity import check_sanity

        report = check_sanity(settings)
        findings.append(Finding("sanity", "good" if report.passed else "problem", report.text))
    return _report(findings, {"machine": machine.to_dict()}, as_json=as_json)


def _examine_server(url: str, key_file: str | None, *, as_json: bool) -> int:
    from framepack.cli.server_findings import examine_server

    with connect(url, key_file) as client:
        return _report(examine_server(client), {"server": client.url}, as_json=as_json)


def _report(findings: list["Finding"], about: dict[str, Any], *, as_json: bool) -> int:
    """Write what was found; returns the exit code."""
    failed = any(finding.level == "problem" for finding in findings)
    if as_json:
        listed = [finding.to_dict() for finding in findings]
        write_json({"ok": not failed, "findings": listed, **about}, indent=2)
    else:
        for line in _lines(findings):
            write(line)
    return int(failed)


def _lines(findings: list["Finding"]) -> list[str]:
    width = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.level]}{finding.topic:<{width}}  {finding.text}")
        if finding.advice:
            lines.append(f"{'':<{width + 6}}{finding.advice}")
    return lines
