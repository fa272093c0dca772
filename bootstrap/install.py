"""Make the virtual environment and install into it; every step can be interrupted."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

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
from bootstrap.accelerator import BUILDS, OLDER_TORCH

WHEELS = "https://download.pytorch.org/whl/"
MARK = VENV / "framepack-venv"  # says that this virtual environment is ours to remake
NEEDED_GB = {"cpu": 3, "pypi": 3, "xpu": 10, "rocm7.2": 25}
CUDA_GB = 12  # every CUDA build, its libraries and pip's temporary copies

COMPLAINTS = (
    (
        r"No space left on device|not enough space on the disk|Errno 28\b|WinError 112\b",
        "the disk is full: free some space (pip also uses the temporary folder, TMPDIR, and its "
        "cache: `python -m pip cache purge`), then start again; it goes on where it was",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the package index's certificate was refused: set PIP_CERT to your network's "
        "certificate bundle, then start again",
    ),
    (
        r"NewConnectionError|NameResolutionError|Max retries exceeded|ConnectTimeout|ReadTimeout|"
        r"Temporary failure in name resolution|Network is unreachable|ProxyError|"
        r"Connection (?:reset|refused|aborted)|getaddrinfo failed",
        "the package index cannot be reached: check the network (HTTPS_PROXY for a proxy, "
        "PIP_INDEX_URL for a mirror), then start again; it goes on where it was",
    ),
    (
        r"No matching distribution found for (\S+)",
        "the package index has no {} for this Python and system; needed is Python "
        f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} on 64-bit Linux, 64-bit Windows or "
        "an Apple silicon Mac",
    ),
    (
        r"Permission denied|WinError 5\b|WinError 32\b",
        f"a file could not be written: close programs that use {VENV} and check who owns it",
    ),
)


def explain(text: str) -> str:
    """What a complaint of pip or venv means and what to do; empty when it is not known."""
    for pattern, meaning in COMPLAINTS:
        found = re.search(pattern, text)
        if found:
            return meaning.format(*found.groups())
    return ""


def venv_works() -> bool:
    """Whether the virtual environment has a Python that suits and a pip that starts."""
    code = f"import sys; sys.exit(not {OLDEST} <= sys.version_info[:2])"
    python = str(venv_python())
    if output_of(python, "-c", code)[0] != 0:
        return False
    has_pip = output_of(python, "-c", "import pip._internal")[0] == 0
    return has_pip or output_of(python, "-m", "ensurepip")[0] == 0


def make_venv() -> None:
    """Make the virtual environment, or make anew one whose making was cut short.

    Raises:
        SetupError: the folder holds something that is not ours and does not work, or
            this Python cannot make virtual environments.
    """
    if VENV.exists() and any(VENV.iterdir()):
        if venv_works():
            return
        if not MARK.exists():
            raise SetupError(f"{VENV} is not a working virtual environment: move it away")
        say(f"the virtual environment in {VENV} is broken; making it anew")
        shutil.rmtree(str(VENV))
    say(f"making a virtual environment in {VENV} with {sys.executable}")
    VENV.mkdir(parents=True, exist_ok=True)
    MARK.write_text("made by run.py, which remakes it when it is broken\n")
    status, text = output_of(sys.executable, "-m", "venv", str(VENV))
    if status == 0:
        return
    shutil.rmtree(str(VENV), ignore_errors=True)
    if "ensurepip" in text or "No module named venv" in text:
        major, minor = sys.version_info[:2]
        raise SetupError(
            "this Python cannot make virtual environments (its venv or ensurepip module is "
            f"missing). On Debian and Ubuntu: sudo apt install python{major}.{minor}-venv. "
            "Elsewhere, install Python from python.org."
        )
    raise SetupError(explain(text) or f"the virtual environment could not be made:\n{text}")


def drop_half_installed() -> None:
    """Forget packages whose installation was cut off, so that pip installs them again.

    pip writes RECORD last; without it a package looks installed and may lack files.
    """
    site = "Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"
    for folder in list(VENV.glob(f"{site}/*")):
        cut_off = folder.name.endswith(".dist-info") and not (folder / "RECORD").exists()
        if cut_off or folder.name.startswith("~"):
            shutil.rmtree(str(folder), ignore_errors=True)


def torch_version(build: str) -> str:
    """The torch version for a build: constraints.txt pins all but the older one."""
    pinned = re.search(r"^torch==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    assert pinned, "constraints.txt pins torch"
    return OLDER_TORCH.get(build, pinned.group(1))


def constraints_for(build: str) -> Path:
    """constraints.txt, or a copy with the older torch where the build needs it."""
    if build not in OLDER_TORCH:
        return CONSTRAINTS
    pin = f"torch=={torch_version(build)}"
    path = VENV / "constraints.txt"
    path.write_text(re.sub(r"(?m)^torch==\S+$", pin, CONSTRAINTS.read_text()))
    return path


def pip_install(*arguments: str) -> tuple[int, str]:
    """Run pip; its progress goes to stderr, its complaints are shown and returned."""
    command = [str(venv_python()), "-m", "pip", "--disable-pip-version-check", "install"]
    process = subprocess.Popen(
        [*command, "--no-input", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=subprocess.PIPE,
        env=dict(os.environ, PIP_USER="0"),
    )
    assert process.stderr is not None
    complaints = []
    for raw in process.stderr:
        complaints.append(raw.decode("utf-8", "replace"))
        sys.stderr.write(complaints[-1])
    return process.wait(), "".join(complaints)


def reachable(url: str) -> bool:
    """Whether a server answers at all; an error page is an answer, and pip then judges."""
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=8).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError) as error:
        return "CERTIFICATE" in str(error)  # pip brings certificates of its own
    return True


def require_disk(build: str) -> None:
    """Refuse to start a download that cannot fit."""
    free_gb = shutil.disk_usage(str(VENV)).free / 1e9
    needed_gb = NEEDED_GB.get(build, CUDA_GB)
    if free_gb < needed_gb:
        raise SetupError(
            f"found {free_gb:.1f} GB free for {VENV}; this installation needs about "
            f"{needed_gb} GB. Free some space, or set FRAMEPACK_VENV to a folder elsewhere."
        )


def install_torch(build: str, constraints: Path) -> None:
    """Install the build from torch's own index; without that, the package index's torch."""
    version = torch_version(build)
    label = "" if build == "pypi" else f"+{build}"
    present = installed("torch")
    if present and version_of(present) == version + label:
        return
    if not present:
        require_disk(build)
    pinned = ("-c", str(constraints))
    if label:
        say(f"installing torch {version}{label}")
        index = WHEELS + build
        if reachable(f"{index}/torch/"):
            wanted = f"torch=={version}{label}"
            status, text = pip_install(*pinned, "--extra-index-url", index, wanted)
            if status == 0:
                return
            if "disk is full" in explain(text):
                raise SetupError(explain(text))
        say(f"{index} does not give it: taking the torch of the package index instead")
    say(f"installing torch {version} from the package index")
    status, text = pip_install(*pinned, f"torch=={version}")
    if status != 0:
        raise SetupError(explain(text) or "pip could not install torch: see its lines above")


def check_torch() -> None:
    """Import the fresh torch once and say which device it sees."""
    code = (
        "import torch as t; a = t.accelerator.current_accelerator(check_available=True);"
        "print(t.__version__, 'will use', a.type if a else 'the CPU')"
    )
    status, text = output_of(str(venv_python()), "-W", "ignore", "-c", code)
    if status == 0:
        say("torch " + (text.strip().splitlines() or ["?"])[-1])
        return
    remedy = ""
    if WINDOWS:
        remedy = "; install https://aka.ms/vs/17/release/vc_redist.x64.exe and start again"
    raise SetupError(f"torch was installed but does not start{remedy}:\n{text.strip()}")


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Let one run.py at a time install; the system drops the lock with the process."""
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{VENV}.lock").open("a") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # it gives up after ten seconds
                    continue
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(extras: Sequence[str], build: str) -> None:
    """Install torch, then the packages; what is there already is left as it is.

    Raises:
        SetupError: with what to do about it.
    """
    if build not in BUILDS:
        raise SetupError(f"found torch build {build!r}; known are {', '.join(BUILDS)}")
    constraints = constraints_for(build)
    install_torch(build, constraints)
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    say("installing the packages of FramePack Studio")
    status, text = pip_install("-c", str(constraints), "-e", project)
    if status != 0:
        raise SetupError(explain(text) or "pip could not install the packages: see above")
    check_torch()
