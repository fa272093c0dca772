"""A run never touches a file that no run puts there."""

from pathlib import Path

import pytest

from framepack.pipeline.run_files import delete_run_files, foreign_file

OWN = (
    "run.json",
    "conditions.safetensors",
    "state.safetensors",
    "preview.webp",
    "lock",
    "inputs/start.png",
    "inputs/end.png",
    "segments/000012.mp4",
    "segments/seam.mp4",
    "segments/.000013.mp4.0a1b2c3d.part",
    ".tmpAb3_9z",
)
FOREIGN = (
    "notes.txt",
    "inputs/holiday.png",
    "segments/holiday.mp4",
    "segments/000012.mp4/nested.txt",
    "pictures/start.png",
    ".tmpfile",
)


def _put(directory: Path, name: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")
    return path


def test_what_a_run_leaves_is_its_own_and_goes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in OWN:
        _put(run, name)
    assert foreign_file(run) is None
    delete_run_files(run)
    assert not run.exists()


@pytest.mark.parametrize("name", FOREIGN)
def test_anything_else_is_foreign_and_stays(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    for own in ("run.json", "inputs/start.png"):
        _put(run, own)
    kept = _put(run, name)
    found = foreign_file(run)
    assert found is not None
    assert kept.is_relative_to(found)
    delete_run_files(run)
    assert kept.read_text() == "precious"
    assert not (run / "run.json").exists()


def test_a_directory_that_is_missing_or_empty_is_fine(tmp_path: Path) -> None:
    assert foreign_file(tmp_path / "none") is None
    (tmp_path / "run" / "segments").mkdir(parents=True)
    assert foreign_file(tmp_path / "run") is None


def test_what_cannot_be_deleted_stays_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    held, other = _put(run, "preview.webp"), _put(run, "run.json")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == held:
            raise PermissionError(13, "in use by another program")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    delete_run_files(run)
    assert held.exists()
    assert not other.exists()
    assert "preview.webp was not removed: in use" in caplog.text
