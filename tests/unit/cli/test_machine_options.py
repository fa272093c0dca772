"""Options of the machine stand in a command where it takes them, and reach it as flags."""

from collections.abc import Mapping
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from framepack.cli.machine_options import machine_options
from framepack.domain.settings import Settings

FLAGS = ("device", "dtype", "attention", "compile", "models_dir", "offload")
FLAGS += ("vram_budget", "vram_reserve", "quantize")


@pytest.fixture
def taken() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture
def app(taken: list[Mapping[str, Any]]) -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @machine_options
    def command(first: str = "1", *, machine: Mapping[str, Any], last: str = "9") -> None:
        taken.append({"first": first, "last": last, **machine})

    return made


def test_what_is_given_reaches_the_command(
    app: typer.Typer, taken: list[Mapping[str, Any]]
) -> None:
    said = ["--device", "cpu", "--vram-budget", "6GB", "--quantize", "nf4", "--quantize", "all=fp8"]
    assert CliRunner().invoke(app, ["--first", "2", *said]).exit_code == 0
    given = {"device": "cpu", "vram_budget": "6GB", "quantize": ["nf4", "all=fp8"]}
    assert taken == [{"first": "2", "last": "9", **dict.fromkeys(FLAGS), **given}]


def test_what_is_left_out_leaves_the_settings_as_they_are(
    app: typer.Typer, taken: list[Mapping[str, Any]]
) -> None:
    assert CliRunner().invoke(app, []).exit_code == 0
    flags = {name: taken[0][name] for name in FLAGS}
    assert set(flags.values()) == {None}
    assert Settings.load(**flags) == Settings.load()


def test_they_stand_where_the_command_takes_them(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    options = ["--first", *(f"--{name.replace('_', '-')}" for name in FLAGS)]
    places = [text.index(option) for option in options]
    assert places == sorted(places)
