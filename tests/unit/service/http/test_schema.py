"""The schema of the form: every field that a server takes, in its words."""

import sys
from pathlib import Path

import pytest
from tests.helpers.service import new_service, running

from framepack.domain.errors import FramePackError
from framepack.domain.request import GenerationRequest
from framepack.service.encoders import Encoders
from framepack.service.http.wire import KNOWN


def test_the_schema_has_every_field_that_a_request_may_have(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        schema = client.get("/v1/schema").json()
    names = {field["name"] for field in schema["fields"]}
    assert names == set(GenerationRequest.model_fields) - {"vae_weights", "rife_weights"}
    groups = {group["id"] for group in schema["groups"]}
    options = {field["name"]: field for field in schema["options"]}
    assert {field["group"] for field in (*schema["fields"], *options.values())} <= groups
    assert options.keys() <= set(KNOWN)
    assert {"container", "frames", "audio", "group"} <= options.keys()
    assert (options["audio"]["kind"], options["container"]["default"]) == ("file", "mp4")


@pytest.mark.parametrize("kind", ["fields", "options"])
def test_texts_name_no_options(tmp_path: Path, kind: str) -> None:
    with running(new_service(tmp_path)) as client:
        fields = client.get("/v1/schema").json()[kind]
    for field in fields:
        assert "--" not in field["help"] + field["rule"] + field["unset"], field["name"]


def test_the_codecs_are_those_of_this_machine(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        found = {each["id"]: each for each in client.get("/v1/codecs").json()["data"]}
    assert found["libx264"]["works"]
    assert found["libx264"]["accepted"]
    assert not found["libx264"]["hardware"]
    assert {each["id"] for each in found.values() if each["hardware"]} >= {"h264_nvenc"}
    assert any(not each["accepted"] for each in found.values())


def test_encoders_are_tried_once_and_a_crash_there_is_none_here(tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    script = f"open({str(counted)!r}, 'a').write('x'); print('[]')"
    encoders = Encoders([sys.executable, "-c", script])
    assert encoders.found() == encoders.found() == ()
    assert counted.read_text() == "x"
    crash = Encoders([sys.executable, "-c", "import os; os.abort()"])
    with pytest.raises(FramePackError, match="tries the encoders ended"):
        crash.found()
