"""How long a video will take and how much memory, from those that this machine has made.

The time of a denoising step is taken to grow with pixels times latent frames times passes, decoding
and writing with pixels times frames. What is left of a video's time is encoding its texts and
pictures, and reading networks where the worker did not have them yet.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from framepack.domain.plan import Plan
from framepack.service.database import Database

__all__ = ["Estimate", "Estimates"]

_NEWEST = 60
"""Videos that are looked at; a machine may have changed since older ones."""
_NEAREST = 5
"""Of these, those whose sections are most alike."""
_UNKNOWN = "not measured yet on this machine"

_FACTS = {
    "model": "plan, '$.model'",
    "width": "plan, '$.width'",
    "height": "plan, '$.height'",
    "window": "plan, '$.latent_window_size'",
    "one_frame": "plan, '$.request.one_frame'",
    "cfg": "plan, '$.request.true_cfg_scale'",
    "vae": "plan, '$.request.vae'",
    "step_cache": "plan, '$.request.step_cache'",
    "step_cache_threshold": "plan, '$.request.step_cache_threshold'",
    "stats": "output, '$.stats'",
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a video will take.

    Attributes:
        seconds: until it is written, once it has its turn; None where nothing is known.
        device_memory_gb: most memory on the accelerator, GB of 10**9 bytes; None on a CPU.
        host_memory_gb: likewise of the process.
        basis: what all this is taken from.
    """

    seconds: float | None
    device_memory_gb: float | None
    host_memory_gb: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a finished video took.

    Attributes:
        model: its model.
        kind: what else should be alike: its VAE and its step cache.
        work: pixels times latent frames times passes of a step.
        pixels: of a frame.
        step_s: seconds of a step.
        frame_s: seconds to decode and write a frame.
        num_steps, num_frames: of the video.
        total_s: seconds of the whole run.
        device_gb, host_gb: peaks, or None.
    """

    model: str
    kind: str
    work: float
    pixels: int
    step_s: float
    frame_s: float
    num_steps: int
    num_frames: int
    total_s: float
    device_gb: float | None
    host_gb: float | None


class Estimates:
    """Reads what finished videos took.

    Args:
        database: of the jobs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, _Measured | None] = {}

    def of(self, plan: Plan, *, loaded: str | None = None) -> Estimate:
        """Estimate a video.

        Args:
            plan: of the video.
            loaded: the model whose networks the worker has; those of others are read first.
        """
        work = _work(plan)
        known = [each for each in self._measured() if each and each.model == plan.model]
        if not known:
            return Estimate(None, None, None, _UNKNOWN)
        alike = [each for each in known if each.kind == _kind(plan.request.model_dump())]
        other = "" if alike else ", made with another VAE or step cache"
        alike = alike or known
        near = sorted(alike, key=lambda each: abs(math.log(each.work / work)))[:_NEAREST]
        pixels = plan.width * plan.height
        seconds = _seconds(near, work, pixels, _num_steps(plan), plan.num_kept_frames) + _besides_s(
            near, is_loaded=loaded == plan.model
        )
        videos = "1 video" if len(near) == 1 else f"{len(near)} videos"
        return Estimate(
            round(seconds, 1),
            max((each.device_gb for each in near if each.device_gb is not None), default=None),
            max((each.host_gb for each in near if each.host_gb is not None), default=None),
            f"measured on {videos} of this machine{other}",
        )

    def _measured(self) -> list[_Measured | None]:
        """What the newest videos took, read once each."""
        with self._database.reading() as connection:
            ids = [
                row["id"]
                for row in connection.execute(
                    "SELECT id FROM jobs WHERE state = 'completed' "
                    "ORDER BY finished_at DESC LIMIT ?",
                    (_NEWEST,),
                )
            ]
            columns = ", ".join(f"json_extract({path}) AS {name}" for name, path in _FACTS.items())
            found: dict[str, _Measured | None] = {}
            for job_id in ids:
                if job_id in self._known:
                    found[job_id] = self._known[job_id]
                    continue
                row = connection.execute(
                    f"SELECT {columns} FROM jobs WHERE id = ?", (job_id,)
                ).fetchone()
                found[job_id] = None if row is None else _read(dict(row))
        self._known = found
        return list(found.values())


def _read(facts: dict[str, Any]) -> _Measured | None:
    """What a row says; None where its video took no step, as one that was put together."""
    stats = json.loads(facts["stats"] or "{}")
    if not stats.get("step_s") or not stats.get("num_frames") or not facts["width"]:
        return None
    frame_s = stats["frame_s"]
    pixels = facts["width"] * facts["height"]
    latents = 1 if facts["one_frame"] else facts["window"]
    return _Measured(
        model=facts["model"],
        kind=_kind(facts),
        work=_product(pixels, latents, facts["cfg"]),
        pixels=pixels,
        step_s=stats["step_s"],
        frame_s=frame_s.get("decode", 0.0) + frame_s.get("write", 0.0),
        num_steps=stats["num_steps"],
        num_frames=stats["num_frames"],
        total_s=stats["total_s"],
        device_gb=stats.get("peak_device_gb"),
        host_gb=stats.get("peak_host_gb"),
    )


def _kind(request: Mapping[str, Any]) -> str:
    cache = request.get("step_cache") or "off"
    threshold = request.get("step_cache_threshold") if cache != "off" else None
    return f"{request.get('vae')} {cache} {threshold}"


def _work(plan: Plan) -> float:
    request = plan.request
    return _product(plan.width * plan.height, request.section_latents, request.true_cfg_scale)


def _product(pixels: int, latents: int, true_cfg_scale: float | None) -> float:
    return float(pixels * latents * (2 if (true_cfg_scale or 1) > 1 else 1))


def _num_steps(plan: Plan) -> int:
    made = plan.num_sections - plan.num_given_sections
    return made * (plan.request.num_inference_steps - plan.num_spared_steps)


def _seconds(
    near: Sequence[_Measured], work: float, pixels: int, num_steps: int, num_frames: int
) -> float:
    """Seconds of the steps and frames; a low median, as those who read networks took longer."""
    step_s = median_low([each.step_s / each.work for each in near]) * work
    frame_s = median_low([each.frame_s / each.pixels for each in near]) * pixels
    return num_steps * step_s + num_frames * frame_s


def _besides_s(near: Sequence[_Measured], *, is_loaded: bool) -> float:
    """Seconds of everything else: the least of what was left over, or the most."""
    left = [
        each.total_s - _seconds(near, each.work, each.pixels, each.num_steps, each.num_frames)
        for each in near
    ]
    return max(min(left) if is_loaded else max(left), 0.0)
