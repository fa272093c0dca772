"""Sections made again and videos made longer over HTTP: only what is new is computed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.runs import SECTION_FRAMES, frames_of, seconds, write_picture
from tests.helpers.service import data_url, until
from tests.helpers.workshop import Bench

NUM_SECTIONS = 3
LENGTH_S = seconds(NUM_SECTIONS * SECTION_FRAMES + 1)


def first(bench: Bench, tmp_path: Path, **fields: Any) -> str:
    """A finished video from a picture."""
    picture = data_url(write_picture(tmp_path / "start.png"))
    asked = {"image": picture, "duration_s": LENGTH_S, "variant": "forward-only"}
    return bench.make(**{**asked, **fields})


def assert_made_from_nothing(bench: Bench, video_id: str) -> None:
    """The very video that its request alone gives."""
    settings = bench.post(f"videos/{video_id}/reuse")
    anew = bench.post("videos", settings["request"])
    assert len(bench.denoised(bench.finished(anew["id"]))) >= NUM_SECTIONS
    one, other = (frames_of(bench.video(each)) for each in (video_id, anew["id"]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("variant", "computed"), [("forward-only", {1, 2}), ("bi-directional", {0, 1})]
)
def test_a_section_is_made_again_and_what_depends_on_it(
    bench: Bench, tmp_path: Path, variant: str, computed: set[int]
) -> None:
    parent = first(bench, tmp_path, variant=variant)
    other = data_url(write_picture(tmp_path / "other.png", seed=3, size=(120, 60)))
    body = {"section": 1, "prompt": "the camera pans right", "image": other, "seed": 5}
    take = bench.post(f"videos/{parent}/redo", body)
    assert take["remixed_from_video_id"] == parent
    bench.finished(take["id"])
    assert bench.denoised(take["id"]) == computed
    assert not np.array_equal(frames_of(bench.video(parent)), frames_of(bench.video(take["id"])))
    assert_made_from_nothing(bench, take["id"])


def test_takes_are_made_of_takes(bench: Bench, tmp_path: Path) -> None:
    image = data_url(write_picture(tmp_path / "other.png", seed=3))
    parent = first(bench, tmp_path, section_images=[{"section": 1, "image": image}])
    one = bench.finished(bench.post(f"videos/{parent}/redo", {"section": 1, "seed": 1})["id"])
    two = bench.finished(bench.post(f"videos/{one}/redo", {"section": -1, "seed": 2})["id"])
    assert bench.denoised(two) == {2}
    sections = bench.service.store.get(two).plan["sections"]
    assert [each["seed"] for each in sections] == [None, 1, 2]


def test_a_section_alone_gets_other_noise(bench: Bench, tmp_path: Path) -> None:
    parent = first(bench, tmp_path)
    take = bench.finished(bench.post(f"videos/{parent}/redo", {"section": 2})["id"])
    old, new = (frames_of(bench.video(each)) for each in (parent, take))
    np.testing.assert_array_equal(old[:SECTION_FRAMES], new[:SECTION_FRAMES])
    assert not np.array_equal(old, new)


def test_without_the_run_all_of_the_same_video_is_made(bench: Bench, tmp_path: Path) -> None:
    parent = first(bench, tmp_path)
    body = {"section": 1, "seed": 5}
    take = bench.finished(bench.post(f"videos/{parent}/redo", body)["id"])
    shutil.rmtree(bench.service.data.job(parent).run)
    again = bench.finished(bench.post(f"videos/{parent}/redo", body)["id"])
    assert bench.denoised(again) == {0, 1, 2}
    one, other = (frames_of(bench.video(each)) for each in (take, again))
    np.testing.assert_array_equal(one, other)


def test_a_run_that_does_not_fit_any_more_is_not_used(bench: Bench, tmp_path: Path) -> None:
    parent = first(bench, tmp_path)
    run = bench.service.data.job(parent).run / "run.json"
    for old, new in (('"seed": 7', '"seed": 8'), ('"vae": "', '"vae": "0')):
        text = run.read_text()
        assert old in text
        run.write_text(text.replace(old, new))  # another plan; then weights with another checksum
        take = bench.finished(bench.post(f"videos/{parent}/redo", {"section": 2})["id"])
        assert bench.denoised(take) == {0, 1, 2}
        run.write_text(text)
    take = bench.finished(bench.post(f"videos/{parent}/redo", {"section": 2})["id"])
    assert bench.denoised(take) == {2}


def test_a_take_that_was_stopped_goes_on_where_it_was(bench: Bench, tmp_path: Path) -> None:
    parent = first(bench, tmp_path)

    def pause(event: Any) -> None:
        if event["event"] == "SectionDone":
            bench.workshop.wait_after = lambda _: None
            bench.client.post(f"/v1/videos/{takes[0]}/pause")
            until(lambda: bench.workshop.is_told_to_stop)

    takes: list[str] = []
    bench.client.post("/v1/queue/pause")
    takes.append(bench.post(f"videos/{parent}/redo", {"section": 1, "seed": 5})["id"])
    bench.workshop.wait_after = pause
    bench.client.post("/v1/queue/resume")
    until(lambda: bench.get(takes[0])["state"] == "paused", timeout_s=60)
    bench.client.delete(f"/v1/videos/{parent}")  # a take that has begun stands on its own
    bench.workshop.events.clear()
    bench.post(f"videos/{takes[0]}/resume")
    bench.finished(takes[0])
    assert bench.denoised(takes[0]) == {2}
    assert_made_from_nothing(bench, takes[0])


def test_a_key_makes_a_redo_safe_to_repeat(bench: Bench, tmp_path: Path) -> None:
    parent = first(bench, tmp_path)
    headers = {"Idempotency-Key": "one"}
    sent = [
        bench.client.post(f"/v1/videos/{parent}/redo", json={"section": 1}, headers=headers)
        for _ in range(2)
    ]
    assert len({answer.json()["id"] for answer in sent}) == 1
    other = bench.client.post(f"/v1/videos/{parent}/redo", json={"section": 2}, headers=headers)
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "section is missing"),
        ({"section": 4}, "sections 0 to 3"),
        ({"section": -5}, "sections 0 to 3"),
        ({"section": "last"}, "section is 'last'"),
        ({"section": 0, "seed": -1}, "seed is -1"),
        ({"section": 0, "duration_s": 9}, "unknown field 'duration_s'"),
        ({"section": 0, "image": "x.png"}, "no file"),
    ],
)
def test_what_cannot_be_redone_is_said(bench: Bench, body: dict[str, Any], message: str) -> None:
    bench.client.post("/v1/queue/pause")
    asked = {"prompt": "x", "model": "tiny", "duration_s": LENGTH_S, "latent_window_size": 3}
    parent = bench.post("videos", {**asked, "fps": 24})["id"]
    found = bench.post(f"videos/{parent}/redo", body, status=422)
    assert message in found["error"]["message"]
    assert len(bench.client.get("/v1/videos").json()["data"]) == 1


# --- Longer -----------------------------------------------------------------------------------


def test_a_forward_video_goes_on_from_its_latents(bench: Bench, tmp_path: Path) -> None:
    parent = first(bench, tmp_path)
    asked = {"prompt": "the camera pans right", "seconds": 1, "seed": 3}
    more = bench.post(f"videos/{parent}/extend", asked)
    assert f"Goes on from the latents of {parent}; the prompt is that" in more["notes"][-1]
    bench.finished(more["id"])
    assert bench.denoised(more["id"]) == {3, 4}
    old, new = (frames_of(bench.video(each)) for each in (parent, more["id"]))
    assert len(new) == len(old) + 24
    np.testing.assert_array_equal(old[:SECTION_FRAMES], new[:SECTION_FRAMES])
    plan = bench.service.store.get(more["id"]).plan
    assert [each["seed"] for each in plan["sections"]] == [None, None, None, 3, 4]
    assert ["right" in each["prompt"] for each in plan["sections"]] == [False] * 3 + [True] * 2
    assert_made_from_nothing(bench, more["id"])
    last = bench.post("videos/extensions", {"video": {"id": more["id"]}, "seconds": 0.5})
    assert bench.denoised(bench.finished(last["id"])) == {5}


@pytest.mark.parametrize("why", ["variant", "run", "field"])
def test_other_videos_go_on_from_their_frames(bench: Bench, tmp_path: Path, why: str) -> None:
    variant = "bi-directional" if why == "variant" else "forward-only"
    parent = first(bench, tmp_path, variant=variant, duration_s=LENGTH_S / 3)
    if why == "run":
        shutil.rmtree(bench.service.data.job(parent).run)
    asked = {"seconds": 0.5} | ({"num_inference_steps": 1} if why == "field" else {})
    more = bench.post(f"videos/{parent}/extend", asked)
    assert more["notes"][-1] == f"Goes on from the frames of {parent}."
    assert more["request"]["extend"]
    bench.finished(more["id"])
