"""Settings given back: of jobs as they were asked, and of files that carry them."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.helpers.answers import accepted
from tests.helpers.live_server import a_video
from tests.helpers.service import FakeExecutor, a_picture, data_url, new_service, running, until

from framepack.domain.plan import Plan
from framepack.domain.portable import without_folders
from framepack.media.metadata import attach_pictures
from framepack.media.video import concat_segments
from framepack.service.service import Service

SMALL = {"prompt": "a red ball", "model": "tiny", "duration_s": 1}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return new_service(tmp_path, FakeExecutor(), upload_mb=2, max_megapixels=1)


def make(client: TestClient, **fields: Any) -> dict[str, Any]:
    return accepted(client.post("/v1/videos", json={**SMALL, **fields}))


def reuse(client: TestClient, video: dict[str, Any]) -> dict[str, Any]:
    return accepted(client.post(f"/v1/videos/{video['id']}/reuse"))


def upload_bytes(service: Service, upload_id: str) -> bytes:
    return service.uploads.input(upload_id, sees=None).path.read_bytes()


def pictures(tmp_path: Path) -> tuple[Path, Path, Path]:
    names = ("teal", "red", "blue")
    made = [a_picture(tmp_path / f"{name}.png", (96, 64), name) for name in names]
    return made[0], made[1], made[2]


def test_settings_of_a_video_make_the_same_request_again(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    start, end, other = pictures(tmp_path)
    first = make(
        client,
        image=data_url(start),
        end_image=data_url(end),
        section_images=[{"section": 1, "image": data_url(other)}],
        section_prompts={"0": "it rolls", "-1": "it stops"},
        section_seeds={"1": 5},
        duration_s=2,
        latent_window_size=4,
        container="webm",
        group="batch",
    )
    settings = reuse(client, first)
    request = settings["request"]
    assert (settings["object"], settings["source"]) == ("settings", first["id"])
    assert settings["options"] == {"container": "webm"}
    assert request["seed"] == first["seed"]
    assert upload_bytes(service, request["image"]) == start.read_bytes()
    assert upload_bytes(service, request["end_image"]) == end.read_bytes()
    (cue,) = request["section_images"]
    assert upload_bytes(service, cue["image"]) == other.read_bytes()
    again = client.post("/v1/videos", json={**request, **settings["options"]}).json()
    plans = [service.store.get(each["id"]).plan for each in (first, again)]
    parsed = [without_folders(Plan.model_validate(dict(plan))) for plan in plans]
    assert parsed[0].sections == parsed[1].sections
    assert reuse(client, again) == {**settings, "source": again["id"]}


def test_settings_taken_twice_are_the_same_uploads(client: TestClient, tmp_path: Path) -> None:
    video = make(client, image=data_url(a_picture(tmp_path / "a.png")))
    assert reuse(client, video) == reuse(client, video)
    assert len(client.get("/v1/uploads").json()["data"]) == 1


def test_what_is_gone_is_said_and_left_out(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    video = make(client, image=data_url(a_picture(tmp_path / "a.png")))
    until(lambda: service.store.get(video["id"]).state == "completed")
    service.data.job(video["id"]).remove_outputs()
    settings = reuse(client, video)
    assert "image" not in settings["request"]
    assert settings["notes"] == ["image was removed with the video's files; give it again."]


def test_settings_of_others_are_not_there(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    secrets = [service.keys.create(name)[1] for name in ("anna", "ben")]
    with running(service) as client:
        anna, ben = ({"Authorization": f"Bearer {secret}"} for secret in secrets)
        url = data_url(a_picture(tmp_path / "a.png"))
        body = {**SMALL, "image": url}
        video_id = client.post("/v1/videos", json=body, headers=anna).json()["id"]
        for path in (f"/v1/videos/{video_id}/inputs/image",):
            assert client.get(path, headers=ben).status_code == 404
            assert client.get(path, headers=anna).status_code == 200
        assert client.post(f"/v1/videos/{video_id}/reuse", headers=ben).status_code == 404


def test_input_pictures_can_be_looked_at(client: TestClient, tmp_path: Path) -> None:
    start, end, other = pictures(tmp_path)
    video = make(
        client,
        image=data_url(start),
        end_image=data_url(end),
        section_images=[{"section": 0, "image": data_url(other)}],
        section_prompts=[{"section": 0, "prompt": "x"}, {"section": 0, "image": data_url(end)}],
    )
    base = f"/v1/videos/{video['id']}/inputs"
    sent = {
        "image": start,
        "end_image": end,
        "section_images-0": other,
        "section_prompts-1": end,
    }
    for name, path in sent.items():
        answer = client.get(f"{base}/{name}")
        assert answer.headers["content-type"] == "image/png"
        assert answer.content == path.read_bytes()
    tag = {"If-None-Match": client.get(f"{base}/image").headers["etag"]}
    assert client.get(f"{base}/image", headers=tag).status_code == 304


def test_what_was_sent_ahead_can_be_looked_at(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    secrets = [service.keys.create(name)[1] for name in ("anna", "ben")]
    path = a_picture(tmp_path / "a.png")
    with running(service) as client:
        anna, ben = ({"Authorization": f"Bearer {secret}"} for secret in secrets)
        sent = client.post(
            "/v1/uploads", files={"file": ("a.png", path.read_bytes())}, headers=anna
        )
        address = f"/v1/uploads/{sent.json()['id']}/content"
        answer = client.get(address, headers=anna)
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == "image/png"
        assert client.get(address, headers=ben).status_code == 404


def test_a_page_sent_as_a_picture_is_no_page_when_looked_at(
    client: TestClient, tmp_path: Path
) -> None:
    path = a_picture(tmp_path / "a.png")
    file = {"file": ("a.html", path.read_bytes())}
    sent = client.post("/v1/uploads", files=file).json()
    answer = client.get(f"/v1/uploads/{sent['id']}/content")
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "name",
    "video extend audio prompt section_images-0 section_prompts-7 image-0 section_images-x "
    "section_images-99999999999 %2e%2e%2fresult.json".split(),
)
def test_nothing_else_is_an_input(client: TestClient, tmp_path: Path, name: str) -> None:
    video = make(client, image=data_url(a_picture(tmp_path / "a.png")), section_prompts=["x"])
    answer = client.get(f"/v1/videos/{video['id']}/inputs/{name}")
    assert answer.status_code == 404


# --- Files ------------------------------------------------------------------------------------


def document(client: TestClient, service: Service, **fields: Any) -> dict[str, Any]:
    """What the file of a request would say."""
    video = make(client, **fields)
    plan = without_folders(Plan.model_validate(dict(service.store.get(video["id"]).plan)))
    return {
        "program": "framepack",
        "version": "9.8.7",
        "request": plan.to_dict()["request"],
        "components": {"transformer": "ab" * 32},
    }


def written(tmp_path: Path, said: dict[str, Any]) -> Path:
    part, path = tmp_path / "part.mp4", tmp_path / "made.mp4"
    a_video(part)
    concat_segments([part], path, said)
    return path


def inspect(client: TestClient, path: Path) -> Any:
    with path.open("rb") as file:
        return client.post("/v1/inspect", files={"file": (path.name, file)})


def test_a_file_gives_its_settings_back(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    start, end, _ = pictures(tmp_path)
    said = document(
        client,
        service,
        image=data_url(start),
        section_images=[{"section": 0, "image": data_url(end)}],
        num_inference_steps=3,
        seed=11,
        width=96,
        height=64,
    )
    carried = {"image": Image.open(start), "section-0": Image.open(end)}
    path = written(tmp_path, attach_pictures(said, carried))
    answer = inspect(client, path)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["version"], found["models"]) == ("9.8.7", {"transformer": "ab" * 32})
    assert (found["file"]["filename"], found["file"]["num_frames"]) == ("made.mp4", 24)
    request = found["request"]
    assert (request["seed"], request["num_inference_steps"]) == (11, 3)
    assert "crf" not in request
    uploads = [request["image"], request["section_images"][0]["image"]]
    for upload_id, sent in zip(uploads, (start, end), strict=True):
        with Image.open(service.uploads.input(upload_id, sees=None).path) as kept:
            assert kept.tobytes() == Image.open(sent).tobytes()
    again = make(client, **request)
    assert again["seed"] == 11
    with path.open("rb") as file:
        sent_ahead = client.post("/v1/uploads", files={"file": file}).json()["id"]
    named = client.post("/v1/inspect", json={"file": sent_ahead}).json()
    assert named["request"]["seed"] == 11


def test_what_a_file_cannot_bring_is_said(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    said = document(client, service)
    said["request"] |= {"extend": "before.mp4", "rife_weights": "x.pkl", "variant": "forward-only"}
    said["request"] |= {
        "loras": [{"path": "felt.safetensors", "weight": 0.5}],
        "model": "mine.toml",
    }
    found = inspect(client, written(tmp_path, said)).json()
    assert not {"extend", "rife_weights", "model"} & set(found["request"])
    text = " ".join(found["notes"])
    for word in ("before.mp4", "x.pkl", "felt", "mine.toml"):
        assert word in text


@pytest.mark.parametrize("comment", [{}, {"program": "other"}, {"program": "framepack"}])
def test_a_file_that_is_none_of_ours_is_refused(
    client: TestClient, tmp_path: Path, comment: dict[str, Any]
) -> None:
    answer = inspect(client, written(tmp_path, comment))
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert message.startswith("video made.mp4 carries no request")
    assert str(tmp_path) not in message


def test_a_picture_without_request_is_refused(client: TestClient, tmp_path: Path) -> None:
    answer = inspect(client, a_picture(tmp_path / "cat.png"))
    assert answer.status_code == 422
    assert "picture cat.png carries no request" in answer.json()["error"]["message"]


def test_pictures_in_a_file_have_a_limit(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    said = document(client, service, image=data_url(a_picture(tmp_path / "a.png")))
    many = {"image": Image.new("RGB", (900, 900)), "section-0": Image.new("RGB", (900, 900))}
    answer = inspect(client, written(tmp_path, attach_pictures(said, many)))
    assert answer.status_code == 422
    assert "at most 1 million" in answer.json()["error"]["message"]
    broken = {**said, "pictures": {"image": "data:image/webp;base64,AAAA"}}
    answer = inspect(client, written(tmp_path, broken))
    assert "damaged" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "file is missing"),
        ({"file": "upload_000000000000000000000000"}, "send the file again"),
        ({"file": "/etc/passwd"}, "no file"),
        ({"file": "data:video/mp4;base64,aGVsbG8="}, "no video"),
        ({"file": "x", "seed": 1}, "unknown field 'seed'"),
    ],
)
def test_what_is_no_file_is_refused(client: TestClient, body: dict[str, Any], message: str) -> None:
    answer = client.post("/v1/inspect", json=body)
    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]
