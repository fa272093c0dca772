"""Downloads: in whole, in parts, or not at all if the client has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.helpers.service import VIDEO, FakeExecutor, new_service, running, until

from framepack.service.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return new_service(tmp_path, FakeExecutor())


@pytest.fixture
def path(service: Service) -> Iterator[tuple[TestClient, str]]:
    with running(service) as client:
        job = service.submit({"prompt": "x", "model": "tiny", "duration_s": 1})
        until(lambda: service.store.get(job.id).state == "completed")
        yield client, f"/v1/videos/{job.id}/content"


def test_the_whole_video_comes_with_its_type_and_tag(path: tuple[TestClient, str]) -> None:
    client, url = path
    answer = client.get(url)
    assert (answer.status_code, answer.content) == (200, VIDEO)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    head = client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(VIDEO))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-7", -7, None), ("bytes=5-5", 5, 6)],
)
def test_parts_are_sent(
    path: tuple[TestClient, str], asked: str, start: int, end: int | None
) -> None:
    client, url = path
    answer = client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, VIDEO[start:end])
    assert answer.headers["content-range"].endswith(f"/{len(VIDEO)}")


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=999999-9999999", "bytes=-0"])
def test_parts_that_are_not_there_are_refused(path: tuple[TestClient, str], asked: str) -> None:
    client, url = path
    answer = client.get(url, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(VIDEO)}"
    assert "bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("asked", ["", "bytes", "bytes=", "bytes=a-b", "lines=1-2", "bytes=9-5"])
def test_a_range_that_cannot_be_read_is_ignored(path: tuple[TestClient, str], asked: str) -> None:
    client, url = path
    answer = client.get(url, headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(VIDEO))


def test_what_the_client_has_is_not_sent_again(path: tuple[TestClient, str]) -> None:
    client, url = path
    tag = client.get(url).headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(url, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_part_of_another_file_is_the_whole_of_this_one(path: tuple[TestClient, str]) -> None:
    client, url = path
    answer = client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (answer.status_code, len(answer.content)) == (200, len(VIDEO))


def test_the_thumbnail_is_another_variant(path: tuple[TestClient, str]) -> None:
    client, url = path
    answer = client.get(url, params={"variant": "thumbnail", "download": "true"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("variant", ["raw", "frames"])
def test_what_was_not_asked_for_is_not_there(path: tuple[TestClient, str], variant: str) -> None:
    client, url = path
    answer = client.get(url, params={"variant": variant})
    assert answer.status_code == 404
    assert variant in answer.json()["error"]["message"]
    assert client.get(url, params={"variant": "../../secret"}).status_code == 422


def test_a_file_that_was_removed_is_not_found(
    path: tuple[TestClient, str], service: Service
) -> None:
    client, url = path
    (job,) = service.store.page().jobs
    (service.data.job(job.id).output / "video.mp4").unlink()
    assert client.get(url).status_code == 404
    (service.data.job(job.id).output / "video.mp4").symlink_to("/etc/passwd")
    assert client.get(url).status_code == 404


def test_frames_come_as_one_file(path: tuple[TestClient, str], service: Service) -> None:
    client, url = path
    (job,) = service.store.page().jobs
    folder = service.data.job(job.id).output / "frames"
    folder.mkdir()
    for number in range(3):
        (folder / f"video-{number:05}.png").write_bytes(b"png")
    with service.database.transaction() as connection:
        connection.execute("UPDATE jobs SET output = json_set(output, '$.frames', 'frames')")
    answer = client.get(url, params={"variant": "frames"})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.content.count(b"video-00002.png") == 2  # at its place and in the index
