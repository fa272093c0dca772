"""Magnitude ratios of the embedded model: measured by the command, shipped as numbers."""

import tomllib
from pathlib import Path

import pytest
from tests.helpers.runs import SMALL, seconds

from framepack.cli.main import main
from framepack.decisions import decide
from framepack.domain.request import GenerationRequest
from framepack.models.spec import PRESETS, resolve_spec
from framepack.pipeline.calibrate import measure_magnitude_ratios
from framepack.pipeline.components import Components
from framepack.pipeline.conditions import Pictures

EXAMPLE = Path(__file__).parents[2] / "examples/hills.jpg"


def test_ratios_are_means_over_sections_and_the_same_each_time(components: Components) -> None:
    asked = {**SMALL, "num_inference_steps": 3, "true_cfg_scale": 1.5}

    def measured(num_frames: int) -> tuple[float, ...]:
        request = GenerationRequest.parse(**asked, duration_s=seconds(num_frames))
        plan = decide(request, PRESETS["tiny"])
        return measure_magnitude_ratios(plan, components, Pictures())

    one, two = measured(9), measured(21)
    assert one == measured(9)
    assert len(one) == 3
    assert one[0] == two[0] == 1
    assert one != two
    assert all(0.5 < ratio < 1.5 for ratio in (*one, *two))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the prompt is empty"),
        (["--prompt", "x", "--steps", "1"], "ratios need at least 2 steps"),
        (["--prompt", "x", "--steps", "many"], "num_inference_steps"),
        (["--prompt", "x", "-o", "mine.txt"], "toml"),
    ],
)
def test_bad_input_is_refused_before_weights_are_read(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "calibrate", "tiny", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.full
def test_the_command_measures_what_is_shipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = PRESETS["tiny"].defaults.magcache_ratios[0]
    case = ["--image", str(EXAMPLE), "--prompt", "the camera pans left"]
    assert main(["models", "calibrate", "tiny", *case, "--quiet"]) == 0
    (printed,) = tomllib.loads(capsys.readouterr().out)["defaults"]["magcache_ratios"]
    assert printed == pytest.approx(shipped, abs=0.002)
    recipe = tmp_path / "mine.toml"
    again = ["--steps", "2", "--steps", "3", "-o", str(recipe)]
    assert main(["models", "calibrate", "tiny", *case, *again]) == 0
    written = resolve_spec(str(recipe)).defaults
    assert [len(ratios) for ratios in written.magcache_ratios] == [2, 3]
    assert written.teacache_threshold == PRESETS["tiny"].defaults.teacache_threshold
