"""Bad input: exit code 2, one clear line, nothing written, no weights and no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

ROOT = Path(__file__).parents[2]

# Runs every case in one process in which torch and its kin cannot be imported.
_SCRIPT = """
import contextlib, importlib.abc, io, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "diffusers", "transformers", "accelerate", "peft"}:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Blocker())
from framepack.cli.main import main

results = {}
for name, arguments in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    results[name] = [code, out.getvalue(), err.getvalue()]
json.dump(results, sys.stdout)
"""

PROMPT = ["--prompt", "a dog"]
CASES: dict[str, tuple[list[str], str]] = {
    "missing picture": (["--image", "none.png"], "picture none.png does not exist"),
    "corrupt picture": (["--image", "corrupt.png"], "picture corrupt.png"),
    "text as picture": (["--image", "notes.txt"], "picture notes.txt"),
    "folder as picture": (["--image", "folder"], "picture folder is a folder"),
    "empty path": (["--image", ""], "image (--image) is ''"),
    "missing end picture": ([*PROMPT, "--end-image", "none.png"], "picture none.png"),
    "nothing asked": ([], "the prompt is empty and there is no picture"),
    "blank prompt": (["--prompt", "  "], "the prompt is empty and there is no picture"),
    "unknown model": ([*PROMPT, "--model", "tinny"], "unknown model 'tinny'; did you mean 'tiny'"),
    "folder without model": ([*PROMPT, "--model", "folder"], "holds no model"),
    "unknown variant": ([*PROMPT, "--variant", "sideways"], "variant (--variant) is 'sideways'"),
    "contradiction": (
        [*PROMPT, "--model", "i2v", "--variant", "forward-only"],
        "i2v is bi-directional only, but variant forward-only",
    ),
    "end with forward-only": (
        ["--end-image", "good.png", "--variant", "forward-only"],
        "end picture",
    ),
    "unwritable output": ([*PROMPT, "-o", "good.png/out.mp4"], "good.png"),
    "output is a folder": ([*PROMPT, "-o", "folder.mp4"], "folder.mp4"),
    "unsupported suffix": ([*PROMPT, "-o", "out.avi"], "output out.avi ends in .avi"),
    "system prompt of a model without": (
        [*PROMPT, "--model", "tiny", "--system-prompt", "optimized"],
        "model tiny reads prompts without a system prompt",
    ),
    "unknown style": ([*PROMPT, "--style", "noir"], "there is no style file"),
    "wildcard without folder": (["--prompt", "a __dog__"], "set wildcards_dir"),
    "bad LoRA tag": (["--prompt", "a dog <lora:>"], "write <lora:NAME:WEIGHT>"),
    "missing sound": ([*PROMPT, "--audio", "none.wav", "-o", "a.mp4"], "sound none.wav does not"),
    "sound for a picture": ([*PROMPT, "--audio", "good.png", "-o", "a.gif"], "carries no sound"),
    "not a source": (["--from", "good.png"], "carries no request"),
    "too much interpolation": ([*PROMPT, "--interpolate", "9"], "interpolate (--interpolate) is"),
    "tiny VAE without weights": ([*PROMPT, "--vae", "tiny"], "--vae tiny needs weights in the"),
    "missing VAE weights": (
        [*PROMPT, "--vae", "tiny", "--vae-weights", "none.pth"],
        "none.pth does not exist; give a file with --vae-weights",
    ),
    "VAE weights of no use": ([*PROMPT, "--vae-weights", "a.pth"], "add --vae tiny"),
    "strength of no video": (
        [*PROMPT, "--video-strength", "0.3"],
        "video_strength (--video-strength) is 0.3, but there is no video to redraw",
    ),
    "strength of no end picture": (
        [*PROMPT, "--end-strength", "0.3"],
        "end_strength (--end-strength) is 0.3, but there is no end picture",
    ),
    "RIFE weights of no use": (
        [*PROMPT, "--interpolate", "2", "--interpolation", "blend", "--rife-weights", "a.pth"],
        "but RIFE is not asked for frames",
    ),
    "remote VAE without endpoint": ([*PROMPT, "--vae", "remote"], "set remote_vae_url"),
    "unknown codec": ([*PROMPT, "--codec", "h265"], "there is no video encoder 'h265'"),
    "codec option out of range": ([*PROMPT, "--codec-options", "crf:99"], "number from 0 to 51"),
    "unknown codec option": ([*PROMPT, "--codec-options", "crff:1"], "knows no option 'crff'"),
    "missing LoRA": ([*PROMPT, "--lora", "none.safetensors:0.5"], "LoRA none.safetensors"),
    "LoRA too strong": (
        [*PROMPT, "--lora", "a.safetensors:11"],
        "loras (--lora): weight is 11.0; it must be less than or equal to 10",
    ),
    "more lines than sections": (
        [*PROMPT, "--duration", "1", "--section-prompts", "a\nb"],
        "there are 2 section lines but only 1 section in 1 s",
    ),
    "missing section picture": (
        [*PROMPT, "--section-images", "0: none.png"],
        "picture none.png does not exist",
    ),
    "unknown field of a section": (
        [*PROMPT, "--section-prompts", "sections.yaml"],
        "section_prompts (--section-prompts): unknown field 'promt'",
    ),
    "missing enhanced prompts": (
        [*PROMPT, "--enhanced-prompts", "none.yaml"],
        "cannot read file of enhanced prompts none.yaml",
    ),
    "sway of one frame": (
        [*PROMPT, "--one-frame", "--camera-motion", "0.5"],
        "camera_motion (--camera-motion) means nothing",
    ),
    "picture as section prompts": (
        [*PROMPT, "--section-prompts", "good.png"],
        "good.png is a file that is none of .yaml, .yml, .txt",
    ),
    "folder as section prompts": ([*PROMPT, "--section-prompts", "folder"], "folder is a folder"),
    "missing section file": ([*PROMPT, "--section-prompts", "none.yaml"], "none.yaml"),
    "tiny picture": (["--image", "dot.png"], "picture dot.png"),
    "huge picture": (["--image", "huge.png"], "picture huge.png has far too many pixels"),
    "recipe with a missing component": (
        [*PROMPT, "--model", "recipe.toml"],
        "vae: there is no folder",
    ),
    "missing video to extend": (["--extend", "none.mp4"], "video none.mp4 does not exist"),
    "picture as a video to extend": (["--extend", "notes.txt"], "notes.txt"),
    "still as a video to extend": (["--extend", "good.png"], "one picture, not a video; give it"),
    "still as a video to redraw": (["--video", "good.png"], "with --image, or give a video"),
    "two beginnings": (
        ["--extend", "none.mp4", "--image", "good.png"],
        "begins by itself; leave image (--image) out",
    ),
    "missing video to redraw": (["--video", "none.mp4"], "video none.mp4 does not exist"),
    "too many attempts": ([*PROMPT, "--reroll", "21"], "reroll (--reroll) is '21'"),
    "negative duration": ([*PROMPT, "--duration", "-2"], "duration_s (--duration) is '-2'"),
    "no frame rate": ([*PROMPT, "--fps", "0"], "fps (--fps) is '0'"),
    "too small": ([*PROMPT, "--resolution", "32"], "resolution 32 gives"),
    "too large": ([*PROMPT, "--resolution", "1024"], "resolution 1024 gives"),
    "not a multiple": ([*PROMPT, "--width", "100", "--height", "128"], "multiples of 16"),
    "width alone": ([*PROMPT, "--width", "128"], "give both --width and --height"),
    "no duration": ([*PROMPT, "--duration", "0"], "duration_s (--duration) is '0'"),
    "too long": ([*PROMPT, "--duration", "3601"], "duration_s (--duration) is '3601'"),
    "wrong type": ([*PROMPT, "--steps", "many"], "num_inference_steps (--steps) is 'many'"),
    "strength out of range": ([*PROMPT, "--end-strength", "3"], "it must be a number from 0 to 2"),
    "unknown option": ([*PROMPT, "--durations", "3"], "unknown option --durations; did you mean"),
    "given twice": ([*PROMPT, *PROMPT], "option --prompt is given 2 times"),
    "unknown device": ([*PROMPT, "--device", "toaster"], "device is 'toaster'"),
    "unknown dtype": ([*PROMPT, "--dtype", "int3"], "dtype is 'int3'"),
}


def _one_black_frame() -> bytes:
    """Raw frames as `generate --raw` writes them: 16x16 px."""
    return save({"frames": np.zeros((1, 16, 16, 3), np.uint8)})


def _run(folder: Path, cases: dict[str, list[str]]) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OUTPUTS_DIR": "outputs"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(cases).encode(),
        capture_output=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    results: dict[str, Any] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    Image.new("RGB", (64, 64), "teal").save(folder / "good.png")
    damaged = (folder / "good.png").read_bytes()
    (folder / "corrupt.png").write_bytes(damaged[:60] + b"\0" * 40)
    (folder / "notes.txt").write_text("this is no picture\n")
    Image.new("1", (20000, 10000)).save(folder / "huge.png")
    (folder / "recipe.toml").write_text('base = "tiny"\n[components]\nvae = "./nothing"\n')
    (folder / "sections.yaml").write_text("0: {promt: it runs}\n")
    (folder / "raw.safetensors").write_bytes(_one_black_frame())
    Image.new("RGB", (1, 1), "teal").save(folder / "dot.png")
    (folder / "folder").mkdir()
    (folder / "folder.mp4").mkdir()
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    before = sorted(folder.rglob("*"))
    found = _run(folder, {name: ["generate", *given] for name, (given, _) in CASES.items()})
    assert sorted(folder.rglob("*")) == before, "something was written"
    return found


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2(name: str, results: dict[str, Any]) -> None:
    code, out, err = results[name]
    assert code == 2, err
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert CASES[name][1] in err


def test_planning_a_minute_of_the_large_model_needs_no_torch(folder: Path) -> None:
    minute = ["plan", "--model", "i2v", "--duration", "60"]
    results = _run(folder, {"text": minute, "json": [*minute, "--json"], "own": ["plan"]})
    code, text, _ = results["text"]
    assert code == 0
    assert "1800 frames, 60.00 s" in text
    plan = json.loads(results["json"][1])
    assert plan["num_frames"] == 1800
    assert len(plan["sections"]) == 51
    assert results["own"][0] == 0
    assert results["own"][2].startswith("Model tiny (embedded): ")


def test_missing_large_weights_are_one_line_that_names_the_download(folder: Path) -> None:
    arguments = ["generate", *PROMPT, "--model", "i2v", "-o", "large.mp4"]
    code, out, err = _run(folder, {"large": arguments})["large"]
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "`framepack models download i2v`" in err
    assert not (folder / "large.mp4").exists()


def test_bad_arguments_of_the_other_commands(folder: Path) -> None:
    cases = {
        "no run": (["resume", "folder"], "holds no run"),
        "no such run": (["resume", "none"], "none"),
        "no video": (["inspect", "notes.txt"], "notes.txt cannot be read as a video"),
        "missing video": (["inspect", "none.mp4"], "none.mp4 does not exist"),
        "no such model": (["models", "licence", "nope"], "unknown model 'nope'"),
        "no such download": (["models", "download", "nope"], "unknown model 'nope'"),
        "no frame rate": (
            ["encode", "raw.safetensors", "-o", "raw.mp4", "--fps", "0"],
            "fps (--fps) is 0.0",
        ),
        "recipe elsewhere": (["models", "recipe", "i2v", "-o", "r.txt"], ".toml is needed"),
    }
    # A run is opened with its tensors, so resume may import torch; here it must not come so far.
    for name, (code, out, err) in _run(
        folder, {name: arguments for name, (arguments, _) in cases.items()}
    ).items():
        assert code == 2, (name, err)
        assert out == ""
        assert err.count("\n") == 1
        assert cases[name][1] in err
