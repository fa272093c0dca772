"""run.py picks the right torch for a machine, and its advice fits the trouble."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bootstrap
import run
from bootstrap import accelerator, install
from bootstrap.accelerator import Machine, choose_build, gfx_target, parse_nvidia

ROOT = Path(__file__).parents[2]


def nvidia_machine(system: str, query: str, cuda: str, arch: str = "x86_64") -> Machine:
    """A machine as nvidia-smi would describe it."""
    header = f"| NVIDIA-SMI 1.0   Driver Version: 1.0   CUDA Version: {cuda}     |"
    return Machine(system, arch, nvidia=parse_nvidia(query, header))


@pytest.mark.parametrize(
    ("query", "cuda", "build"),
    [
        pytest.param("NVIDIA GeForce RTX 5090, 12.0, 591.44", "13.1", "cu130", id="50xx"),
        pytest.param("NVIDIA GeForce RTX 5090, 12.0, 572.83", "12.8", "cu128", id="50xx-570"),
        pytest.param("NVIDIA GeForce RTX 4090, 8.9, 581.15", "13.0", "cu130", id="40xx"),
        pytest.param("NVIDIA GeForce RTX 4090, 8.9, 551.23", "12.4", "cu126", id="40xx-550"),
        pytest.param("NVIDIA GeForce GTX 1080 Ti, 6.1, 581.15", "13.0", "cu126", id="pascal"),
        pytest.param("Tesla V100-SXM2-16GB, 7.0, 580.65", "13.0", "cu126", id="volta"),
        pytest.param("NVIDIA H200, 9.0, 580.95.05", "13.0", "cu130", id="hopper"),
    ],
)
def test_nvidia_card_gets_the_build_its_driver_can_run(query: str, cuda: str, build: str) -> None:
    assert choose_build(nvidia_machine("Windows", query, cuda)).build == build
    assert choose_build(nvidia_machine("Linux", query, cuda)).build == build


@pytest.mark.parametrize(
    ("query", "cuda", "word"),
    [
        ("NVIDIA GeForce RTX 3090, 8.6, 470.82.01", "11.4", "525"),
        ("NVIDIA GeForce RTX 5070, 12.0, 566.36", "12.7", "580"),
        ("NVIDIA GeForce GT 730, 3.5, 581.15", "13.0", "too old"),
    ],
)
def test_nvidia_card_that_torch_cannot_use_means_cpu_said_aloud(
    query: str, cuda: str, word: str
) -> None:
    choice = choose_build(nvidia_machine("Linux", query, cuda))
    assert choice.build == "cpu"
    assert "running on the CPU" in choice.notes[0]
    assert word in choice.notes[0]
    # The Windows torch of the package index is CPU-only already.
    assert choose_build(nvidia_machine("Windows", query, cuda)).build == "pypi"


def test_older_torch_for_an_older_driver_comes_with_advice() -> None:
    machine = nvidia_machine("Linux", "NVIDIA GeForce RTX 5080, 12.0, 575.64", "12.9")
    assert "update it to 580" in choose_build(machine).notes[1]


def test_the_strongest_of_several_cards_counts() -> None:
    query = "NVIDIA GeForce GTX 1060, 6.1, 581.15\nNVIDIA GeForce RTX 4080, 8.9, 581.15\n"
    assert choose_build(nvidia_machine("Linux", query, "13.0")).build == "cu130"


def test_compute_capability_ten_is_above_nine() -> None:
    query = "NVIDIA H100, 9.0, 580.1\nNVIDIA B200, 10.0, 580.1"
    card = parse_nvidia(query, "")
    assert card is not None
    assert card.capability == (10, 0)


@pytest.mark.parametrize(
    ("header", "cuda"),
    [
        ("CUDA Version: 12.4 ", (12, 4)),
        ("CUDA UMD Version: 13.2", (13, 2)),
        ("CUDA Version: N/A", (13, 0)),  # then the driver's number decides
        ("", (13, 0)),
    ],
)
def test_cuda_version_is_read_or_follows_from_the_driver(
    header: str, cuda: tuple[int, int]
) -> None:
    card = parse_nvidia("NVIDIA L4, 8.9, 582.10", header)
    assert card is not None
    assert card.cuda == cuda


def test_arm_server_card_gets_cuda_13() -> None:
    machine = nvidia_machine("Linux", "NVIDIA GB10, 12.1, 580.95", "13.0", arch="arm64")
    assert choose_build(machine).build == "cu130"


def test_nvidia_tool_without_a_working_driver_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    monkeypatch.setattr(accelerator.shutil, "which", lambda *_, **__: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(accelerator, "output_of", lambda *_: (9, failure))
    card, remarks = accelerator.probe_nvidia()
    choice = choose_build(Machine("Linux", "x86_64", nvidia=card, remarks=remarks))
    assert choice.build == "cpu"
    assert "couldn't communicate" in choice.notes[0]


@pytest.mark.parametrize(
    ("version", "name"),
    [(110000, "gfx1100"), (90010, "gfx90a"), (90402, "gfx942"), (120001, "gfx1201")],
)
def test_kernel_number_names_the_amd_target(version: int, name: str) -> None:
    assert gfx_target(version) == name


def fake_sys(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_amd_card_on_linux_gets_rocm(tmp_path: Path) -> None:
    nodes = "class/kfd/kfd/topology/nodes"
    files = {
        f"{nodes}/0/properties": "cpu_cores_count 16\ngfx_target_version 0\n",
        f"{nodes}/1/properties": "simd_count 96\ngfx_target_version 100306\n",
        f"{nodes}/2/properties": "simd_count 192\ngfx_target_version 110000\n",
    }
    amd, intel = accelerator.probe_linux(fake_sys(tmp_path, files))
    assert (amd, intel) == (("gfx1036", "gfx1100"), ())
    assert choose_build(Machine("Linux", "x86_64", amd=amd)).build == "rocm7.2"


@pytest.mark.parametrize(
    "machine",
    [
        Machine("Linux", "x86_64", amd=("gfx1036",)),  # a processor's small graphics
        Machine("Windows", "x86_64", amd=("AMD Radeon RX 7900 XTX",)),
    ],
)
def test_amd_graphics_that_torch_does_not_serve_mean_cpu(machine: Machine) -> None:
    choice = choose_build(machine)
    assert choice.build in ("cpu", "pypi")
    assert machine.amd[0] in choice.notes[0]


def test_intel_arc_gets_xpu_and_older_intel_graphics_do_not(tmp_path: Path) -> None:
    files = {
        "class/drm/card0/device/vendor": "0x8086\n",
        "class/drm/card0/device/device": "0x4680\n",  # UHD 770
        "class/drm/card1/device/vendor": "0x8086\n",
        "class/drm/card1/device/device": "0xe20b\n",  # Arc B580
        "class/drm/card2/device/vendor": "0x1002\n",
        "class/drm/card2/device/device": "0x5600\n",
    }
    intel = accelerator.probe_linux(fake_sys(tmp_path, files))[1]
    assert intel == ("device 0xe20b",)
    assert choose_build(Machine("Linux", "x86_64", intel=intel)).build == "xpu"


def test_windows_names_tell_arc_from_other_graphics(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "Intel(R) UHD Graphics 770\r\nIntel(R) Arc(TM) A770 Graphics\r\n"
    monkeypatch.setattr(accelerator, "output_of", lambda *_: (0, names))
    assert accelerator.probe_windows() == ((), ("Intel(R) Arc(TM) A770 Graphics",))


def test_apple_silicon_takes_the_package_index() -> None:
    assert choose_build(Machine("Darwin", "arm64")).build == "pypi"


def test_intel_mac_is_told_to_use_an_arm_python() -> None:
    with pytest.raises(bootstrap.SetupError, match="arm64 Python"):
        choose_build(Machine("Darwin", "x86_64"))


@pytest.mark.parametrize(("system", "build"), [("Linux", "cpu"), ("Windows", "pypi")])
def test_machine_without_accelerator_says_cpu_aloud(system: str, build: str) -> None:
    choice = choose_build(Machine(system, "x86_64"))
    assert choice.build == build
    assert "running on the CPU" in choice.notes[-1]


@pytest.mark.parametrize(
    ("complaint", "advice"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("[WinError 112] There is not enough space on the disk", "disk is full"),
        ("NewConnectionError('Failed to establish a new connection')", "cannot be reached"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "PIP_CERT"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no torch==2.13.0 for"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "who owns it"),
    ],
)
def test_trouble_with_pip_is_explained(complaint: str, advice: str) -> None:
    assert advice in install.explain(complaint)


def test_unknown_trouble_is_not_explained_away() -> None:
    assert install.explain("error: metadata-generation-failed") == ""


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An imitation of a virtual environment, for the code that only looks at files."""
    folder = tmp_path / "venv"
    site = folder / ("Lib/site-packages" if bootstrap.WINDOWS else "lib/python3.12/site-packages")
    site.mkdir(parents=True)
    python = folder / ("Scripts/python.exe" if bootstrap.WINDOWS else "bin/python")
    python.parent.mkdir()
    python.write_text("")
    for module in (bootstrap, install, run):
        monkeypatch.setattr(module, "VENV", folder)
    monkeypatch.setattr(install, "MARK", folder / install.MARK.name)
    monkeypatch.setattr(run, "STAMP", folder / run.STAMP.name)
    return folder


def add_package(venv: Path, name: str, metadata: str = "", record: bool = True) -> Path:
    site = next(venv.glob("[Ll]ib/**/site-packages"))
    folder = site / f"{name}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(metadata)
    if record:
        (folder / "RECORD").write_text("")
    return folder


def test_stamp_makes_the_next_start_skip_the_installation(venv: Path) -> None:
    assert not run.is_set_up([], "")
    content = {"key": [run.wanted_key()], "extras": ["test"], "torch": ["cpu"]}
    run.STAMP.write_text(json.dumps(content))
    assert run.is_set_up([], "")
    assert run.is_set_up(["test"], "cpu")
    assert not run.is_set_up(["docs"], "")
    assert not run.is_set_up([], "cu130")
    run.STAMP.write_text(json.dumps({**content, "key": ["of another pyproject.toml"]}))
    assert not run.is_set_up([], "")


def test_stamp_cut_short_counts_as_none(venv: Path) -> None:
    run.STAMP.write_text('{"key": ["')
    assert not run.is_set_up([], "")


def test_a_set_up_cut_short_is_not_taken_for_a_finished_one(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.STAMP.write_text(json.dumps({"key": ["of before"], "extras": ["docs"], "torch": ["cpu"]}))
    asked: list[tuple[list[str], str]] = []

    def cut_short(extras: list[str], build: str) -> None:
        asked.append((extras, build))
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "make_venv", lambda: None)
    monkeypatch.setattr(install, "install", cut_short)
    with pytest.raises(KeyboardInterrupt):
        run.set_up(["test"], "")
    assert asked == [(["docs", "test"], "cpu")]  # what was there before stays
    assert not run.STAMP.exists()
    assert not run.is_set_up([], "")


def test_a_finished_set_up_is_not_done_again(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], str]] = []
    monkeypatch.setattr(install, "make_venv", lambda: None)
    monkeypatch.setattr(
        install, "install", lambda extras, build: asked.append((list(extras), build))
    )
    for _ in range(2):
        run.set_up(["test"], "cpu")
    assert asked == [(["test"], "cpu")]
    assert run.is_set_up(["test"], "cpu")


def test_setup_installs_what_it_is_told_and_stops(
    venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[list[str], str]] = []
    monkeypatch.setattr(install, "make_venv", lambda: None)
    monkeypatch.setattr(
        install, "install", lambda extras, build: asked.append((list(extras), build))
    )
    assert run.main(["setup", "--torch", "cu126", "--extras", "docs,dev"]) == 0
    assert asked == [(["dev", "docs"], "cu126")]
    assert "ready" in capsys.readouterr().err


def test_packages_cut_off_by_an_interruption_are_installed_again(venv: Path) -> None:
    whole = add_package(venv, "numpy-2.4.6")
    cut_off = add_package(venv, "scipy-1.17.1", record=False)
    renamed = whole.with_name("~orch")
    renamed.mkdir()
    install.drop_half_installed()
    assert whole.exists()
    assert not cut_off.exists()
    assert not renamed.exists()


def test_folder_that_is_not_a_virtual_environment_is_left_alone(venv: Path) -> None:
    keep = venv / "thesis.txt"
    keep.write_text("precious")
    with pytest.raises(bootstrap.SetupError, match="move it away"):
        install.make_venv()
    assert keep.exists()


def test_python_without_the_venv_module_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fresh"
    complaint = "The virtual environment was not created because ensurepip is not available."
    monkeypatch.setattr(install, "VENV", folder)
    monkeypatch.setattr(install, "MARK", folder / install.MARK.name)
    monkeypatch.setattr(install, "output_of", lambda *_: (1, complaint))
    with pytest.raises(bootstrap.SetupError, match=r"apt install python3\.\d+-venv"):
        install.make_venv()
    assert not folder.exists()


def test_virtual_environment_cut_short_is_made_anew(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []

    def answer(*command: str) -> tuple[int, str]:
        made.extend([command] if "venv" in command else [])
        return (0, "") if "venv" in command else (1, "no such file")

    monkeypatch.setattr(install, "output_of", answer)
    install.MARK.write_text("")
    leftover = venv / "leftover"
    leftover.write_text("")
    install.make_venv()
    assert made == [(sys.executable, "-m", "venv", str(venv))]
    assert not leftover.exists()
    assert install.MARK.exists()


def test_mismatched_torchvision_is_named_with_its_remedy(
    venv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_package(venv, "torch-2.13.0+cpu")
    add_package(venv, "torchvision-0.29.2", "Requires-Dist: torch==2.14.1\n")
    run.warn_of_torchvision()
    assert "pip uninstall torchvision" in capsys.readouterr().err


def test_matching_torchvision_passes_silently(
    venv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_package(venv, "torch-2.13.0+cu130")
    add_package(venv, "torchvision-0.28.0", "Requires-Dist: torch==2.13.0\n")
    run.warn_of_torchvision()
    assert capsys.readouterr().err == ""


def test_older_torch_gets_constraints_of_its_own(venv: Path) -> None:
    pins = install.constraints_for("cu128").read_text().splitlines()
    assert "torch==2.11.0" in pins
    assert install.constraints_for("cu130") == bootstrap.CONSTRAINTS


def test_unreachable_torch_index_falls_back_to_the_package_index_aloud(
    venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(install, "reachable", lambda url: False)
    monkeypatch.setattr(install, "require_disk", lambda build: None)
    monkeypatch.setattr(install, "pip_install", lambda *a: (calls.append(a), (0, ""))[1])
    install.install_torch("cpu", bootstrap.CONSTRAINTS)
    assert [call[-1] for call in calls] == [f"torch=={install.torch_version('cpu')}"]
    assert "package index" in capsys.readouterr().err


def test_reachable_torch_index_gives_the_exact_build(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(install, "reachable", lambda url: True)
    monkeypatch.setattr(install, "require_disk", lambda build: None)
    monkeypatch.setattr(install, "pip_install", lambda *a: (calls.append(a), (0, ""))[1])
    install.install_torch("cu130", bootstrap.CONSTRAINTS)
    assert calls[0][-3:] == (
        "--extra-index-url",
        "https://download.pytorch.org/whl/cu130",
        f"torch=={install.torch_version('cu130')}+cu130",
    )


def test_torch_that_is_there_is_not_downloaded_again(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_package(venv, f"torch-{install.torch_version('cpu')}+cpu")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(install, "pip_install", lambda *a: (calls.append(a), (0, ""))[1])
    install.install_torch("cpu", bootstrap.CONSTRAINTS)
    assert calls == []


def test_full_disk_is_found_before_the_download(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = install.shutil._ntuple_diskusage(10**12, 10**12, 10**8)
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(bootstrap.SetupError, match=r"found 0.1 GB free"):
        install.install_torch("cpu", bootstrap.CONSTRAINTS)


def test_old_python_is_refused_in_one_line_when_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run.sys, "version_info", (3, 9, 18, "final", 0))
    monkeypatch.setattr(run, "find_python", lambda: None)
    with pytest.raises(bootstrap.SetupError, match=r"found Python 3\.9 .* needs Python 3\.11"):
        run.use_suitable_python([])


def test_old_python_hands_over_to_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(run.sys, "version_info", (3, 9, 18, "final", 0))
    monkeypatch.setattr(run, "find_python", lambda: "/opt/python3.12")
    monkeypatch.setattr(run, "hand_over", lambda command: commands.append(command) or 7)
    monkeypatch.setenv("FRAMEPACK_PYTHON_SEARCHED", "set so that it is restored afterwards")
    monkeypatch.delenv("FRAMEPACK_PYTHON_SEARCHED")
    with pytest.raises(SystemExit) as stop:
        run.use_suitable_python(["plan", "--duration", "4"])
    assert stop.value.code == 7
    assert commands == [["/opt/python3.12", str(ROOT / "run.py"), "plan", "--duration", "4"]]


def test_python_on_path_must_really_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "WINDOWS", False)
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/shims/{name}")

    def answer(command: str, *_: str) -> tuple[int, str]:
        if command == "python3.11":
            return 0, "/usr/bin/python3.11|3|11\n"
        return 127, "pyenv: python3.12: command not found"

    monkeypatch.setattr(run, "output_of", answer)
    assert run.find_python() == "/usr/bin/python3.11"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the programs that run_tests starts; ruff fails, the others pass."""
    names: list[str] = []

    def start(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        name = command[2] if command[1:2] == ["-m"] else Path(command[0]).stem
        names.append(" ".join([name, *command[3:]]))
        return subprocess.CompletedProcess(command, int(name == "ruff"))

    monkeypatch.setattr(run.subprocess, "run", start)
    return names


def test_linter_that_fails_does_not_hide_the_tests(started: list[str]) -> None:
    assert run.run_tests(["--full"]) == 1
    workers = min(run.MOST_WORKERS, os.cpu_count() or 1)
    assert started == [
        "ruff check",
        "mypy",
        "lint-imports",
        f"pytest --full -n {workers}",
    ]


def test_arguments_of_pytest_run_pytest_alone(started: list[str]) -> None:
    assert run.run_tests(["tests/unit", "-k", "nvidia"]) == 0
    assert started == ["pytest tests/unit -k nvidia"]


@pytest.mark.skipif(os.name == "nt", reason="execv replaces the process only elsewhere")
def test_program_gets_its_arguments_and_gives_its_exit_code(tmp_path: Path) -> None:
    """A finished set-up starts the program at once, from whichever folder."""
    folder = tmp_path / "venv"
    environment = dict(os.environ, FRAMEPACK_VENV=str(folder), PYTHONPATH=str(ROOT))
    python = folder / "bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\nexit 5\n')
    python.chmod(0o755)
    content = {"key": [run.wanted_key()], "extras": [], "torch": ["cpu"]}
    (folder / run.STAMP.name).write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "plan", "--prompt", "two words"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "-P -m framepack plan --prompt two words"
    assert done.returncode == 5
