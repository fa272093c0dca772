"""Links that work for a while."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from framepack.domain.errors import FramePackError
from framepack.service.links import Links, load_secret

PATH = "/v1/videos/video_1/content"


def parts(link: str) -> tuple[str, list[tuple[str, str]]]:
    split = urlsplit(link)
    return split.path, parse_qsl(split.query, keep_blank_values=True)


def test_a_link_works_until_it_expires() -> None:
    now = [1000.0]
    links = Links(b"s" * 32, clock=lambda: now[0])
    path, query = parts(links.sign(PATH, lasts_s=60, query=[("variant", "thumbnail")]))

    assert links.check(path, query)
    now[0] += 59
    assert links.check(path, query)
    now[0] += 1
    assert not links.check(path, query)


def test_nothing_of_a_link_can_be_changed() -> None:
    links = Links(b"s" * 32)
    path, query = parts(links.sign(PATH, lasts_s=60, query=[("variant", "thumbnail")]))
    values = dict(query)

    assert not links.check(PATH.replace("video_1", "video_2"), query)
    assert not links.check(path, [*query, ("download", "1")])
    assert not links.check(path, [pair for pair in query if pair[0] != "variant"])
    assert not links.check(path, {**values, "variant": "video"}.items())
    later = str(int(values["expires"]) + 1)
    assert not links.check(path, {**values, "expires": later}.items())
    assert not links.check(path, {**values, "signature": "0" * 64}.items())
    assert not links.check(path, {**values, "signature": "é\udc80"}.items())
    assert not links.check(path, [*query, ("expires", later)])
    assert not links.check(path, [])
    assert not Links(b"t" * 32).check(path, query)


def test_parameters_cannot_trade_places_with_each_other() -> None:
    links = Links(b"s" * 32, clock=lambda: 0.0)
    _, query = parts(links.sign("/a", lasts_s=60, query=[("bc", "d")]))
    signed = [pair for pair in query if pair[0] in ("expires", "signature")]

    assert not links.check("/a", [("b", "cd"), *signed])
    assert not links.check("/ab", [("c", "d"), *signed])


def test_the_secret_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"
    path.parent.mkdir()
    first = load_secret(path)

    assert len(first) == 32
    assert load_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_that_others_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    load_secret(path)
    path.chmod(0o640)

    with pytest.raises(FramePackError, match="can be read by others"):
        load_secret(path)


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"short")

    with pytest.raises(FramePackError, match="has 5 bytes, 32 are needed"):
        load_secret(path)
