"""Launchers start run.py from any folder, with any Python, and say what they miss."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from bootstrap import NEWEST, OLDEST

ROOT = Path(__file__).parents[2]
SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh", "busybox") if shutil.which(shell)]
PRINT = (
    "import os, sys\n"
    "print(os.path.dirname(os.path.abspath(__file__)), *sys.argv[1:], sep='|')\n"
    "sys.exit(int(os.environ['STATUS']))\n"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the launchers in a folder with spaces and signs, with a run.py that tells."""
    folder = tmp_path / "Frame & Pack's $studio"
    folder.mkdir()
    for name in ("run.command", "update.command", "framepack-studio.desktop"):
        shutil.copy(ROOT / name, folder)
    (folder / "run.py").write_text(PRINT)
    return folder


def start(
    *command: str | Path, status: int = 0, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STATUS": str(status), "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )


@posix
@pytest.mark.parametrize("shell", SHELLS)
def test_a_double_click_starts_the_studio(copy: Path, shell: str) -> None:
    command = ("busybox", "sh") if shell == "busybox" else (shell,)
    done = start(*command, copy / "run.command")
    assert done.returncode == 0, done.stderr
    said, told = done.stdout.splitlines()
    assert "Ctrl-C" in said
    assert told.split("|") == [str(copy), "serve", "--inbrowser", "--quiet"]


@posix
def test_a_link_to_the_launcher_finds_its_folder(copy: Path, tmp_path: Path) -> None:
    link = tmp_path / "studio"
    link.symlink_to(copy / "run.command")
    assert start(link).stdout.splitlines()[1].startswith(f"{copy}|serve")


@posix
def test_arguments_and_exit_codes_pass_through(copy: Path) -> None:
    done = start(copy / "run.command", "generate", "--prompt", "a  b $HOME", "", status=3)
    assert done.returncode == 3
    assert done.stdout.rstrip("\n").split("|") == [
        str(copy),
        *("generate", "--prompt", "a  b $HOME", ""),
    ]


@posix
def test_a_studio_that_fails_says_so_and_leaves_its_lines_in_view(copy: Path) -> None:
    done = start(copy / "run.command", status=1)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "The studio has stopped; the lines above say why."


@posix
def test_an_open_window_waits_after_an_error(copy: Path) -> None:
    import pty

    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [str(copy / "run.command")],
        stdin=secondary,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "STATUS": "1"},
    )
    assert process.stdout is not None
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        os.write(primary, b"\n")
        assert process.wait(10) == 1
        assert process.stdout.read().endswith("Press Enter to close this window.")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(primary)
        os.close(secondary)


@posix
def test_the_updater_only_calls_run_py(copy: Path) -> None:
    done = start(copy / "update.command", status=1)
    assert (done.returncode, done.stdout) == (1, f"{copy}|update\n")


@posix
def test_no_python_and_one_that_cannot_read_run_py_are_told_where_to_get_one(
    copy: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "readlink"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    for _ in ("none", "too old"):
        done = start("sh", copy / "run.command", path=str(programs))
        assert done.returncode == 1
        assert "needs Python {}.{} to {}.{}.".format(*OLDEST, *NEWEST) in done.stdout
        assert "https://www.python.org/downloads/" in done.stdout
        old = programs / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")  # as one that finds itself older than 3.7
        old.chmod(0o755)


@posix
@pytest.mark.parametrize("is_address", [False, True])
@pytest.mark.parametrize("is_linked", [False, True])
def test_the_desktop_entry_finds_its_folder(
    copy: Path, tmp_path: Path, is_linked: bool, is_address: bool
) -> None:
    entry = copy / "framepack-studio.desktop"
    values = re.findall(r"^Exec=(.*)$", entry.read_text(), re.MULTILINE)
    if is_linked:
        link = tmp_path / "entry of the menu.desktop"
        link.symlink_to(entry)
        entry = link
    place = f"file://{quote(str(entry))}" if is_address else str(entry)
    asked = []
    for value in values:
        # Two layers of escapes, of the file and of the quotes, as the Desktop Entry
        # Specification has them; the field code stands alone.
        words = shlex.split(value.replace("\\\\", "\\"))
        words = [re.sub(r"\\([$`])", r"\1", word) for word in words]
        assert words.count("%k") == 1
        done = start(*[place if word == "%k" else word for word in words])
        assert done.returncode == 0, done.stderr
        asked.append(done.stdout.splitlines()[-1].split("|"))
    assert asked == [[str(copy), "serve", "--inbrowser", "--quiet"], [str(copy), "update"]]


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="needs desktop-file-utils")
def test_the_desktop_entry_is_valid() -> None:
    done = start("desktop-file-validate", ROOT / "framepack-studio.desktop")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_shell_scripts_have_no_known_faults() -> None:
    done = start("shellcheck", ROOT / "run.command", ROOT / "update.command")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["run.bat", "update.bat"])
def test_batch_files_have_the_line_ends_that_windows_needs(name: str) -> None:
    content = (ROOT / name).read_bytes()
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")


def test_the_batch_file_quotes_every_path_and_jumps_only_to_labels_it_has() -> None:
    text = (ROOT / "run.bat").read_text()
    code = [line for line in text.splitlines() if not line.startswith("rem ")]
    runs = [line for line in code if "run.py" in line]
    assert len(runs) == 2
    assert all('%PYTHON% "%~dp0run.py" ' in line for line in runs)
    assert 'call "%~dp0run.bat" update' in (ROOT / "update.bat").read_text()
    assert set(re.findall(r"goto (\w+)", text)) == set(re.findall(r"(?m)^:(\w+)", text))
    needed = "needs Python {}.{} to {}.{}.".format(*OLDEST, *NEWEST)
    assert needed in text
    assert "https://www.python.org/downloads/" in text


def test_what_may_be_updated_while_it_runs_is_read_whole_before() -> None:
    for name in ("run.command", "update.command"):
        assert (ROOT / name).read_text().endswith('\n}\n\nmain "$@"\n')
    calls = [line for line in (ROOT / "update.bat").read_text().splitlines() if "run.bat" in line]
    assert calls == ['call "%~dp0run.bat" update & pause & exit /b']
    (run,) = [line for line in (ROOT / "run.bat").read_text().splitlines() if "%*" in line]
    assert run.endswith("%* & exit /b")


def test_archives_and_checkouts_keep_the_line_ends() -> None:
    rules = (ROOT / ".gitattributes").read_text()
    assert re.search(r"^\*\.bat -text\b", rules, re.MULTILINE)
    assert re.search(r"^\*\.command text eol=lf$", rules, re.MULTILINE)


@posix
@pytest.mark.parametrize("name", ["run.command", "update.command", "framepack-studio.desktop"])
def test_launchers_may_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
