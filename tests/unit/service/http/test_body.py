"""What forms and JSON become, and how what cannot be read is refused."""

from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from tests.helpers.service import new_service, running

from framepack.service.http.body import nested


def test_keys_of_a_form_say_where_values_belong() -> None:
    assert nested(
        [
            ("prompt", "x"),
            ("section_prompts[]", "a"),
            ("section_prompts[]", "b"),
            ("framepack[seed]", "7"),
            ("framepack[lora][name]", "felt"),
            ("styles", "one"),
            ("styles", "two"),
        ]
    ) == {
        "prompt": "x",
        "section_prompts": ["a", "b"],
        "framepack": {"seed": "7", "lora": {"name": "felt"}},
        "styles": ["one", "two"],
    }


@pytest.mark.parametrize(
    "pairs",
    [
        [("[a]", "1")],
        [("a[b", "1")],
        [("a[][b]", "1")],
        [("a[b][c][d][e]", "1")],
        [("a", "1"), ("a[b]", "2")],
        [("a[b]", "1"), ("a", "2")],
    ],
)
def test_keys_that_make_no_sense_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(HTTPException) as caught:
        nested(pairs)
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("content", "kind", "status", "said"),
    [
        (b"{", "application/json", 400, "no JSON"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", 400, "no JSON"),
        (b"[1]", "application/json", 422, "send an object"),
        (b'{"prompt": "\\ud800"}', "application/json", 422, "surrogate"),
        (b'{"framepack": {"\\udfff": 1}}', "application/json", 422, "surrogate"),
        (b"\xff\xfe", "application/json", 400, "no JSON"),
        (b"prompt", "text/plain", 415, "send application/json or multipart/form-data"),
        (b"x", "multipart/form-data", 400, ""),
        (b"", "application/json", 400, "no JSON"),
    ],
)
def test_a_body_that_cannot_be_read_is_the_clients_fault(
    tmp_path: Path, content: bytes, kind: str, status: int, said: str
) -> None:
    with running(new_service(tmp_path)) as client:
        answer = client.post("/v1/videos", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
