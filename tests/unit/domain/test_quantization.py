"""What is to be quantised, as people write it, and what is refused."""

from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.quantization import (
    can_be_streamed,
    in_words,
    read_quantize,
    weight_bytes,
)
from framepack.domain.settings import Settings


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, {}),
        ("", {}),
        ("fp8", {"transformer": "fp8"}),
        ("text=int8, transformer=fp8", {"transformer": "fp8", "text": "int8"}),
        (["fp8", "vision=int8"], {"transformer": "fp8", "vision": "int8"}),
        ("all=int8", {"transformer": "int8", "text": "int8", "vision": "int8"}),
        (["text=none", "all=fp8"], {"transformer": "fp8", "vision": "fp8"}),
        ({"text": "nf4", "vae": "none"}, {"text": "nf4"}),
    ],
)
def test_it_is_read_as_people_write_it(written: object, read: dict[str, str]) -> None:
    assert read_quantize(written) == read
    assert list(read_quantize(written)) == list(read)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("decoder=fp8", "names the part 'decoder'; choose transformer, text, vision, vae or all"),
        ("fp4", "asks for 'fp4' for transformer; choose none, fp8"),
        (["text=fp8", "text=int8"], "asks for fp8 and int8 for text; give one"),
        ("vae=fp8", "the VAE is made of 3-D convolutions"),
        ("transformer=weights.gguf", "named as the transformer of a recipe"),
        ("text=", "has 'text='; write PART=FORMAT"),
        (8, "quantize is 8; write PART=FORMAT"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(written: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as error:
        read_quantize(written)
    assert "\n" not in str(error.value)


def test_settings_take_it_from_file_variable_and_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[quantize]\ntransformer = "fp8"\n')
    monkeypatch.setenv("FRAMEPACK_SETTINGS", str(path))
    assert Settings.load().quantize == {"transformer": "fp8"}
    monkeypatch.setenv("FRAMEPACK_QUANTIZE", "all=int8")
    assert Settings.load().quantize["vision"] == "int8"
    assert Settings.load(quantize=["text=nf4"]).quantize == {"text": "nf4"}


def test_words_name_each_part_and_its_format() -> None:
    assert in_words(read_quantize("text=int8 fp8")) == "transformer fp8, text int8"
    assert in_words({}) == "none"


def test_four_bits_count_their_scales() -> None:
    assert weight_bytes("nf4", (64, 64)) == 64 * 32 + 4 * 64
    assert weight_bytes("sdnq-uint4", (512, 256)) == 65536 + 2 * 4 * 512 * 4


def test_scales_of_nf4_cannot_be_streamed() -> None:
    assert not can_be_streamed("nf4")
    assert can_be_streamed("fp8")
