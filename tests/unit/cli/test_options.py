"""Options come from the request's schema."""

from typing import Any

import pytest
import typer

from framepack.cli.main import app, main
from framepack.domain.request import GenerationRequest


def _options(command: str) -> dict[str, Any]:
    program: Any = typer.main.get_command(app)
    return {param.name: param for param in program.commands[command].params}


@pytest.mark.parametrize("command", ["generate", "plan"])
@pytest.mark.parametrize("name", GenerationRequest.model_fields)
def test_each_field_is_an_option_with_the_schemas_name_and_help(command: str, name: str) -> None:
    field = GenerationRequest.model_fields[name]
    option = _options(command)[name]
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    assert option.opts == [extra["option"]]
    assert option.help == field.description


def test_plan_takes_every_option_of_generate() -> None:
    assert _options("generate").keys() <= _options("plan").keys()


def test_options_that_are_not_given_leave_the_schemas_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import json

    assert main(["plan", "--prompt", "a dog", "--seed", "7", "--json", "-q"]) == 0
    request = json.loads(capsys.readouterr().out)["request"]
    defaults = GenerationRequest.parse(prompt="a dog", seed=7)
    for name, value in defaults.model_dump(mode="json").items():
        assert value is None or request[name] == value


def test_a_flag_of_the_schema_needs_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["plan", "--official-length", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["request"]["official_length"] is True
