"""The machine is looked at by a process of its own, and not for everybody who asks."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.service import new_service, running

from framepack.domain.settings import Settings
from framepack.service.examination import KEPT_S, Examination

LOOKS = """
import json, sys
with open(sys.argv[1], "a") as file:
    file.write("x")
print(json.dumps({"ok": True, "findings": [], "machine": {"asked": sys.argv[2:]}}))
"""


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class Looked:
    """Somebody who looks, and how often he did."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._marks = folder / "marks"
        (folder / "looks.py").write_text(LOOKS)
        self.clock, self.settings = Clock(), settings
        command = [sys.executable, str(folder / "looks.py"), str(self._marks)]
        self.examination = Examination(lambda: self.settings, clock=self.clock, command=command)

    @property
    def times(self) -> int:
        return len(self._marks.read_text()) if self._marks.exists() else 0


@pytest.fixture
def looked(tmp_path: Path) -> Looked:
    return Looked(tmp_path, Settings(device="cpu", models_dir=tmp_path))


def test_what_was_found_is_kept_for_a_while(looked: Looked, tmp_path: Path) -> None:
    found = looked.examination.found()
    assert found["machine"]["asked"] == [
        *("--device", "cpu", "--dtype", "auto", "--attention", "auto"),
        *("--models-dir", str(tmp_path)),
    ]
    assert looked.examination.found() == found
    assert looked.times == 1
    looked.clock.now += KEPT_S
    assert looked.examination.found()["checked_at"] > found["checked_at"]
    assert looked.times == 2


def test_it_is_looked_for_again_when_asked_or_when_settings_change(looked: Looked) -> None:
    looked.examination.found()
    looked.examination.found(refresh=True)
    assert looked.times == 2
    looked.settings = Settings(device="auto")
    assert looked.examination.found()["machine"]["asked"][1] == "auto"
    assert looked.times == 3


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.stderr.write('error: no such device\\n'); sys.exit(2)", "no such device"),
        ("import os; os._exit(7)", "ended with exit code 7"),
    ],
)
def test_what_cannot_be_looked_at_is_a_finding(script: str, words: str) -> None:
    found = Examination(Settings, command=[sys.executable, "-c", script]).found()
    assert (found["ok"], found["machine"]) == (False, None)
    assert words in found["findings"][0]["text"]


def test_the_server_tells_what_doctor_finds(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    with running(service) as client:
        answer: dict[str, Any] = client.get("/v1/system").json()
        assert answer["object"] == "system"
        assert answer["machine"]["compute"]["torch"]
        assert {"program", "torch", "device", "tiny"} <= {f["topic"] for f in answer["findings"]}
        service.keys.create("operator")
        assert client.get("/v1/system").status_code == 401
        key = {"Authorization": f"Bearer {service.keys.create('guest')[1]}"}
        assert client.get("/v1/system", headers=key).status_code == 403
