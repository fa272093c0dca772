"""Prompts are expanded once each, shown, kept in the file, and never asked for again."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.helpers.runs import SMALL, frames_of, make_video

import framepack
from framepack.cli.main import main
from framepack.domain.errors import FramePackError, InvalidRequest
from framepack.pipeline import enhance as enhancing
from framepack.pipeline.components import Components


@dataclass
class Endpoint:
    """A stand-in for a language model: it says the prompt in capitals."""

    url: str = ""
    status: int = 200
    body: dict[str, Any] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _forget() -> None:
    enhancing._cache.clear()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append({"path": self.path, **asked})
            state.keys.append(self.headers.get("Authorization"))
            text = asked["messages"][1]["content"][0]["text"].upper()
            body = state.body or {"choices": [{"message": {"content": f' "{text}\n NOW" '}}]}
            data = json.dumps(body).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def _settings(endpoint: Endpoint, **more: Any) -> framepack.Settings:
    return framepack.Settings(
        device="cpu",
        dtype="float32",
        enhancer_url=endpoint.url,
        enhancer_model="a-model",
        enhancer_instruction="Say it loudly.",
        **more,
    )


def test_every_distinct_text_is_expanded_once_and_kept(
    tmp_path: Path, components: Components, picture: Path, endpoint: Endpoint
) -> None:
    asked: dict[str, Any] = {
        "image": picture,
        "enhance": "endpoint",
        "duration_s": 40 / 24,
        "section_prompts": "0: one\n1: two\n3: one",
        "settings": _settings(endpoint, enhancer_api_key="secret-key"),
    }
    made = make_video(tmp_path, components, **{**asked, "prompt": "look"})
    prompts = [section.prompt for section in sorted(made.plan.sections, key=lambda s: s.index)]
    assert prompts == ["LOOK ONE NOW", "LOOK TWO NOW", "LOOK TWO NOW", "LOOK ONE NOW"]
    assert [each["messages"][1]["content"][0]["text"] for each in endpoint.asked] == sorted(
        ["look one", "look two"],
        key=lambda text: [s.prompt for s in made.plan.sections].index(f"{text.upper()} NOW"),
    )
    assert endpoint.keys == ["Bearer secret-key"] * 2
    first = endpoint.asked[0]
    assert (first["path"], first["model"]) == ("/v1/chat/completions", "a-model")
    assert first["messages"][0] == {"role": "system", "content": "Say it loudly."}
    shown = first["messages"][1]["content"][1]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as seen:
        assert seen.size == (64, 64)
    assert "Enhanced: 'look one' became 'LOOK ONE NOW'" in made.plan.notes

    # The file knows what was written, so the same video needs no endpoint.
    found = framepack.inspect(made.path)
    assert found.document["request"]["enhanced_prompts"]["look one"] == "LOOK ONE NOW"
    assert "secret-key" not in json.dumps(found.document)
    before = len(endpoint.asked)
    again = framepack.generate(
        found.restore(tmp_path / "pictures"),
        output=tmp_path / "again.mp4",
        components=components,
        settings=framepack.Settings(enhancer_url="http://127.0.0.1:9/v1", enhancer_model="x"),
    )
    assert len(endpoint.asked) == before
    assert np.array_equal(frames_of(again.path), frames_of(made.path))


def test_what_was_written_can_be_edited(tmp_path: Path, components: Components) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("a dog: a dog jumps over a fence\n", encoding="utf-8")
    small = ["--steps", "1", "--width", "64", "--height", "64", "--duration", "0.3"]
    asked = ["--prompt", "a dog", "--enhanced-prompts", str(path), "--seed", "1"]
    video = tmp_path / "out.mp4"
    assert main(["generate", *asked, *small, "-o", str(video), "-q"]) == 0
    document = framepack.inspect(video).document
    assert document["request"]["prompt"] == "a dog"
    assert document["plan"]["sections"][0]["prompt"] == "a dog jumps over a fence"


def test_a_plan_shows_what_was_written_and_what_will_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "words.yaml"
    words.write_text("she dances: The girl spins twice.\n")
    asked = ["plan", "--duration", "1", "--enhance", "template", "--prompt", "she dances"]
    assert main([*asked, "--enhanced-prompts", str(words)]) == 0
    shown = capsys.readouterr()
    assert "The girl spins twice." in shown.out
    assert "expands" not in shown.err
    assert main(asked) == 0
    shown = capsys.readouterr()
    assert "she dances" in shown.out
    assert "`framepack generate` expands the prompts first (--enhance template)." in shown.err


def test_the_template_needs_nothing(tmp_path: Path, components: Components) -> None:
    made = make_video(tmp_path, components, prompt="a dog runs.", enhance="template")
    assert made.plan.sections[0].prompt == "a dog runs, with clear and natural movements"
    plain = make_video(tmp_path / "plain", components, prompt="a dog runs.")
    assert not np.array_equal(frames_of(made.path), frames_of(plain.path))


def test_a_text_is_asked_for_once_in_a_process(
    tmp_path: Path, components: Components, endpoint: Endpoint
) -> None:
    asked = {"prompt": "a cat", "enhance": "endpoint", "settings": _settings(endpoint)}
    make_video(tmp_path / "one", components, **asked)
    make_video(tmp_path / "two", components, **asked)
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"error": "no\nkey"}, r'answered 401: \{"error": "no\\nkey"\}; check'),
        (200, {"choices": []}, "an answer of another form"),
        (200, {"choices": [{"message": {"content": ' "" '}}]}, "wrote nothing for 'a cat'"),
    ],
)
def test_bad_answers_are_one_clear_line(
    tmp_path: Path,
    components: Components,
    endpoint: Endpoint,
    status: int,
    body: dict[str, Any],
    message: str,
) -> None:
    endpoint.status, endpoint.body = status, body
    with pytest.raises(FramePackError, match=message) as raised:
        make_video(
            tmp_path / "made",
            components,
            prompt="a cat",
            enhance="endpoint",
            settings=_settings(endpoint),
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "made").exists()


def test_an_endpoint_that_is_not_there_is_one_clear_line(
    tmp_path: Path, components: Components
) -> None:
    settings = framepack.Settings(enhancer_url="http://127.0.0.1:9/v1", enhancer_model="x")
    with pytest.raises(FramePackError, match=r"cannot be reached: .*; start it"):
        make_video(tmp_path, components, prompt="a", enhance="endpoint", settings=settings)


@pytest.mark.parametrize(
    ("enhancer", "values", "message"),
    [
        ("endpoint", {"enhancer_model": "x"}, "set enhancer_url"),
        ("endpoint", {"enhancer_url": "http://127.0.0.1:9/v1"}, "set enhancer_model"),
        ("local", {}, "set enhancer_model"),
    ],
)
def test_missing_settings_are_found_before_any_work(
    tmp_path: Path, components: Components, enhancer: str, values: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        framepack.generate(
            output=tmp_path / "out.mp4",
            components=components,
            enhance=enhancer,
            settings=framepack.Settings(**values),
            **SMALL,
        )


def test_a_local_model_that_is_none_is_one_clear_line(
    tmp_path: Path, components: Components
) -> None:
    settings = framepack.Settings(enhancer_model=str(tmp_path), offline=True, device="cpu")
    with pytest.raises(FramePackError, match=r"cannot be loaded: .*set enhancer_model"):
        make_video(tmp_path / "o", components, prompt="a", enhance="local", settings=settings)
