"""Claims about files that say what changes along a video."""

from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.media.section_files import read_section_file, refuse_other_files

YAML = """
0: the camera pans left
2s: {prompt: "A cat: it jumps, twice", image: pictures/cat.png, seed: 7}
-1: {image: /far/away.png}
"""


def test_text_is_left_as_it_is() -> None:
    for text in ("pan left\npan right", "a cat", "[2s: x]", "ends in .txt\nreally.txt"):
        assert read_section_file(text) == text


def test_a_text_file_holds_what_the_option_would(tmp_path: Path) -> None:
    path = tmp_path / "sections.txt"
    path.write_text("\ufeffpan left\r\npän right\r\n", encoding="utf-8")
    assert read_section_file(str(path)) == "pan left\npän right\n"


def test_yaml_gives_cues_and_pictures_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "sections.yaml"
    path.write_text(YAML, encoding="utf-8")
    request = GenerationRequest.parse(section_prompts=read_section_file(str(path)))
    first, second, last = request.section_prompts
    assert (first.section, first.prompt) == (0, "the camera pans left")
    assert (second.time_s, second.prompt, second.seed) == (2, "A cat: it jumps, twice", 7)
    assert second.image == tmp_path / "pictures" / "cat.png"
    assert (last.section, last.image) == (-1, Path("/far/away.png"))


def test_a_yaml_list_may_hold_plain_lines(tmp_path: Path) -> None:
    path = tmp_path / "sections.yml"
    path.write_text("- pan left\n- pan right\n", encoding="utf-8")
    request = GenerationRequest.parse(section_prompts=read_section_file(str(path)))
    assert [cue.prompt for cue in request.section_prompts] == ["pan left", "pan right"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    broken, binary = tmp_path / "broken.yaml", tmp_path / "binary.txt"
    broken.write_text("a: [", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\xff")
    for path, why in (
        (broken, "not YAML"),
        (binary, "not UTF-8"),
        (tmp_path / "no.txt", "No such"),
    ):
        with pytest.raises(InvalidRequest, match=why) as raised:
            read_section_file(str(path))
        assert str(path) in str(raised.value)


def test_files_that_hold_no_sections_are_no_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("day.jpg", "prompts.yaml", "prompts.TXT"):
        Path(name).write_bytes(b"x")
    Path("pictures").mkdir()
    for value, what in (("day.jpg", "a file that is none of"), ("pictures", "a folder")):
        with pytest.raises(InvalidRequest, match=f"^--section-prompts: {value} is {what}"):
            refuse_other_files("--section-prompts", value)
    for text in ("prompts.yaml", "prompts.TXT", "night.jpg", "0: day.jpg", "pan " * 2000, "a\0b"):
        refuse_other_files("--section-prompts", text)
