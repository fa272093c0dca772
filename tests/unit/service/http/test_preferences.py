"""Each key has its own preferences, and they outlive the server."""

from pathlib import Path

from tests.helpers.service import new_service, running

PATH = "/v1/preferences"


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    values = {"theme": "dark", "last": {"prompt": "Ünï 火", "steps": [1, 2.5, None]}}
    with running(new_service(tmp_path)) as client:
        assert client.get(PATH).json() == {}
        assert client.put(PATH, json={"old": 1}).json() == {"old": 1}
        assert client.put(PATH, json=values).status_code == 200
    with running(new_service(tmp_path)) as client:
        assert client.get(PATH).json() == values


def test_nobody_reads_those_of_others(tmp_path: Path) -> None:
    service = new_service(tmp_path)
    keys = [{"Authorization": f"Bearer {service.keys.create(name)[1]}"} for name in ("a", "b")]
    with running(service) as client:
        client.put(PATH, json={"whose": "a"}, headers=keys[0])
        assert client.get(PATH, headers=keys[1]).json() == {}
        assert client.get(PATH, headers=keys[0]).json() == {"whose": "a"}
        assert client.get(PATH).status_code == 401


def test_what_is_no_object_or_too_large_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    with running(new_service(tmp_path)) as client:
        client.put(PATH, json={"kept": True})
        large = client.put(PATH, json={"text": "ü" * 150_000})
        assert large.status_code == 422
        assert "300 KB; 256 KB are kept" in large.json()["error"]["message"]
        assert client.put(PATH, json=[1]).status_code == 422
        assert client.put(PATH, content=b"{").status_code == 400
        assert client.get(PATH).json() == {"kept": True}
