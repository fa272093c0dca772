"""Where a run is and how long it will still take, from its events alone."""

from dataclasses import dataclass, field

from framepack.domain.events import Event, SectionDone, StepDone

__all__ = ["Pace", "clock"]

_WEIGHT = 0.2  # of the newest step in the running mean; follows a machine that slows down


@dataclass
class Pace:
    """Running figures of a run.

    Attributes:
        section: the section at work or just done, 1 for the first one rendered; 0 before it.
        num_sections: sections of the run; 0 until known.
        step: steps done in this section.
        num_steps: steps per section; 0 until known.
        step_s: seconds per step, newer steps count more; None before the first.
    """

    section: int = 0
    num_sections: int = 0
    step: int = 0
    num_steps: int = 0
    step_s: float | None = None
    _num_done: int | None = None
    _steps_s: dict[int, float] = field(default_factory=dict)
    _besides_s: list[float] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take in an event; those that say nothing about the pace are ignored."""
        if isinstance(event, StepDone):
            index = event.render_index
            self.section, self.num_sections = index + 1, event.num_sections
            self.step, self.num_steps = event.step, event.num_steps
            if self._num_done is None:  # those before it were done by an earlier process
                self._num_done = index
            before = self._steps_s.get(index, 0.0) if event.step > 1 else 0.0
            self._steps_s[index] = before + event.seconds
            last = self.step_s if self.step_s is not None else event.seconds
            self.step_s = last + _WEIGHT * (event.seconds - last)
        elif isinstance(event, SectionDone):
            # It may be told when the next section is at work already.
            self.section = max(self.section, event.render_index + 1)
            self.num_sections = event.num_sections
            self._num_done = max(self.num_done, event.render_index + 1)
            steps_s = self._steps_s.pop(event.render_index, 0.0)
            self._besides_s.append(max(event.seconds - steps_s, 0.0))

    @property
    def num_done(self) -> int:
        """Finished sections."""
        return self._num_done or 0

    @property
    def steps_done(self) -> int:
        """Steps done in all sections together."""
        return max(self.section - 1, 0) * self.num_steps + self.step

    @property
    def left_s(self) -> float | None:
        """Seconds until the last section is done; None while nothing is known.

        Until a first section is finished, the time that decoding and writing will take is
        unknown and left out.
        """
        if self.step_s is None:
            return None
        besides = sum(self._besides_s) / len(self._besides_s) if self._besides_s else 0.0
        steps_left = self.num_sections * self.num_steps - self.steps_done
        return steps_left * self.step_s + (self.num_sections - self.num_done) * besides


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
