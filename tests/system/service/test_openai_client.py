"""The unmodified ``openai`` client against a server on a socket; a fake makes the videos."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from tests.helpers.live_server import a_video, serving
from tests.helpers.service import FakeExecutor, a_picture, data_url, new_service

from framepack.domain.settings import Settings
from framepack.media.video import probe
from framepack.service.options import ServiceConfig
from framepack.service.service import Service

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return new_service(tmp_path, FakeExecutor(video=a_video(tmp_path / "ready.mp4")))


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with (
        serving(service) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client,
    ):
        yield client


def test_a_video_is_made_polled_listed_downloaded_remixed_and_deleted(
    client: openai.OpenAI, tmp_path: Path
) -> None:
    video = client.videos.create_and_poll(
        prompt="a red ball", model="tiny", seconds="3", size="128x96", poll_interval_ms=50
    )
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.seconds, video.size, video.model) == ("3", "128x96", "tiny")
    content = client.videos.download_content(video.id)
    content.write_to_file(tmp_path / "down.mp4")
    assert probe(tmp_path / "down.mp4").num_frames == 24
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    assert thumbnail.startswith(b"\xff\xd8\xff")
    sheet = client.videos.download_content(video.id, variant="spritesheet").read()
    assert sheet.startswith(b"\xff\xd8\xff")

    remix = client.videos.remix(video.id, prompt="a blue ball")
    assert (remix.prompt, remix.remixed_from_video_id) == ("a blue ball", video.id)
    assert remix.model_extra is not None
    assert remix.model_extra["seed"] == (video.model_extra or {})["seed"]

    assert client.videos.poll(remix.id, poll_interval_ms=50).status == "completed"
    assert [each.id for each in client.videos.list()] == [remix.id, video.id]
    gone = client.videos.delete(video.id)
    assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError, match="there is no video"):
        client.videos.retrieve(video.id)


def test_a_list_is_paged_to_its_end(client: openai.OpenAI) -> None:
    made = [client.videos.create(prompt=f"ball {n}", model="tiny", seconds="1").id for n in "abcde"]  # type: ignore[arg-type]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
    assert [video.id for video in client.videos.list(limit=3)] == made[::-1]


def test_a_picture_arrives_in_every_way_that_the_client_can_send_it(
    client: openai.OpenAI, service: Service, tmp_path: Path
) -> None:
    picture = a_picture(tmp_path / "a.png", (96, 64))
    as_file = client.videos.create(
        prompt="x", model="tiny", seconds="1", input_reference=picture  # type: ignore[arg-type]
    )  # fmt: skip
    as_url = client.videos.create(
        prompt="x",
        model="tiny",
        seconds="1",  # type: ignore[arg-type]
        extra_body={"input_reference": {"image_url": data_url(picture)}},
    )
    for video in (as_file, as_url):
        job = service.store.get(video.id)
        assert job.plan["mode"] == "i2v"
        assert Path(job.request["image"]).read_bytes() == picture.read_bytes()


def test_our_fields_go_along_in_the_extra_body(client: openai.OpenAI, service: Service) -> None:
    video = client.videos.create(
        prompt="x",
        model="tiny",
        seconds="3",  # type: ignore[arg-type]
        extra_body={
            "seed": 7,
            "cfg_zero_star": True,
            "section_prompts": ["pan left", "pan right"],
            "framepack": {"latent_window_size": 5, "num_inference_steps": 3},
        },
    )
    request = service.store.get(video.id).request
    assert (request["seed"], request["cfg_zero_star"]) == (7, True)
    assert [cue["prompt"] for cue in request["section_prompts"]] == ["pan left", "pan right"]
    assert (request["latent_window_size"], request["num_inference_steps"]) == (5, 3)


def test_a_video_is_extended_and_edited_as_a_file(
    client: openai.OpenAI, service: Service, tmp_path: Path
) -> None:
    a_video(tmp_path / "own.mp4", num_frames=48, size=(96, 64))
    longer = client.videos.extend(
        prompt="on it goes",
        seconds="2",  # type: ignore[arg-type]
        video=tmp_path / "own.mp4",
        extra_body={"model": "tiny"},
    )
    plan = service.store.get(longer.id).plan
    assert Path(plan["request"]["extend"]).is_file()
    assert plan["num_frames"] > 60  # two seconds more than there were
    edited = client.videos.edit(
        prompt="in snow", video=tmp_path / "own.mp4", extra_body={"model": "tiny"}
    )
    assert service.store.get(edited.id).plan["num_frames"] == 60  # two seconds at 30 per second


@pytest.mark.parametrize("verb", ["extend", "edit"])
def test_a_finished_video_is_gone_on_from_by_its_id(
    client: openai.OpenAI, service: Service, verb: str
) -> None:
    video = client.videos.create_and_poll(
        prompt="x", model="tiny", seconds="1", poll_interval_ms=50  # type: ignore[arg-type]
    )  # fmt: skip
    path = {"extend": "extensions", "edit": "edits"}[verb]
    made = client.post(
        f"/videos/{path}",
        body={"prompt": "more", "video": {"id": video.id}},
        cast_to=openai.types.Video,
    )
    job = service.store.get(made.id)
    assert (job.parent, job.plan["model"]) == (video.id, "tiny")
    assert Path(job.request["extend" if verb == "extend" else "video"]).is_file()


def test_errors_have_the_shape_that_the_client_reads(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.videos.create(prompt="x", extra_body={"sede": 7})
    assert (caught.value.param, caught.value.code) == ("sede", "invalid_request")
    assert "did you mean 'seed'?" in str(caught.value)
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.get_character("nobody")
    assert missing.value.type == "not_found_error"


def test_a_cancelled_video_is_failed_with_a_code(tmp_path: Path) -> None:
    executor = FakeExecutor(is_held=True)
    with (
        serving(new_service(tmp_path, executor)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="unused") as client,
    ):
        video = client.videos.create(prompt="x", model="tiny", seconds="1")  # type: ignore[arg-type]
        client.post(f"/videos/{video.id}/cancel", cast_to=openai.types.Video)
        ended = client.videos.poll(video.id, poll_interval_ms=50)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.code == "cancelled"


def test_a_video_is_really_made_by_the_worker(tmp_path: Path) -> None:
    service = Service(ServiceConfig(data_dir=tmp_path / "service"), Settings.load(device="cpu"))
    with (
        serving(service) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="unused") as client,
    ):
        video = client.videos.create_and_poll(
            prompt="a red ball",
            model="tiny",
            seconds="1",  # type: ignore[arg-type]
            size="64x64",  # type: ignore[arg-type]
            extra_body={"num_inference_steps": 2, "seed": 7},
            poll_interval_ms=200,
        )
        assert video.status == "completed", video.error
        client.videos.download_content(video.id).write_to_file(tmp_path / "made.mp4")
        events = httpx2.get(f"{address}/v1/videos/{video.id}/events").text
    info = probe(tmp_path / "made.mp4")
    assert (info.width, info.height, info.num_frames) == (64, 64, 30)
    kinds = re.findall(r"^event: (\w+)$", events, re.MULTILINE)
    assert kinds[:2] == ["Queued", "Started"]
    assert kinds.count("StepDone") == 2
    assert kinds[-1] == "Completed"
    assert str(tmp_path) not in events
