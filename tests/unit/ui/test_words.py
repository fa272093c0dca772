"""The studio's words: every language says all of it, and the page asks for nothing else."""

import json
import re
from string import Formatter

import pytest

from framepack.domain.forms import form_field
from framepack.domain.groups import GROUPS
from framepack.domain.request import GenerationRequest
from framepack.service.http.schemas import SERVERS_OWN
from framepack.service.http.wire import OPTIONS
from framepack.ui.mount import PAGE

LOCALES = PAGE / "locales"
SOURCES = {
    path.relative_to(PAGE / "js").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((PAGE / "js").rglob("*.js"))
}
LANGUAGES = sorted(path.name for path in LOCALES.iterdir())
AREAS = sorted(path.stem for path in (LOCALES / "en").glob("*.json"))
PLURAL = re.compile(r"\.(zero|one|two|few|many|other)$")
# The server says these in English, so only other languages need words for them.
FROM_THE_SERVER = tuple(
    sorted(
        {
            begin
            for text in SOURCES.values()
            for begin in re.findall(r"\btOr\(\s*`([a-z_]+\.[A-Za-z_.]*)\$\{", text)
        }
    )
)


def words(language: str, area: str) -> dict[str, str]:
    path = LOCALES / language / f"{area}.json"
    assert path.is_file(), f"{language} has no {area}.json"
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def called(pattern: str) -> dict[str, set[str]]:
    """What the scripts ask for, and where."""
    found: dict[str, set[str]] = {}
    for name, text in SOURCES.items():
        for key in re.findall(pattern, text):
            found.setdefault(key, set()).add(name)
    return found


def test_there_is_english_and_german() -> None:
    assert {"en", "de"} <= set(LANGUAGES)
    assert "shell" in AREAS


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
@pytest.mark.parametrize("area", AREAS)
def test_every_language_has_the_same_words_with_the_same_gaps(area: str, language: str) -> None:
    english, other = words("en", area), words(language, area)
    ours = {key for key in english if not key.startswith(FROM_THE_SERVER)}
    theirs = {key for key in other if not key.startswith(FROM_THE_SERVER)}
    assert {PLURAL.sub("", key) for key in ours} == {PLURAL.sub("", key) for key in theirs}
    differing = [
        key for key in ours & theirs if placeholders(english[key]) != placeholders(other[key])
    ]
    assert differing == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("area", AREAS)
def test_words_begin_with_their_area_and_say_something(area: str, language: str) -> None:
    for key, text in words(language, area).items():
        assert key.startswith(f"{area}."), key
        assert text.strip(), key


def test_all_languages_have_the_same_areas() -> None:
    for language in LANGUAGES:
        assert sorted(path.stem for path in (LOCALES / language).glob("*.json")) == AREAS, language


def test_german_has_every_field_and_group_of_a_request() -> None:
    german = words("de", "fields")
    names = [name for name in GenerationRequest.model_fields if name not in SERVERS_OWN]
    names += [*OPTIONS, "audio"]
    wanted = [f"fields.{name}.{part}" for name in names for part in ("title", "help")]
    wanted += [f"fields.group.{group.id}" for group in GROUPS] + ["fields.group.job"]
    assert [key for key in wanted if key not in german] == []


def test_german_says_of_every_field_what_none_stands_for() -> None:
    german = words("de", "fields")
    names = [name for name in GenerationRequest.model_fields if name not in SERVERS_OWN]
    with_unset = [
        name for name in names if form_field(name, GenerationRequest.model_fields[name])["unset"]
    ]
    assert len(with_unset) > 10
    assert [name for name in with_unset if f"fields.{name}.unset" not in german] == []


def test_german_words_of_fields_are_of_fields_that_there_are() -> None:
    english = words("en", "fields")
    assert english.keys() <= words("de", "fields").keys()
    known = {*GenerationRequest.model_fields, *OPTIONS, "audio", "group", "unit"}
    for key in words("de", "fields"):
        assert key.split(".")[1] in known, key


def test_the_page_asks_only_for_words_that_there_are() -> None:
    english = {key for area in AREAS for key in words("en", area)}
    asked = called(r"""\bt\(\s*["']([^"'`$]+)["']""")
    assert len(asked) > 30
    missing = {key: sorted(places) for key, places in asked.items() if key not in english}
    assert missing == {}


def test_what_depends_on_a_count_has_a_word_for_one_and_for_several() -> None:
    english = {key for area in AREAS for key in words("en", area)}
    asked = called(r"""\btn\(\s*["']([^"'`$]+)["']""")
    missing = {
        f"{key}.{form}": sorted(places)
        for key, places in asked.items()
        for form in ("one", "other")
        if f"{key}.{form}" not in english
    }
    assert missing == {}


def test_no_word_is_left_over() -> None:
    """A word is used where some script has its key, or the beginning of it before a gap."""
    text = "\n".join(SOURCES.values())
    begins = tuple(re.findall(r"`([a-z_]+\.[A-Za-z_.]*)\$\{", text))
    left = [
        key
        for area in AREAS
        for key in words("en", area)
        if not key.startswith(begins) and f'"{PLURAL.sub("", key)}"' not in text
    ]
    assert left == []


def test_scripts_say_nothing_in_a_language_of_their_own() -> None:
    """Labels come from the catalogues: no attribute that people read is a literal."""
    label = r"""["']?(?:aria-label|title|placeholder)["']?\s*:\s*["'][^"']*[A-Za-z]{3}[^"']*["']"""
    found = {name: re.findall(label, text) for name, text in SOURCES.items()}
    assert {name: labels for name, labels in found.items() if labels} == {}
