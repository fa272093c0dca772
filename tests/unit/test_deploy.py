"""The files of deploy/ fit the program: its options, its settings, its limits."""

import json
import re
import shlex
from pathlib import Path

import typer
import yaml

from framepack.cli.main import app
from framepack.service.options import ServiceConfig

DEPLOY = Path(__file__).parents[2] / "deploy"


def _check_serve(arguments: list[str]) -> None:
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {name for param in command.params for name in param.opts}
    assert arguments[0] == "serve"
    assert {text for text in arguments if text.startswith("-")} <= known


def test_the_unit_of_systemd_starts_the_server_and_stops_it_gently() -> None:
    text = (DEPLOY / "framepack.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert program.endswith("/framepack")
    _check_serve(arguments)
    (patience,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(patience) > ServiceConfig().stop_s
    assert "KillMode=mixed" in text, "the worker is ended by the server, not by systemd"


def test_the_container_serves_with_keys_and_stops_gently() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    _check_serve(json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[-1]))
    assert "--api-key-file" in text
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    assert set(compose["services"]) == {"cpu", "nvidia"}
    for service in compose["services"].values():
        given = json.loads(service["environment"]["FRAMEPACK_SERVICE"])
        assert ServiceConfig.model_validate(given).hosts == ("studio.example",)
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert float(service["stop_grace_period"].removesuffix("s")) > ServiceConfig().stop_s


def test_the_proxy_lets_through_what_the_server_takes() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    (size,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(size) * 2**20 >= ServiceConfig().upload_mb * 1e6
    assert f"127.0.0.1:{ServiceConfig().port}" in text
    assert "proxy_buffering off" in text
