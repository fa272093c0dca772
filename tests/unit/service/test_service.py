"""What the service takes, refuses and keeps, whichever face asks."""

import errno
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.live_server import a_video
from tests.helpers.service import FakeExecutor, a_picture, new_service, until

from framepack.domain.errors import InvalidRequest, MissingWeights
from framepack.domain.settings import Settings
from framepack.service.inputs import Input
from framepack.service.options import JobOptions
from framepack.service.records import (
    IdempotencyConflict,
    NoSuchJob,
    QueueFull,
    QuotaExceeded,
    StoreFull,
    WrongState,
)
from framepack.service.service import Service

SMALL = {"prompt": "a red ball", "model": "tiny", "duration_s": 1}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = new_service(tmp_path)
    yield made
    made.database.close()


def folders(service: Service) -> list[str]:
    return sorted(path.name for path in (service.data.path / "jobs").iterdir())


def test_a_job_has_its_seed_and_its_files_from_the_start(service: Service, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "a.png", (96, 64))
    job = service.submit(SMALL, inputs={"image": Input(picture, "a.png")})
    assert job.request["seed"] == job.plan["seed"]
    stored = Path(job.request["image"])
    assert stored.parent == service.data.job(job.id).inputs
    assert stored.read_bytes() == picture.read_bytes()
    assert picture.is_file()


def test_a_refused_request_leaves_nothing(service: Service, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InvalidRequest, match=r"^picture dog\.png is no picture"):
        service.submit(SMALL, inputs={"image": Input(tmp_path / "a.png", "dog.png")})
    assert folders(service) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": "/etc/passwd"}, "no file that came with the request"),
        ({"extend": "/etc/passwd"}, "no file that came with the request"),
        ({"section_images": {"0": "/etc/passwd"}}, "no file that came with the request"),
        ({"section_prompts": [{"image": "/etc/passwd"}]}, "no file that came with the request"),
        ({"section_images": "0: /etc/passwd"}, "section_images is a text"),
        ({"vae_weights": "/etc/passwd", "vae": "tiny"}, "names a file of the server"),
        ({"rife_weights": "/etc/passwd"}, "names a file of the server"),
        ({"model": "/etc"}, "this server has tiny"),
        ({"loras": ["/etc/passwd"]}, "there is no LoRA"),
        ({"prompt": "a <lora:/etc/passwd:1>"}, "there is no LoRA"),
        ({"filters": "movie=/etc/passwd"}, "filter 'movie'"),
        ({"codec_options": "stats:/tmp/x"}, "codec option 'stats'"),
    ],
)
def test_a_request_reaches_no_file_that_was_not_sent(
    service: Service, fields: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        service.submit({**SMALL, **fields})
    assert folders(service) == []


def test_messages_name_fields_and_no_folders(service: Service, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "a.png", (8, 8))
    with pytest.raises(InvalidRequest) as caught:
        service.submit(SMALL, inputs={"image": Input(picture, "dog.png")})
    assert str(service.data.path) not in str(caught.value)
    with pytest.raises(InvalidRequest) as caught:
        service.submit({**SMALL, "seed": -1})
    assert "--" not in str(caught.value)


def test_limits_of_the_server_hold(tmp_path: Path) -> None:
    service = new_service(tmp_path, max_duration_s=5, max_prompt_chars=20)
    with pytest.raises(InvalidRequest, match="at most 5 s"):
        service.submit({**SMALL, "duration_s": 6})
    with pytest.raises(InvalidRequest, match="at most 20"):
        service.submit({**SMALL, "section_prompts": ["eleven char"]})
    service.database.close()


def test_weights_that_are_missing_are_said_at_once(service: Service) -> None:
    with pytest.raises(MissingWeights):
        service.submit({**SMALL, "model": "i2v"})
    assert folders(service) == []


def test_the_queue_and_each_key_have_limits(tmp_path: Path) -> None:
    service = new_service(tmp_path, max_waiting=2, max_waiting_per_key=1)
    service.submit(SMALL, owner="k1")
    with pytest.raises(QuotaExceeded):
        service.submit(SMALL, owner="k1")
    service.submit(SMALL, owner="k2")
    with pytest.raises(QueueFull):
        service.submit(SMALL, owner="k3")
    assert len(folders(service)) == 2
    service.database.close()


def test_tasks_of_each_key_have_its_limit_too(service: Service, tmp_path: Path) -> None:
    a_video(tmp_path / "dog.mp4")
    files = {"video": [Input(tmp_path / "dog.mp4", "dog.mp4")]}
    key, _ = service.keys.create("tenant", max_waiting=1)
    service.tools.submit("drift", {}, files, owner=key.id)
    with pytest.raises(QuotaExceeded, match="1 tasks waiting or running"):
        service.tools.submit("drift", {}, files, owner=key.id)
    service.tools.submit("drift", {}, files, owner="key_of_another")


def test_the_same_key_and_request_are_the_same_job(service: Service, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "a.png")
    other = a_picture(tmp_path / "b.png", color="red")

    def send(path: Path, **fields: object) -> str:
        inputs = {"image": Input(path, "a.png")}
        return service.submit({**SMALL, **fields}, inputs=inputs, idempotency_key="one").id

    first = send(picture)
    assert send(picture) == first
    assert folders(service) == [first]
    with pytest.raises(IdempotencyConflict, match="send a new key"):
        send(picture, seed=5)
    with pytest.raises(IdempotencyConflict):
        send(other)
    assert folders(service) == [first]


def test_a_dry_run_keeps_nothing(service: Service, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "a.png", (96, 64))
    plan = service.plan(SMALL, {"image": Input(picture, "a.png")})
    assert (plan.mode, plan.num_frames) == ("i2v", 30)
    assert folders(service) == []
    assert list(service.data.uploads.iterdir()) == []


def test_a_remix_is_the_same_but_for_what_is_changed(service: Service, tmp_path: Path) -> None:
    picture = a_picture(tmp_path / "a.png", (96, 64))
    cue = {"section": 0, "image": "other"}
    parent = service.submit(
        {**SMALL, "section_images": [cue]},
        inputs={"image": Input(picture, "a"), "other": Input(picture, "b")},
        options=JobOptions(container="mkv"),
        owner="k1",
    )
    made = service.remix(parent.id, {"prompt": "a blue ball"}, sees="k1", owner="k1")
    assert (made.parent, made.request["prompt"]) == (parent.id, "a blue ball")
    assert made.request["seed"] == parent.request["seed"]
    assert made.options["container"] == "mkv"
    own = service.data.job(made.id).inputs
    assert Path(made.request["image"]).parent == own
    assert Path(made.request["section_images"][0]["image"]).parent == own
    with pytest.raises(NoSuchJob):
        service.remix(parent.id, {}, sees="k2", owner="k2")


def test_sound_goes_along_and_is_remixed(service: Service, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    parent = service.submit(SMALL, inputs={"audio": Input(tmp_path / "a.wav", "a.wav")})
    made = service.remix(parent.id, {"prompt": "x"})
    for job in (parent, made):
        assert (service.data.job(job.id).inputs / job.options["audio"]).is_file()


def test_an_extension_goes_on_from_a_finished_video(tmp_path: Path) -> None:
    executor = FakeExecutor(video=a_video(tmp_path / "v.mp4", num_frames=48))
    service = new_service(tmp_path, executor)
    service.start()
    parent = service.submit({**SMALL, "width": 64, "height": 64, "num_inference_steps": 3})
    until(lambda: service.store.get(parent.id).state == "completed")
    made = service.extend(parent.id, {"prompt": "it goes on", "duration_s": 1})
    assert made.parent == parent.id
    assert made.request["num_inference_steps"] == 3
    assert made.plan["num_frames"] == 90  # two seconds that are there, one that is added
    service.stop(5)


def test_what_is_not_finished_cannot_be_gone_on_from(service: Service) -> None:
    job = service.submit(SMALL)
    with pytest.raises(WrongState, match="when it is completed"):
        service.extend(job.id, {"prompt": "x"})


def test_a_deleted_job_leaves_no_files(service: Service) -> None:
    job = service.submit(SMALL, owner="k1")
    with pytest.raises(NoSuchJob):
        service.delete(job.id, sees="k2")
    service.delete(job.id, sees="k1")
    assert folders(service) == []


def test_a_running_job_is_not_deleted(service: Service) -> None:
    job = service.submit(SMALL)
    service.leases.claim()
    with pytest.raises(WrongState, match="cancel it first"):
        service.delete(job.id)


def test_folders_of_requests_that_were_cut_short_are_removed_at_the_start(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    job = service.submit(SMALL)
    service.data.job("video_000000000000000000000000").make()
    (service.data.uploads / "request-abc").mkdir()
    service.start()
    assert folders(service) == [job.id]
    assert list(service.data.uploads.iterdir()) == []
    service.stop(5)


def test_one_frame_becomes_a_picture(service: Service) -> None:
    fields = {"prompt": "a ball", "model": "tiny", "one_frame": True}
    assert service.submit(fields).options["container"] == "png"
    with pytest.raises(InvalidRequest, match="take png, jpg or webp"):
        service.submit(fields, options=JobOptions(container="mkv"))
    with pytest.raises(InvalidRequest, match="container is png, which is a picture"):
        service.submit(SMALL, options=JobOptions(container="png"))


def test_something_must_be_left(service: Service) -> None:
    with pytest.raises(InvalidRequest, match="add frames or raw"):
        service.submit({**SMALL, "codec": "none"})
    service.submit({**SMALL, "codec": "none"}, options=JobOptions(raw=True))


def test_the_servers_process_never_imports_torch(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from tests.helpers.service import new_service, until
from framepack.service.app import create_app
service = new_service(Path({str(tmp_path)!r}))
with TestClient(create_app(service), base_url="http://127.0.0.1:7860") as client:
    made = client.post("/v1/videos", json={{"prompt": "x", "model": "tiny", "seconds": 1}})
    assert made.status_code == 200, made.text
    until(lambda: client.get("/v1/videos/" + made.json()["id"]).json()["status"] == "completed")
    for path in ("/v1/models", "/v1/loras", "/openapi.json", "/metrics", "/readyz"):
        client.get(path)
found = sorted({{"torch", "diffusers", "transformers"}} & set(sys.modules))
assert not found, found
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script],
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env=_environment(root),
    )
    assert done.returncode == 0, done.stderr


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}


def test_loras_are_those_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "felt.safetensors").write_bytes(b"")
    service = new_service(tmp_path, settings=Settings.load(loras_dir=tmp_path / "loras"))
    job = service.submit({**SMALL, "loras": [{"path": "felt", "weight": 0.5}]})
    assert Path(job.request["loras"][0]["path"]) == tmp_path / "loras" / "felt.safetensors"
    again = service.remix(job.id, {"prompt": "y"})
    assert again.request["loras"] == job.request["loras"]
    with pytest.raises(InvalidRequest, match="it has felt"):
        service.submit({**SMALL, "loras": ["wool"]})
    service.database.close()


def test_a_disk_that_is_full_is_told_apart(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr("os.link", full)
    picture = a_picture(tmp_path / "a.png")
    with pytest.raises(StoreFull, match="free some space"):
        service.submit(SMALL, inputs={"image": Input(picture, "a.png")})
    assert folders(service) == []
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StoreFull, match="No space left"):
        service.submit(SMALL)
