"""From what the pipeline says to how far a job is."""

from collections.abc import Mapping
from typing import Any

from framepack.domain.events import Event, Finished, Planned, SectionDone, StageStarted, StepDone
from framepack.domain.pace import Pace
from framepack.service.records import Progress

__all__ = ["Tracker"]

_BEFORE, _RENDERED = 0.02, 0.97
"""Shares of a job that are done when its sections begin, and when the last one is rendered."""


class Tracker:
    """Follows one job from event to event.

    Args:
        progress: how far the job was when it was stopped; it goes on from there.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or Progress()
        self._pace = Pace()

    def add(self, values: Mapping[str, Any]) -> Progress:
        """Take in ``Event.to_dict()`` and say how far the job is now.

        Raises:
            FramePackError: unknown event, or fields that do not belong to it.
        """
        event = Event.from_dict(values)
        self._pace.add(event)
        self.progress = self._after(event, self.progress)
        return self.progress

    def _after(self, event: Event, before: Progress) -> Progress:
        known = {name: getattr(before, name) for name in Progress.__slots__}
        if isinstance(event, Planned):
            known["num_sections"] = len(event.plan["sections"])
            known["num_steps"] = event.plan["request"]["num_inference_steps"]
        elif isinstance(event, StageStarted):
            known["stage"] = event.stage
            if event.stage == "write" and event.section is None:
                known["fraction"] = max(before.fraction, _RENDERED)
        elif isinstance(event, StepDone | SectionDone):
            pace = self._pace
            steps = pace.num_sections * pace.num_steps
            share = pace.steps_done / steps if steps else pace.num_done / pace.num_sections
            known |= {
                "fraction": _BEFORE + (_RENDERED - _BEFORE) * min(share, 1.0),
                "section": pace.num_done,
                "num_sections": pace.num_sections,
                "step": pace.step,
                "num_steps": pace.num_steps or before.num_steps,
                "seconds_left": pace.left_s,
            }
        elif isinstance(event, Finished):
            known |= {"fraction": 1.0, "seconds_left": 0.0, "section": before.num_sections}
        return Progress(**known)
