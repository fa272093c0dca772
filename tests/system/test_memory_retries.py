"""A run that memory runs out of goes on more modestly, and makes the same video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.runs import frames_of, make_video, seconds

import framepack
from framepack.domain.choices import Offload
from framepack.domain.events import Event, MemoryRanOut, SectionDone, StepDone
from framepack.models.spec import PRESETS
from framepack.models.transformer import FramePackTransformer3DModel
from framepack.pipeline.components import Components, load_components

ASKED: dict[str, Any] = {"duration_s": seconds(25), "variant": "forward-only"}
ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def loaded(offload: Offload = "auto") -> Components:
    asked = framepack.Settings(device="cpu", dtype="float32", offload=offload)
    return load_components(PRESETS["tiny"], asked)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_video(tmp_path_factory.mktemp("plain"), loaded(), **ASKED).path)


def test_a_section_is_made_again_in_the_next_way(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is too small for whole networks from the second section's second step on."""
    components, events = loaded(), list[Event]()
    forward, num_calls = FramePackTransformer3DModel.forward, 0

    def short(model: FramePackTransformer3DModel, *args: Any, **kwargs: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if (
            num_calls > 3
            and "transformer" not in components.networks.slots["transformer"].streamers
        ):
            raise ERROR
        return forward(model, *args, **kwargs)

    monkeypatch.setattr(FramePackTransformer3DModel, "forward", short)
    video = make_video(tmp_path, components, on_event=events.append, **ASKED)
    assert np.array_equal(frames_of(video.path), frames_of(plain))
    met = [event for event in events if isinstance(event, MemoryRanOut | SectionDone)]
    assert [type(event).__name__ for event in met[:5]] == [
        "SectionDone",
        *["MemoryRanOut"] * 3,
        "SectionDone",
    ]
    assert [event.section for event in met] == [0, 1, 1, 1, 1, 2]
    assert "two blocks at a time" in met[3].way  # type: ignore[union-attr]


def test_decoding_goes_on_with_smaller_tiles(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, events = Components.decode, list[Event]()

    def short(components: Components, latents: torch.Tensor) -> torch.Tensor:
        if components._memory_share > 0.5:
            raise ERROR
        return decode(components, latents)

    monkeypatch.setattr(Components, "decode", short)
    video = make_video(tmp_path, loaded(), on_event=events.append, **ASKED)
    assert np.array_equal(frames_of(video.path), frames_of(plain))
    (met,) = [event for event in events if isinstance(event, MemoryRanOut)]
    assert met.way.startswith("smaller VAE tiles")
    assert met.reason == "CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.mark.full
def test_the_prompt_is_encoded_again_too(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, events = Components.encode_prompt, list[Event]()

    def short(components: Components, *args: Any) -> Any:
        if components._memory_share > 0.5:
            raise MemoryError
        return encode(components, *args)

    monkeypatch.setattr(Components, "encode_prompt", short)
    video = make_video(tmp_path, loaded(), on_event=events.append, **ASKED)
    assert np.array_equal(frames_of(video.path), frames_of(plain))
    assert [e.section for e in events if isinstance(e, MemoryRanOut)] == [None]


@pytest.mark.parametrize(
    ("asked", "ways"),
    [
        ("auto", ["auto", "auto", "disk"]),
        pytest.param("disk", ["disk", "disk"], marks=pytest.mark.full),
    ],
)
def test_after_the_last_way_it_is_an_error_and_what_was_asked_for_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Offload, ways: list[Offload]
) -> None:
    taken: list[Offload] = []

    def never(components: Components, _: torch.Tensor) -> torch.Tensor:
        taken.append(components.networks._limits.offload)
        raise ERROR

    monkeypatch.setattr(Components, "decode", never)
    with pytest.raises(torch.OutOfMemoryError):
        make_video(tmp_path, loaded(asked), **ASKED)
    assert taken[1:] == ways


def test_who_tries_again_from_outside_gets_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []

    def never(*_: object) -> torch.Tensor:
        calls.append(None)
        raise ERROR

    monkeypatch.setattr(Components, "decode", never)
    components = loaded()
    components.falls_back = False
    with pytest.raises(torch.OutOfMemoryError):
        make_video(tmp_path, components, **ASKED)
    assert len(calls) == 1


def test_other_errors_are_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []

    def never(*_: object) -> torch.Tensor:
        calls.append(None)
        raise RuntimeError("an illegal memory access was met")

    monkeypatch.setattr(Components, "decode", never)
    with pytest.raises(RuntimeError, match="illegal"):
        make_video(tmp_path, loaded(), **ASKED)
    assert len(calls) == 1


def test_skipped_steps_of_what_is_made_again_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {
        **ASKED,
        "duration_s": seconds(12),
        "num_inference_steps": 4,
        "step_cache": "teacache",
        "step_cache_threshold": 10,
    }
    decode = Components.decode

    def short(components: Components, latents: torch.Tensor) -> torch.Tensor:
        if components._memory_share > 0.5:
            raise ERROR
        return decode(components, latents)

    monkeypatch.setattr(Components, "decode", short)
    events = list[Event]()
    video = make_video(tmp_path, loaded(), on_event=events.append, **asked)
    assert len([event for event in events if isinstance(event, StepDone) and event.skipped]) == 6
    assert video.statistics["num_skipped_steps"] == 4
