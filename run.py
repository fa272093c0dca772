#!/usr/bin/env python3
"""Set up this checkout, then run FramePack Studio.

    python3 run.py generate --image photo.jpg --prompt "the camera pans left" -o out.mp4
    python3 run.py test [--full] [pytest arguments]
    python3 run.py setup [--torch BUILD] [--extras dev,docs]
    python3 run.py update

Every other command goes to the `framepack` program. The first start makes `.venv`,
looks for an accelerator, installs the torch build that serves it and then the
packages pinned in constraints.txt; later starts only compare a stamp.
`FRAMEPACK_TORCH` chooses a torch build like `--torch`; `FRAMEPACK_VENV` puts the
virtual environment elsewhere.

Standard library only, and see bootstrap/__init__.py for old Pythons.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from bootstrap import (
    CONSTRAINTS,
    NEWEST,
    OLDEST,
    ROOT,
    VENV,
    WINDOWS,
    SetupError,
    installed,
    output_of,
    say,
    venv_python,
    version_of,
)

STAMP = VENV / "framepack-setup.json"  # written when everything is installed
MOST_WORKERS = 4  # each holds a copy of the embedded model
TRIED = (12, 13, 11, 14)  # minor versions of Python 3, in the order of preference


# --- The Python that starts us ---------------------------------------------------------


def suits(version: Sequence[int]) -> bool:
    """Whether the pinned packages have wheels for this Python."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def find_python() -> str | None:
    """A suitable Python on PATH; it must really run and be able to make venvs."""
    probe = "import sys, venv, ensurepip; print(sys.executable, *sys.version_info[:2], sep='|')"
    commands: list[list[str]] = [[f"python3.{minor}"] for minor in TRIED]
    if WINDOWS:
        commands = [["py", f"-3.{minor}"] for minor in TRIED] + [["python"]]
    for command in commands:
        if not shutil.which(command[0]):
            continue
        status, text = output_of(*command, "-c", probe)  # a pyenv shim may exist and not run
        fields = text.strip().split("|")
        if status == 0 and len(fields) == 3 and suits([int(field) for field in fields[1:]]):
            return fields[0]
    return None


def use_suitable_python(arguments: Sequence[str]) -> None:
    """Go on with a Python that the packages support, or say what is needed."""
    if suits(sys.version_info[:2]) or "FRAMEPACK_PYTHON_SEARCHED" in os.environ:
        return
    ours = "Python {}.{}".format(*sys.version_info[:2])
    other = find_python()
    if other:
        say(f"this is {ours}; going on with {other}")
        os.environ["FRAMEPACK_PYTHON_SEARCHED"] = "1"
        sys.exit(hand_over([other, str(ROOT / "run.py"), *arguments]))
    if sys.version_info[:2] > NEWEST:
        say(f"{ours} is newer than the packages were tested with; trying it all the same")
        return
    needed = "{}.{} to {}.{}".format(*OLDEST, *NEWEST)
    raise SetupError(
        f"found {ours} ({sys.executable}); FramePack Studio needs Python {needed} and none is on "
        "PATH. Install one from python.org or with your package manager, then start again."
    )


# --- Set-up ----------------------------------------------------------------------------


def wanted_key() -> str:
    """Changes with whatever makes a finished installation stale."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_stamp() -> dict[str, list[str]]:
    """What the last finished set-up installed: key, extras, torch; empty if none."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and venv_python().exists() else {}


def is_set_up(extras: Sequence[str], build: str) -> bool:
    """Whether nothing has to be installed; an empty build means whichever is there."""
    stamp = read_stamp()
    return (
        stamp.get("key") == [wanted_key()]
        and set(extras) <= set(stamp.get("extras", []))
        and build in ("", *stamp.get("torch", []))
    )


def detect_build() -> str:
    """Look for an accelerator, tell what was found, and name the torch build for it."""
    from bootstrap.accelerator import choose_build, probe_machine

    choice = choose_build(probe_machine())
    for note in choice.notes:
        say(note)
    return choice.build


def set_up(extras: Sequence[str], build: str) -> None:
    """Bring the virtual environment to what pyproject.toml and constraints.txt say."""
    from bootstrap.install import drop_half_installed, install, lock, make_venv

    with lock():
        stamp = read_stamp()
        if is_set_up(extras, build):  # another run.py has just done it
            return
        extras = sorted({*extras, *stamp.get("extras", [])})
        build = build or (stamp.get("torch") or [""])[0] or detect_build()
        make_venv()
        if STAMP.exists():
            STAMP.unlink()
        else:
            drop_half_installed()
        install(extras, build)
        done = STAMP.with_suffix(".part")
        content = {"key": [wanted_key()], "extras": list(extras), "torch": [build]}
        done.write_text(json.dumps(content))
        done.replace(STAMP)


def warn_of_torchvision() -> None:
    """A torchvision made for another torch breaks imports; none is needed here."""
    vision, torch = installed("torchvision"), installed("torch")
    if not vision or not torch:
        return
    metadata = (vision / "METADATA").read_text(encoding="utf-8", errors="replace")
    made_for = re.search(r"^Requires-Dist: torch\s*\(?==\s*([\d.]+)", metadata, re.MULTILINE)
    if made_for and made_for.group(1) != version_of(torch).split("+")[0]:
        say(
            f"torchvision {version_of(vision)} is made for torch {made_for.group(1)}, not "
            f"{version_of(torch)}, and is not needed here; if imports fail, remove it: "
            f"{venv_python()} -m pip uninstall torchvision"
        )


# --- Running ---------------------------------------------------------------------------


def hand_over(command: list[str]) -> int:
    """Become the program, so that signals and the exit code are its own."""
    sys.stdout.flush()
    if not WINDOWS:
        os.execv(command[0], command)
    process = subprocess.Popen(command)  # Windows cannot replace a process
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the program was told as well and stops by itself
            continue


def run_tests(arguments: Sequence[str]) -> int:
    """Linters and the quick tier, or every tier with --full.

    Other arguments go to pytest, and then only pytest runs, in one process.
    """
    python = str(venv_python())
    environment = dict(os.environ)
    checks = [
        [python, "-m", "ruff", "check"],
        [python, "-m", "mypy"],
        [str(venv_python().with_name("lint-imports" + (".exe" if WINDOWS else "")))],
    ]
    tests = [python, "-m", "pytest", *arguments]
    if set(arguments) - {"--full"}:
        checks = []
    else:
        # Processes of one thread each. With more than cores, servers and browsers, which have
        # processes of their own, wait for each other.
        workers = min(MOST_WORKERS, os.cpu_count() or 1)
        tests += ["-n", str(workers)]
        environment.setdefault("OMP_NUM_THREADS", "1")
    failed = 0
    for check in [*checks, tests]:
        say("running " + " ".join(check).replace(str(VENV), VENV.name))
        done = subprocess.run(check, cwd=str(ROOT), env=environment, check=False)
        failed = done.returncode or failed
    return failed


def parse_setup(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Extras and torch build of `run.py setup`; without --torch the machine decides."""
    import argparse

    from bootstrap.accelerator import BUILDS

    parser = argparse.ArgumentParser(prog="run.py setup", description="Install, then stop.")
    builds = ", ".join(BUILDS)
    parser.add_argument("--torch", metavar="BUILD", choices=BUILDS, help=f"one of {builds}")
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, such as dev,docs")
    options = parser.parse_args(arguments)
    extras = [extra for extra in options.extras.split(",") if extra]
    return extras, options.torch or os.environ.get("FRAMEPACK_TORCH") or detect_build()


def update(arguments: Sequence[str]) -> int:
    """Bring the checkout to its newest version and what is installed along with it."""
    from bootstrap.update import pull

    if arguments:
        raise SetupError(f"found {arguments[0]!r} after update, which takes no arguments")
    pull()
    if not read_stamp():
        say("the next start installs what is needed")
        return 0
    # The new run.py installs what the new constraints.txt says, and names the version.
    return hand_over([sys.executable, str(ROOT / "run.py"), "--version"])


def main(arguments: list[str]) -> int:
    """Set up what the command needs, then run it."""
    command = arguments[0] if arguments else "--help"
    if command == "update":
        return update(arguments[1:])
    extras: list[str] = []
    build = os.environ.get("FRAMEPACK_TORCH", "")
    if command == "test":
        extras = ["test"]
    elif command == "setup":
        extras, build = parse_setup(arguments[1:])
    if not is_set_up(extras, build):
        use_suitable_python(arguments)
        set_up(extras, build)
    warn_of_torchvision()
    if command == "setup":
        say("ready")
        return 0
    if command == "test":
        return run_tests(arguments[1:])
    if command in ("-h", "--help"):
        print((__doc__ or "").split("\n\n")[1] + "\n")
    # Hints name commands as they were typed here; framepack itself is not on PATH.
    own_path = subprocess.list2cmdline([sys.argv[0]]) if WINDOWS else shlex.quote(sys.argv[0])
    os.environ["FRAMEPACK_PROGRAM"] = f"{'py' if WINDOWS else 'python3'} {own_path}"
    # -P keeps the current folder off sys.path: a torch.py lying there is not imported.
    return hand_over([str(venv_python()), "-P", "-m", "framepack", *(arguments or ["--help"])])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        say(f"error: {error}")
        sys.exit(1)
    except OSError as error:
        from bootstrap.install import explain

        say(f"error: {error}; {explain(str(error)) or 'look there and start again'}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; start again to go on where it stopped")
        sys.exit(130)
