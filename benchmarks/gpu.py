"""What one accelerator does with a network of the published size: one command, ten minutes.

    python benchmarks/gpu.py --out FOLDER [--config 13b|small] [--device cuda:0] [--stages NAME ...]

Weights are random and made on the device; nothing is downloaded. Rows go to the screen and to
FOLDER/rows.jsonl as soon as they are known, profiles beside it. The targets are those of an H200.
A stage that fails is a row with its error, the others go on, and the exit code is 1.

`--config small --device cpu` runs what a CPU can in seconds, to see that everything works.
"""

import argparse
import faulthandler
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import torch  # noqa: E402
from benchmarks.common import JsonLines, machine  # noqa: E402
from benchmarks.gpu_suite.catalogue import STAGES  # noqa: E402
from benchmarks.gpu_suite.decoding import decoding  # noqa: E402
from benchmarks.gpu_suite.faster import compiled, fp8  # noqa: E402
from benchmarks.gpu_suite.memory import memory  # noqa: E402
from benchmarks.gpu_suite.probes import probe  # noqa: E402
from benchmarks.gpu_suite.profiles import profiled  # noqa: E402
from benchmarks.gpu_suite.runner import Stage, Suite, run_stages  # noqa: E402
from benchmarks.gpu_suite.sizes import ALL  # noqa: E402
from benchmarks.gpu_suite.steps import step, weights  # noqa: E402
from benchmarks.gpu_suite.videos import minute, section  # noqa: E402

from framepack.pipeline.device import choose_device, keep_freed_memory  # noqa: E402

RUN: dict[str, Stage] = {
    "probe": probe,
    "weights": weights,
    "step": step,
    "vae": decoding,
    "section": section,
    "profile": profiled,
    "memory": memory,
    "compiled": compiled,
    "fp8": fp8,
    "minute": minute,
}


def about(device: torch.device) -> dict[str, object]:
    """Machine, versions and commit, for each row."""
    import diffusers

    found = {**machine(), "device": device.type, "diffusers": diffusers.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": properties.name,
            "device_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda or torch.version.hip,
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--config", choices=tuple(ALL), default="13b")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", nargs="+", choices=tuple(STAGES), default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=9.5, help="of all stages together")
    parser.add_argument(
        "--official",
        type=Path,
        metavar="PATH",
        help="the official program's diffusers_helper/models/hunyuan_video_packed.py",
    )
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    if options.config == "13b" and device.type == "cpu":
        parser.error("the 13b needs an accelerator and this is a CPU; use --config small")
    if options.official is not None and not options.official.is_file():
        parser.error(f"--official: there is no file {options.official}")
    options.out.mkdir(parents=True, exist_ok=True)
    suite = Suite(
        ALL[options.config],
        device,
        torch.float32 if device.type == "cpu" else torch.bfloat16,
        options.out,
        about(device),
        options.official,
    )
    # A kernel that never comes back hears no alarm: then the rows so far are what there is.
    keep_freed_memory()  # as `framepack` does; it serves both
    faulthandler.dump_traceback_later(options.minutes * 60 + 60, exit=True)
    try:
        chosen = {name: RUN[name] for name in STAGES if name in options.stages}
        lines = JsonLines(options.out / "rows.jsonl")
        passed = run_stages(suite, chosen, lines, limit_s=options.minutes * 60)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
