"""The schema of the form: every field that a server takes, in its words."""

from pathlib import Path

import pytest
from tests.helpers.service import new_service, running

from framepack.domain.request import GenerationRequest
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
