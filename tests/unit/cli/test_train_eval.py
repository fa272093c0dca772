"""The training commands pass on what they were told and print what came of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from framepack.cli.main import main


class _Recorder:
    """Stands for a long job: keeps its arguments, gives back a result."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.arguments, self.options = arguments, options
        return self.result


def _replace(monkeypatch: pytest.MonkeyPatch, name: str, result: Any) -> _Recorder:
    recorder = _Recorder(result)
    monkeypatch.setattr(name, recorder)
    return recorder


def test_train_tiny_prints_the_model_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = _replace(monkeypatch, "framepack.training.tiny.recipe.train", True)
    given = ["--vae-steps", "3", "--transformer-steps", "2", "--seed", "5", "--device", "cpu"]
    assert main(["train", "tiny", "--run-dir", "here", *given]) == 0
    assert capsys.readouterr().out == f"{Path('here') / 'model'}\n"
    assert train.arguments == (Path("here"),)
    assert train.options["vae_steps"] == 3
    assert train.options["transformer_steps"] == 2
    assert train.options["seed"] == 5
    assert train.options["device"] == "cpu"
    assert train.options["minutes"] is None
    assert train.options["stages"] == ("vae", "transformer", "export")


def test_train_tiny_trains_the_stages_that_were_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = _replace(monkeypatch, "framepack.training.tiny.recipe.train", True)
    assert main(["train", "tiny", "--stage", "vae", "--stage", "transformer"]) == 0
    assert train.options["stages"] == ("vae", "transformer")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Finished: vae, transformer.\n"


def test_train_tiny_that_ran_out_of_time_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = _replace(monkeypatch, "framepack.training.tiny.recipe.train", False)
    assert main(["train", "tiny", "--minutes", "0.5"]) == 0
    assert train.options["minutes"] == 0.5
    out, err = capsys.readouterr()
    assert out == ""
    assert "the same command goes on" in err


def test_train_tiny_that_was_stopped_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("framepack.training.tiny.recipe.train", interrupted)
    assert main(["train", "tiny"]) == 130
    assert "The same command goes on" in capsys.readouterr().err


def test_train_rife_prints_the_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = _replace(monkeypatch, "framepack.training.rife.recipe.train", True)
    given = ["--steps", "3", "--seed", "5", "--device", "cpu", "-o", "there"]
    assert main(["train", "rife", "--run-dir", "here", *given]) == 0
    assert capsys.readouterr().out == f"{Path('there') / 'model.safetensors'}\n"
    assert train.arguments == (Path("here"),)
    assert train.options["output"] == Path("there")
    assert (train.options["steps"], train.options["seed"]) == (3, 5)
    assert train.options["minutes"] is None


def test_train_rife_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _replace(monkeypatch, "framepack.training.rife.recipe.train", False)
    assert main(["train", "rife", "--minutes", "0.5"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "the same command goes on" in err


def test_training_figures_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = _replace(monkeypatch, "framepack.training.tiny.recipe.train", True)
    main(["train", "tiny"])
    capsys.readouterr()
    train.options["on_log"]("vae", {"step": 25, "loss": 0.123456, "minutes": 1.5})
    assert capsys.readouterr().err == "vae step 25: loss 0.1235, minutes 1.5\n"


def test_eval_prints_json_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = _replace(monkeypatch, "framepack.training.tiny.evaluate.evaluate", {"a": 1})
    assert main(["eval", "--quick", "--json", "--no-photographs", "-o", "there"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    assert evaluate.arguments == (None,)
    assert evaluate.options["output"] == Path("there")
    assert evaluate.options["quick"] is True
    assert evaluate.options["photographs"] is False
    evaluate.options["on_progress"](1, 9, "pan left")
    assert capsys.readouterr().err == "1/9 pan left\n"


def test_eval_prints_the_figures_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _replace(monkeypatch, "framepack.training.tiny.evaluate.evaluate", {"a": 1})
    _replace(monkeypatch, "framepack.training.tiny.report.markdown", "# Figures\n")
    assert main(["eval", "--model", "m"]) == 0
    assert capsys.readouterr().out == "# Figures\n"
