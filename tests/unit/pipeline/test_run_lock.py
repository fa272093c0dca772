import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from framepack.domain.errors import WorkspaceError
from framepack.pipeline import run_lock
from framepack.pipeline.run_lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from framepack.pipeline.run_lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with (
        RunLock(tmp_path / "lock"),
        pytest.raises(WorkspaceError, match=f"in use by process {os.getpid()} on "),
    ):
        RunLock(tmp_path / "lock").acquire()


def test_a_released_lock_can_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with RunLock(path):
            assert json.loads(path.read_text())["pid"] == os.getpid()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    source = str(Path(run_lock.__file__).parents[2])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceError, match=f"in use by process {holder.pid}"):
            RunLock(path).acquire()
        holder.kill()
        holder.wait()
    assert json.loads(path.read_text())["pid"] == holder.pid
    with RunLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.fixture
def no_file_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if os.name == "nt":
        pytest.skip("byte-range locks are always there")
    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.usefixtures("no_file_locks")
def test_without_file_locks_the_recorded_process_counts(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with RunLock(path), pytest.raises(WorkspaceError, match="in use by process"):
        RunLock(path).acquire()


@pytest.mark.usefixtures("no_file_locks")
@pytest.mark.parametrize("change", [{"started": 1.0}, {"pid": 2**22 + 1}, {"host": "elsewhere"}])
def test_without_file_locks_a_process_that_is_gone_does_not_count(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "lock"
    holder = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "host": run_lock.socket.gethostname(),
    }
    path.write_text(json.dumps({**holder, **change}))
    with RunLock(path):
        assert json.loads(path.read_text()) == holder


def test_a_folder_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot lock"):
        RunLock(tmp_path / "gone" / "lock").acquire()
