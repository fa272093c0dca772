"""What finished jobs left, by names that lead to it and nowhere else."""

import re
from pathlib import Path

from framepack.service.files import DataFolder
from framepack.service.records import Job
from framepack.service.service import Service

__all__ = ["Forbidden", "output_names", "output_path", "split_name"]

_JOB = re.compile(r"video_[0-9a-f]{24}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DEEPEST = 2
_KINDS = ("video", "raw", "frames", "thumbnail")


class Forbidden(Exception):  # noqa: N818 - says what the name is
    """A name that leads, or may lead, to anything but a job's outputs."""


def output_names(service: Service, job: Job) -> list[str]:
    """Names of what a job left, ``JOB/FILE``, the video first."""
    if job.state != "completed":
        return []
    folder = service.data.job(job.id).output
    names = []
    for kind in _KINDS:
        name = job.output.get(kind)
        if not isinstance(name, str) or not name:
            continue
        path = folder / name
        if path.is_dir():
            names += sorted(f"{job.id}/{name}/{each.name}" for each in path.iterdir())
        elif path.is_file():
            names.append(f"{job.id}/{name}")
    return names


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """The job and the parts of a name.

    Raises:
        Forbidden: it is no name that :func:`output_names` would give.
    """
    job_id, *parts = name.split("/")
    is_known = _JOB.fullmatch(job_id) and 1 <= len(parts) <= _DEEPEST
    if not is_known or not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        raise Forbidden(name)
    return job_id, tuple(parts)


def output_path(data: DataFolder, job_id: str, parts: tuple[str, ...]) -> Path | None:
    """The file, or None if there is none.

    Raises:
        Forbidden: a link leads out of the job's outputs.
    """
    folder = data.job(job_id).output
    path = folder.joinpath(*parts)
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # missing, or links in a circle
        return None
    if not real.is_relative_to(folder.resolve()):
        raise Forbidden(path.name)
    return real if real.is_file() else None
