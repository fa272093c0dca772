"""A command line that cannot be understood gets exit code 2 and one clear line."""

import pytest

from framepack.cli.main import main

BAD = {
    "unknown option": (["plan", "--sead", "1"], "unknown option --sead; did you mean --seed?"),
    "unknown option alone": (["--bogus"], "unknown option --bogus"),
    "unknown command": (["pln"], "unknown command 'pln'; did you mean 'plan'?"),
    "unknown command far": (["xyz"], "unknown command 'xyz'; choose generate,"),
    "unknown subcommand": (["models", "lst"], "unknown command 'lst'; did you mean 'list'?"),
    "given twice": (["plan", "--seed", "1", "--seed", "2"], "option --seed is given 2 times"),
    "short and long": (["plan", "-o", "a.mp4", "--output", "b.mp4"], "option --output is given 2"),
    "value missing": (["plan", "--image"], "requires an argument (see `framepack plan --help`)"),
    "too many": (["plan", "a", "b"], "(a b) (see `framepack plan --help`)"),
    "argument missing": (["resume"], "missing argument 'RUN_DIR'"),
    "flag with value": (["plan", "--json=1"], "--json"),
    "wrong type": (["train", "tiny", "--seed", "x"], "--seed"),
    "section no number": (["redo", "x", "--section", "last"], "--section is 'last'; it must be a"),
    "seed too low": (["redo", "x", "--section", "0", "--seed", "-1"], "--seed is '-1'; it must be"),
    "out of range": (["train", "tiny", "--vae-steps", "0"], "--vae-steps"),
    "wrong number": (["plan", "--steps", "ten"], "num_inference_steps (--steps) is 'ten'; it must"),
    "fraction for whole": (["plan", "--seed", "1.5"], "seed (--seed) is '1.5'"),
    "negative": (["plan", "--seed", "-1"], "seed (--seed) is '-1'"),
    "not a number": (["plan", "--fps", "nan"], "fps (--fps) is 'nan'"),
    "unknown choice": (["plan", "--solver", "heun"], "solver (--solver) is 'heun'; it must be one"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_command_line_is_one_line_and_exit_code_2(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = BAD[name]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert expected in err


def test_flags_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "-q", "-q", "--seed", "1"]) == 0
    assert capsys.readouterr().err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from framepack import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"framepack {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["models"], ["plan", "--help"]])
def test_help_goes_to_standard_output(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: framepack")
    assert err == ""


def test_commands_are_listed_in_the_order_of_need(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    listed = capsys.readouterr().out.split("Commands:")[1]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    making, finished, serving = (
        "generate plan resume redo extend",
        "inspect clip upscale drift encode codecs",
        "serve keys submit follow jobs cancel",
    )
    assert names == f"{making} {finished} {serving} models lora train eval doctor bench".split()


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "a\x1b[31m\nb"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
