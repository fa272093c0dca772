"""Estimates follow from what this machine has measured, and from nothing else."""

from pathlib import Path
from typing import Any

import pytest

from framepack.api import plan
from framepack.domain.plan import Plan
from framepack.service.database import Database
from framepack.service.estimates import Estimates
from framepack.service.leases import Leases
from framepack.service.store import JobStore, new_job_id

STEP_S, FRAME_S = 0.1, 0.02


class Machine:
    """A store in which videos are finished, with the figures that a test gives."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "service.db")
        self.store, self.leases = JobStore(self.database), Leases(self.database)
        self.estimates = Estimates(self.database)

    def made(self, planned: Plan, *, besides_s: float = 1.0, **stats: Any) -> None:
        """Finish a video."""
        num_steps = planned.num_sections * planned.request.num_inference_steps
        figures = {
            "step_s": STEP_S,
            "frame_s": {"decode": FRAME_S / 2, "write": FRAME_S / 2},
            "num_steps": num_steps,
            "num_frames": planned.num_frames,
            "total_s": num_steps * STEP_S + planned.num_frames * FRAME_S + besides_s,
            "peak_host_gb": 1.5,
            "peak_device_gb": None,
            **stats,
        }
        self.store.create(new_job_id(), {}, planned.to_dict())
        job = self.leases.claim()
        assert job is not None
        assert job.lease is not None
        self.leases.complete(job.id, job.lease, {"stats": figures})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def planned(**fields: Any) -> Plan:
    return plan(prompt="x", model="tiny", **{"duration_s": 2, "seed": 1, **fields})


def test_nothing_is_known_of_a_model_that_made_no_video(machine: Machine) -> None:
    machine.made(planned())
    found = machine.estimates.of(planned().model_copy(update={"model": "i2v"}))
    assert (found.seconds, found.host_memory_gb) == (None, None)
    assert found.basis == "not measured yet on this machine"


def test_the_same_video_takes_as_long_again(machine: Machine) -> None:
    one = planned()
    machine.made(one)
    found = machine.estimates.of(one)
    expected = one.num_sections * one.request.num_inference_steps * STEP_S
    assert found.seconds == pytest.approx(expected + one.num_frames * FRAME_S + 1.0, abs=0.06)
    assert (found.device_memory_gb, found.host_memory_gb) == (None, 1.5)
    assert found.basis == "measured on 1 video of this machine"


def test_time_grows_with_length_steps_and_pixels(machine: Machine) -> None:
    one = planned(width=64, height=64)
    machine.made(one, besides_s=0.0)
    base = machine.estimates.of(one).seconds
    longer = planned(width=64, height=64, duration_s=4)
    larger = planned(width=128, height=128)
    assert base is not None
    assert machine.estimates.of(larger).seconds == pytest.approx(4 * base, rel=0.01)
    steps = longer.num_sections * longer.request.num_inference_steps
    assert machine.estimates.of(longer).seconds == pytest.approx(
        steps * STEP_S + longer.num_frames * FRAME_S, abs=0.06
    )
    guided = machine.estimates.of(planned(width=64, height=64, true_cfg_scale=3)).seconds
    assert guided == pytest.approx(base + one.num_sections * 10 * STEP_S, abs=0.06)


def test_reading_networks_counts_where_the_worker_has_none(machine: Machine) -> None:
    one = planned()
    machine.made(one, besides_s=31.0)
    machine.made(one, besides_s=1.0)
    cold, warm = machine.estimates.of(one), machine.estimates.of(one, loaded="tiny")
    assert cold.seconds is not None
    assert warm.seconds is not None
    assert cold.seconds - warm.seconds == pytest.approx(30.0, abs=0.1)


def test_sections_of_nearest_size_count(machine: Machine) -> None:
    machine.made(planned(width=64, height=64), peak_host_gb=1.0)
    for _ in range(5):
        machine.made(planned(width=128, height=128), peak_host_gb=3.0, step_s=0.8)
    found = machine.estimates.of(planned(width=128, height=128))
    assert (found.host_memory_gb, found.basis) == (3.0, "measured on 5 videos of this machine")


def test_another_vae_is_told(machine: Machine) -> None:
    one = planned()
    machine.made(one)
    other = one.model_copy(update={"request": one.request.model_copy(update={"vae": "tiny"})})
    assert machine.estimates.of(other).basis.endswith("made with another VAE or step cache")


def test_a_video_without_figures_is_left_out(machine: Machine) -> None:
    machine.made(planned(), step_s=0.0)
    assert machine.estimates.of(planned()).seconds is None
