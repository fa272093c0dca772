"""Bring a git checkout to what its remote has, and no other folder."""

from __future__ import annotations

import shutil
import subprocess

from bootstrap import ROOT, SetupError, output_of, say

NAMED = 5  # changed files that the refusal names


def git(*arguments: str) -> tuple[int, str]:
    """Exit status and text of a git command in this checkout."""
    status, text = output_of("git", "-C", str(ROOT), *arguments)
    return status, text.strip()


def pull() -> None:
    """Fast-forward the checkout, leaving it as it is when that cannot be done.

    Raises:
        SetupError: with what was found and what to do.
    """
    require_checkout()
    require_no_changes()
    require_remote()
    before = git("rev-parse", "HEAD")[1]
    # Not output_of: git may ask for a password, and a long download needs its time.
    command = ["git", "-C", str(ROOT), "pull", "--ff-only"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise SetupError(why_not_pulled())
    after = git("rev-parse", "HEAD")[1]
    if before == after:
        say("this is the newest version")
        return
    changes = git("rev-list", "--count", f"{before}..{after}")[1]
    say(f"updated from {before[:10]} to {after[:10]} (commits: {changes}); see CHANGELOG.md")


def require_checkout() -> None:
    """Refuse a folder that was unpacked or copied, also one inside somebody else's checkout."""
    if not (ROOT / ".git").exists():
        raise SetupError(
            f"{ROOT} is no git checkout, so there is nothing to update it from: get the new "
            "version where you got this one and unpack it into a new folder; videos, settings "
            "and downloaded models lie elsewhere and are found again"
        )
    if not shutil.which("git"):
        raise SetupError("git is not installed: get it from https://git-scm.com, then start again")
    status, text = git("rev-parse", "--git-dir")
    if status != 0:
        raise SetupError(f"git cannot read this checkout: {text}")


def require_no_changes() -> None:
    """Refuse to touch files that somebody has edited."""
    status, text = git("status", "--porcelain", "--untracked-files=no")
    if status != 0:
        raise SetupError(f"git cannot read this checkout: {text}")
    names = [line.strip().split(maxsplit=1)[-1] for line in text.splitlines()]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise SetupError(
            f"found changes of your own in {', '.join(names[:NAMED])}{more}, and left everything "
            "as it is: put them aside with `git stash` (`git stash pop` brings them back) or "
            "commit them, then start again"
        )


def require_remote() -> None:
    """Refuse a branch that follows nothing."""
    if git("rev-parse", "--abbrev-ref", "@{upstream}")[0] == 0:
        return
    branch = git("rev-parse", "--abbrev-ref", "HEAD")[1]
    if branch == "HEAD":
        found = "this checkout is at a single commit or tag, not on a branch"
    else:
        found = f"branch {branch} follows no branch of a remote"
    raise SetupError(f"{found}: go to the one to follow with `git switch main`, then start again")


def why_not_pulled() -> str:
    """What keeps the checkout from moving forward, after git has said it in its own words."""
    status, text = git("rev-list", "--left-right", "--count", "HEAD...@{upstream}")
    own, theirs = [int(count) for count in text.split()] if status == 0 else [0, 0]
    if own and theirs:
        return (
            f"this checkout is {own} commits ahead of the remote and {theirs} behind: bring "
            "them together with `git pull --rebase`, then start again"
        )
    return (
        "git could not update this checkout, see its lines above: check the network and that the "
        "disk has room, then start again; nothing was changed"
    )
