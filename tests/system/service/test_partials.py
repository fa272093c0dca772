"""What a job has when it is stopped is kept where that is wanted, whatever happens meanwhile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.runs import SEAM_FRAMES, SECTION_FRAMES, SMALL, frames_of, seconds
from tests.helpers.service import until
from tests.helpers.workshop import Bench, working

from framepack.service import partials
from framepack.service.tasks import TaskRunner

LENGTH_S = seconds(4 * SECTION_FRAMES)
TWO_SECTIONS = 2 * SECTION_FRAMES - 3
"""Frames of two sections without a start picture."""


def stopped_after_two_sections(bench: Bench, verb: str, **body: Any) -> str:
    """A video that was cancelled or paused in its third section."""
    bench.client.post("/v1/queue/pause")
    asked = {**SMALL, "duration_s": LENGTH_S, "variant": "forward-only"}
    video_id = str(bench.post("videos", asked)["id"])

    def stop(event: Mapping[str, Any]) -> None:
        if event["event"] == "StepDone" and event["render_index"] == 2:
            bench.workshop.wait_after = lambda _: None
            bench.post(f"videos/{video_id}/{verb}", body or None)
            until(lambda: bench.workshop.is_told_to_stop)

    bench.workshop.wait_after = stop
    bench.client.post("/v1/queue/resume")
    until(lambda: bench.job(video_id).state in ("cancelled", "paused"), timeout_s=60)
    return video_id


def partial_frames(bench: Bench, video_id: str, tmp_path: Path) -> np.ndarray[Any, Any]:
    answer = bench.client.get(f"/v1/videos/{video_id}/content?variant=partial")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "partial.mp4").write_bytes(answer.content)
    return frames_of(tmp_path / "partial.mp4")


def test_a_cancelled_video_keeps_its_frames(bench: Bench, tmp_path: Path) -> None:
    video_id = stopped_after_two_sections(bench, "cancel", keep=True)
    until(lambda: "partial_frames" in bench.job(video_id).output, timeout_s=60)
    found = bench.get(video_id)
    assert (found["state"], found["error"]["code"]) == ("cancelled", "cancelled")
    frames = partial_frames(bench, video_id, tmp_path)
    assert len(frames) == found["output"]["partial_frames"] == TWO_SECTIONS
    with (tmp_path / "partial.mp4").open("rb") as file:
        settings = bench.client.post("/v1/inspect", files={"file": file})
    assert settings.json()["request"]["seed"] == SMALL["seed"]
    bench.post(f"videos/{video_id}/retry")
    whole = frames_of(bench.video(bench.finished(video_id)))
    final = TWO_SECTIONS - SEAM_FRAMES
    np.testing.assert_array_equal(frames[:final], whole[:final])
    kinds = [event.kind for event in bench.service.store.events(video_id)]
    assert (kinds.count("Cancelled"), kinds.count("Partial"), kinds.count("Completed")) == (1, 1, 1)


def test_a_video_cancelled_as_ever_keeps_nothing(bench: Bench) -> None:
    video_id = stopped_after_two_sections(bench, "cancel")
    assert bench.get(video_id)["output"] == {}
    answer = bench.client.get(f"/v1/videos/{video_id}/content?variant=partial")
    assert answer.status_code == 404


def test_a_paused_video_shows_what_it_has_and_goes_on(bench: Bench, tmp_path: Path) -> None:
    video_id = stopped_after_two_sections(bench, "pause")
    found = bench.post(f"videos/{video_id}/partial")
    assert found["state"] == "paused"
    assert len(partial_frames(bench, video_id, tmp_path)) == found["output"]["partial_frames"]
    link = bench.post(f"videos/{video_id}/links", {"variant": "partial"})["url"]
    assert bench.client.get(link).status_code == 200
    bench.post(f"videos/{video_id}/resume")
    bench.finished(video_id)
    said = bench.post(f"videos/{video_id}/partial", status=409)["error"]["message"]
    assert "its whole video is there" in said


def test_what_has_no_frames_is_kept_without_a_file(bench: Bench) -> None:
    bench.client.post("/v1/queue/pause")
    video_id = bench.post("videos", {**SMALL, "duration_s": LENGTH_S})["id"]
    assert (
        "cancel or pause it"
        in bench.post(f"videos/{video_id}/partial", status=409)["error"]["message"]
    )
    bench.post(f"videos/{video_id}/cancel", {"keep": True})
    until(lambda: bench.job(video_id).output == {"partial_frames": 0})
    until(lambda: not bench.service.data.job(video_id).partial_wanted.exists())
    said = bench.post(f"videos/{video_id}/partial", status=409)["error"]["message"]
    assert "no frame of it is final" in said


def test_the_next_server_keeps_what_was_wanted(
    tmp_path: Path, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # As if the server were killed while the file is made.
        patched.setattr(partials.Partials, "_ask", lambda *_: 1 / 0)
        with working(tmp_path, runner) as bench:
            video_id = stopped_after_two_sections(bench, "cancel", keep=True)
            assert "partial_frames" not in bench.get(video_id)["output"]
    with working(tmp_path, runner) as bench:
        until(lambda: bench.job(video_id).output.get("partial"), timeout_s=60)
        assert len(partial_frames(bench, video_id, tmp_path)) == TWO_SECTIONS


def test_a_damaged_run_is_said(bench: Bench) -> None:
    video_id = stopped_after_two_sections(bench, "cancel")
    segment = next((bench.service.data.job(video_id).run / "segments").iterdir())
    segment.write_bytes(segment.read_bytes()[:100])
    said = bench.post(f"videos/{video_id}/partial", status=409)["error"]["message"]
    assert "damaged" in said
    assert bench.get(video_id)["output"]["partial_frames"] == 0
    assert not bench.service.data.job(video_id).partial_wanted.exists()


def test_other_bodies_are_refused(bench: Bench) -> None:
    assert bench.post("videos/video_0/cancel", {"kept": True}, status=422)
