"""`run.py update` moves a clean checkout forward, and touches nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import run
from bootstrap import SetupError, update

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Anna", "-c", "user.email=anna@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-m", f"change {name}")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "-b", "main")
    commit(folder, "constraints.txt", "one==1\n")
    return folder


@pytest.fixture
def checkout(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a checkout"
    git(tmp_path, "clone", str(origin), str(folder))
    monkeypatch.setattr(update, "ROOT", folder)
    monkeypatch.setattr(run, "ROOT", folder)
    return folder


def test_new_commits_arrive(
    origin: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(origin, "constraints.txt", "one==2\n")
    update.pull()
    assert (checkout / "constraints.txt").read_text() == "one==2\n"
    assert "commits: 1" in capsys.readouterr().err


def test_the_newest_version_is_left_and_said(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    update.pull()
    assert "newest version" in capsys.readouterr().err


def test_files_of_ones_own_do_not_hinder(origin: Path, checkout: Path) -> None:
    (checkout / "my notes.txt").write_text("mine")
    commit(origin, "new.txt", "new")
    update.pull()
    assert (checkout / "new.txt").exists()


def test_changed_files_are_named_and_kept(origin: Path, checkout: Path) -> None:
    commit(origin, "constraints.txt", "one==2\n")
    (checkout / "constraints.txt").write_text("mine\n")
    with pytest.raises(SetupError, match=r"changes of your own in constraints\.txt.*git stash"):
        update.pull()
    assert (checkout / "constraints.txt").read_text() == "mine\n"


def test_commits_of_ones_own_are_counted_and_kept(origin: Path, checkout: Path) -> None:
    commit(origin, "theirs.txt", "1")
    commit(checkout, "mine.txt", "1")
    mine = git(checkout, "rev-parse", "HEAD")
    with pytest.raises(SetupError, match="1 commits ahead of the remote and 1 behind"):
        update.pull()
    assert git(checkout, "rev-parse", "HEAD") == mine


def test_a_remote_that_is_gone_is_a_clear_line(origin: Path, checkout: Path) -> None:
    shutil.rmtree(origin)
    with pytest.raises(SetupError, match=r"check the network.*nothing was changed"):
        update.pull()


def test_a_checkout_of_a_tag_says_which_branch_to_take(checkout: Path) -> None:
    git(checkout, "switch", "--detach")
    with pytest.raises(SetupError, match=r"single commit or tag.*git switch main"):
        update.pull()


def test_a_branch_without_a_remote_is_named(checkout: Path) -> None:
    git(checkout, "switch", "-c", "try", "--no-track")
    with pytest.raises(SetupError, match="branch try follows no branch"):
        update.pull()


def test_an_unpacked_archive_is_not_updated_by_the_checkout_around_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = checkout / "unpacked"
    inside.mkdir()
    monkeypatch.setattr(update, "ROOT", inside)
    with pytest.raises(SetupError, match="is no git checkout"):
        update.pull()


def test_without_git_it_is_said_where_to_get_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update.shutil, "which", lambda _: None)
    with pytest.raises(SetupError, match=r"git-scm\.com"):
        update.pull()


def test_what_is_installed_follows_by_the_new_run_py(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[list[str]] = []
    monkeypatch.setattr(run, "hand_over", lambda command: (handed.append(command), 0)[1])
    monkeypatch.setattr(run, "read_stamp", dict)
    assert run.main(["update"]) == 0
    assert handed == [], "nothing is installed yet, so nothing has to follow"
    monkeypatch.setattr(run, "read_stamp", lambda: {"key": ["of before"]})
    assert run.main(["update"]) == 0
    assert [command[1:] for command in handed] == [[str(checkout / "run.py"), "--version"]]


def test_arguments_are_refused(checkout: Path) -> None:
    with pytest.raises(SetupError, match="found '--force' after update"):
        run.main(["update", "--force"])
