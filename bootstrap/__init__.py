"""What run.py needs to make the virtual environment. Standard library only.

The syntax is kept to what Python 3.7 parses, so that an old Python gets as far as
saying what it needs. Nothing here is part of the installed package.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("FRAMEPACK_VENV") or ROOT / ".venv")
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST, NEWEST = (3, 11), (3, 14)  # the Pythons that every pinned package has a wheel for
WINDOWS = sys.platform == "win32"


class SetupError(Exception):
    """Set-up cannot go on; the text says what was found, needed and to be done."""


def say(text: str) -> None:
    """Tell the user; stdout belongs to the program that runs afterwards."""
    print("run.py: " + text, file=sys.stderr, flush=True)


def output_of(*command: str) -> tuple[int, str]:
    """Exit status and text of a command; a missing or hanging one is a plain failure."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def venv_python() -> Path:
    """The Python of the virtual environment."""
    return VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")


def installed(package: str) -> Path | None:
    """The .dist-info folder of a package in the virtual environment."""
    site = "Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"
    return next(VENV.glob(f"{site}/{package}-*.dist-info"), None)


def version_of(dist_info: Path) -> str:
    """`torch-2.13.0+cpu.dist-info` is version 2.13.0+cpu."""
    return dist_info.name[: -len(".dist-info")].split("-")[1]
