"""Downloading asks for consent and shows how far it is. No test reaches the network."""

import sys
from pathlib import Path
from typing import Any

import pytest

from framepack.cli.main import main
from framepack.domain.settings import Settings
from framepack.models.spec import HUNYUAN_LICENCE
from framepack.weights.consent import is_licence_accepted, record_licence
from framepack.weights.download import DownloadProgress, DownloadReport


class _Hub:
    """Stands for the download: remembers the consent it was given, reports one file."""

    def __init__(self) -> None:
        self.accepted: list[bool] = []

    def __call__(self, spec: Any, settings: Settings, report: Any) -> DownloadReport:
        from framepack.weights.consent import require_licence

        require_licence(spec.licence, settings)
        self.accepted.append(settings.accept_licence)
        for done in (0, 5, 10):
            report(DownloadProgress("owner/repo/model.safetensors", done, 10, "fetching"))
        return DownloadReport({"owner/repo": Path("/models/owner/repo")}, 1, 10)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> _Hub:
    fake = _Hub()
    monkeypatch.setattr("framepack.weights.download.download", fake)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return fake


def _answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("framepack.cli.download.typer.confirm", lambda *args, **kwargs: text == "y")


def test_without_consent_and_terminal_it_is_one_line(
    hub: _Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(["models", "download", "i2v"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert HUNYUAN_LICENCE.url in err
    assert hub.accepted == []


def test_the_flag_is_consent_and_is_remembered(
    hub: _Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "download", "i2v", "--accept-licence"]) == 0
    out, err = capsys.readouterr()
    assert out == "/models/owner/repo\n"
    assert HUNYUAN_LICENCE.facts[0] in err
    assert "  0% of 0.0 GB, fetching owner/repo/model.safetensors" in err
    assert is_licence_accepted(HUNYUAN_LICENCE)
    assert main(["models", "download", "i2v", "-q"]) == 0
    assert capsys.readouterr() == ("/models/owner/repo\n", "")


def test_a_terminal_is_asked_after_the_terms_are_shown(
    hub: _Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "y")
    assert main(["models", "download", "f1"]) == 0
    assert HUNYUAN_LICENCE.facts[0] in capsys.readouterr().err
    assert hub.accepted == [True]


def test_no_is_no(
    hub: _Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "n")
    assert main(["models", "download", "i2v"]) == 1
    assert capsys.readouterr().err.endswith(
        "Error: the terms were not accepted; nothing was downloaded\n"
    )
    assert hub.accepted == []
    assert not is_licence_accepted(HUNYUAN_LICENCE)


def test_consent_given_before_is_not_asked_again(
    hub: _Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record_licence(HUNYUAN_LICENCE)
    _answer(monkeypatch, "n")
    assert main(["models", "download", "i2v"]) == 0
    assert HUNYUAN_LICENCE.facts[0] not in capsys.readouterr().err


def test_a_stopped_download_says_how_to_go_on(
    hub: _Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> DownloadReport:
        raise KeyboardInterrupt

    monkeypatch.setattr("framepack.weights.download.download", interrupted)
    assert main(["models", "download", "i2v", "--accept-licence", "-q"]) == 130
    assert "goes on where it was" in capsys.readouterr().err


def test_offline_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "i2v", "--accept-licence"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "offline is set" in err


def test_the_embedded_model_needs_no_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "tiny"]) == 0
    assert "needs no download" in capsys.readouterr().out
