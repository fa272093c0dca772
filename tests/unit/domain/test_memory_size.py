import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.memory_size import memory_size_bytes
from framepack.domain.settings import Settings


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("6GB", 6 * 10**9),
        ("6", 6 * 10**9),
        (6, 6 * 10**9),
        ("5.5 GiB", 5.5 * 2**30),
        ("800MB", 8 * 10**8),
        ("512mib", 512 * 2**20),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str | float, num_bytes: float) -> None:
    assert memory_size_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "six", "-1GB", "6XB", "6 GB free"])
def test_other_words_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"vram_budget is .*; write it as 6GB"):
        memory_size_bytes(text, "vram_budget")


def test_settings_take_a_number_and_refuse_words() -> None:
    assert Settings(vram_budget=6).vram_budget == "6"
    with pytest.raises(InvalidRequest, match="vram_reserve is 'much'"):
        Settings.load(vram_reserve="much")
