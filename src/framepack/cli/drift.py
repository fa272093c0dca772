"""``framepack drift``: what sharpness, contrast, colour and motion do along a video."""

from typing import TYPE_CHECKING, Annotated

import typer

from framepack.cli.console import write, write_json
from framepack.cli.options import JsonFlag, check_at_least

if TYPE_CHECKING:
    from framepack.media.drift import DriftReport

__all__ = ["command", "drift_lines"]


def command(
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", show_default=False, help="The video file.")
    ],
    sections: Annotated[
        int | None,
        typer.Option(
            "--sections",
            metavar="N",
            show_default=False,
            help="Measure so many equal parts; default: the sections that the file names, or "
            "parts of 1.2 s.",
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            show_default=False,
            help="Picture of the measures along the video; default: none.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure how a video drifts, section by section.

    That is what sharpness, contrast, colour and motion do. Changes are relative to the first
    section. The last line compares the last 15 % of the video with its first 15 %.
    """
    from framepack.media.drift import measure_drift
    from framepack.media.drift_plot import check_plot, plot_drift

    check_at_least("--sections", sections, 1)
    if plot is not None:
        check_plot(plot)
    report = measure_drift(video, num_sections=sections)
    if plot is not None:
        plot_drift(report, plot)
    if as_json:
        write_json(report.to_dict(), indent=2)
        return
    for line in drift_lines(report):
        write(line)
    if plot is not None:
        write(plot)


def drift_lines(report: "DriftReport") -> list[str]:
    """The report for people: one line for each section, and one for the whole."""
    kind = "its own" if report.boundaries == "file" else "equal parts"
    lines = [
        f"{report.path}: {report.num_frames} frames, sections: {len(report.sections)} ({kind})",
        "section       seconds     sharpness      contrast    saturation  colour  motion px  drift",
    ]
    for index, section in enumerate(report.sections):
        found, drift = section.measures, section.drift
        span = f"{section.start_frame / report.fps:.2f}-{section.end_frame / report.fps:.2f}"
        lines.append(
            f"{index:>7}  {span:>12}  {found.sharpness:.4f} {drift.sharpness:>+5.0%}  "
            f"{found.contrast:.4f} {drift.contrast:>+5.0%}  "
            f"{found.saturation:>5.1f} {drift.saturation:>+5.1f}  {drift.colour:>6.1f}  "
            f"{found.motion:>9.2f}  {drift.score:>5.2f}"
        )
    ends = report.ends
    lines.append(
        f"drift {ends.score:.2f} from the first 15 % to the last: sharpness {ends.sharpness:+.0%}, "
        f"detail {ends.detail:+.0%}, contrast {ends.contrast:+.0%}, saturation "
        f"{ends.saturation:+.1f}, colour {ends.colour:.1f}, motion {ends.motion:+.0%}"
    )
    return lines
