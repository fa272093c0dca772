"""Claims about how LoRAs are written."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from framepack.domain.errors import InvalidRequest
from framepack.domain.loras import LoraRef, read_loras
from framepack.domain.request import GenerationRequest


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.safetensors", "a.safetensors", 1),
        ("a.safetensors:0.8", "a.safetensors", 0.8),
        ("a.safetensors:-1", "a.safetensors", -1),
        ("  style:0  ", "style", 0),
        (r"C:\loras\a.safetensors", r"C:\loras\a.safetensors", 1),
        (r"C:\loras\a.safetensors:0.5", r"C:\loras\a.safetensors", 0.5),
    ],
)
def test_path_and_weight_are_told_apart(text: str, path: str, weight: float) -> None:
    assert read_loras(text) == (LoraRef(path=Path(path), weight=weight),)


def test_several_are_lines_or_a_list() -> None:
    assert read_loras("a:0.5\n\nb") == read_loras(["a:0.5", "b"])
    assert read_loras(None) == ()


def test_fields_of_the_api_are_read() -> None:
    request = GenerationRequest.parse(loras=[{"path": "a.safetensors", "weight": 0.3}, "b:2"])
    assert [lora.weight for lora in request.loras] == [0.3, 2]
    assert GenerationRequest.parse(**request.model_dump(mode="json")) == request


@pytest.mark.parametrize("value", [":0.5", "a:11", "a:nan", [{"path": "a", "strength": 1}], 3])
def test_nonsense_is_one_line(value: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        GenerationRequest.parse(loras=value)
    assert "--lora" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_have_limits() -> None:
    with pytest.raises(ValidationError):
        LoraRef(path=Path("a"), weight=10.5)
