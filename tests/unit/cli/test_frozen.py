"""The command line is stable: a script written today works tomorrow."""

from collections.abc import Iterator
from typing import Any

import typer

from framepack.cli.main import app

MACHINE = {"--device", "--dtype", "--models-dir"}
SPEED = {"--attention", "--compile"}
MEMORY = {"--offload", "--vram-budget", "--vram-reserve", "--quantize"}
TALK = {"--json", "--quiet", "-q"}
REQUEST = {
    "--prompt",
    "--negative-prompt",
    "--system-prompt",
    "--style",
    "--enhance",
    "--enhanced-prompts",
    "--image",
    "--end-image",
    "--one-frame",
    "--target-index",
    "--control-index",
    "--extend",
    "--video",
    "--video-strength",
    "--loop",
    "--model",
    "--lora",
    "--variant",
    "--vae",
    "--vae-weights",
    "--duration",
    "--fps",
    "--resolution",
    "--width",
    "--height",
    "--seed",
    "--steps",
    "--guidance-scale",
    "--cfg-scale",
    "--guidance-rescale",
    "--cfg-zero-star",
    "--zero-init-steps",
    "--shift",
    "--solver",
    "--latent-window-size",
    "--speed",
    "--step-cache",
    "--step-cache-threshold",
    "--start-strength",
    "--end-strength",
    "--vision-strength",
    "--section-prompts",
    "--section-mode",
    "--section-images",
    "--section-seeds",
    "--section-loras",
    "--blend-sections",
    "--camera-motion",
    "--camera-motion-step",
    "--reroll",
    "--drift-limit",
    "--official-length",
    "--interpolate",
    "--interpolation",
    "--rife-weights",
    "--filter",
    "--codec",
    "--codec-options",
    "--pixel-format",
    "--crf",
    "--preset",
}
DELIVERY = {
    "--output",
    "-o",
    "--from",
    "--frames",
    "--frames-format",
    "--raw",
    "--audio",
    "--no-metadata",
    "--no-thumbnail",
    "--run-dir",
    "--keep-run",
    "--keep-partial",
}
SERVER = {"--url", "--api-key-file"}
TAKE = {"RUN_DIR", "--prompt", "--output", "-o", "--run-dir", "--keep-partial"}
FROZEN = {
    "framepack": {"--version"},
    "framepack generate": REQUEST | DELIVERY | MACHINE | SPEED | MEMORY | TALK,
    "framepack plan": REQUEST | DELIVERY | MACHINE | SPEED | MEMORY | TALK | {"--verbose", "-v"},
    "framepack resume": {"RUN_DIR", "--keep-partial"} | MACHINE | SPEED | MEMORY | TALK,
    "framepack redo": TAKE | {"--section", "--image", "--seed"} | MACHINE | SPEED | MEMORY | TALK,
    "framepack extend": TAKE | {"--by"} | MACHINE | SPEED | MEMORY | TALK,
    "framepack inspect": {"VIDEO", "--json"},
    "framepack clip": {
        "VIDEO...",
        "--output",
        "-o",
        "--start",
        "--end",
        "--crop",
        "--filter",
        "--size",
        "--crossfade",
        "--speed",
        "--fps",
        "--interpolate",
        "--interpolation",
        "--reverse",
        "--ping-pong",
        "--loop",
        "--codec",
        "--codec-options",
        "--pixel-format",
        "--audio",
        "--no-audio",
        "--no-metadata",
        "--quiet",
        "-q",
    },
    "framepack upscale": {
        "VIDEO",
        "--output",
        "-o",
        "--weights",
        "--size",
        "--tile",
        "--device",
        "--codec",
        "--codec-options",
        "--pixel-format",
        "--no-metadata",
        "--quiet",
        "-q",
    },
    "framepack drift": {"VIDEO", "--sections", "--plot", "--json"},
    "framepack encode": {
        "FRAMES",
        "--output",
        "-o",
        "--frames",
        "--frames-format",
        "--codec",
        "--codec-options",
        "--pixel-format",
        "--fps",
        "--audio",
        "--cv2",
        "--quiet",
        "-q",
    },
    "framepack codecs": {"--all", "--json"},
    "framepack models": set(),
    "framepack models list": {"--models-dir", "--json"},
    "framepack models licence": {"MODEL"},
    "framepack models download": {
        "MODEL",
        "--accept-licence",
        "--accept-license",
        "--models-dir",
        "--quiet",
        "-q",
    },
    "framepack models calibrate": {
        *("MODEL", "--prompt", "--image", "--steps", "--seed", "--output", "-o"),
        *("--quiet", "-q"),
    }
    | MACHINE
    | MEMORY,
    "framepack models quantize": {"MODEL", "FOLDER", "--format", "--models-dir"},
    "framepack models recipe": {"MODEL", "--output", "-o", "--set", "--reset"},
    "framepack lora": set(),
    "framepack lora inspect": {"FILE", "--model", "--json"},
    "framepack train": set(),
    "framepack train tiny": {
        "--run-dir",
        "--output",
        "-o",
        "--device",
        "--vae-steps",
        "--transformer-steps",
        "--seed",
        "--minutes",
        "--stage",
        "--quiet",
        "-q",
    },
    "framepack train rife": {
        "--run-dir",
        "--output",
        "-o",
        "--device",
        "--steps",
        "--seed",
        "--minutes",
        "--quiet",
        "-q",
    },
    "framepack eval": {
        "--model",
        "--output",
        "-o",
        "--quick",
        "--seed",
        "--no-photographs",
        "--json",
        "--quiet",
        "-q",
    },
    "framepack doctor": {
        "--sanity",
        "--attention",
        "--update-sanity",
        "--server",
        "--api-key-file",
        "--json",
    }
    | MACHINE,
    "framepack bench": {"--quick", "--out"} | MACHINE | TALK,
    "framepack serve": {
        "--host",
        "--server",
        "--port",
        "--share",
        "--inbrowser",
        "--no-ui",
        "--api-key-file",
        "--data-dir",
        "--executor",
        "--quiet",
        "-q",
    }
    | MACHINE
    | SPEED
    | MEMORY,
    "framepack keys": set(),
    "framepack keys create": {"NAME", "--max-waiting", "--data-dir"},
    "framepack keys list": {"--data-dir", "--json"},
    "framepack keys revoke": {"NAME", "--data-dir"},
    "framepack submit": REQUEST
    | {"--from", "--audio", "--no-thumbnail", "--output", "-o", "--follow", "--priority"}
    | SERVER
    | TALK,
    "framepack follow": {"ID", "--output", "-o"} | SERVER | TALK,
    "framepack jobs": {"--limit", "--json"} | SERVER,
    "framepack cancel": {"ID..."} | SERVER,
}


def _found(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
    names = set()
    for param in command.params:
        names |= {param.metavar} if param.param_type_name == "argument" else set(param.opts)
    yield path, names - {"--help", "-h"}
    for name, child in getattr(command, "commands", {}).items():
        yield from _found(child, f"{path} {name}")


def test_commands_and_options_are_the_frozen_ones() -> None:
    assert dict(_found(typer.main.get_command(app), "framepack")) == FROZEN
