"""Training of the small IFNet: exact motion, losses that teach, runs that go on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from framepack.domain.errors import InvalidRequest
from framepack.models.ifnet import IFNet, Step, warp
from framepack.training.rife import recipe
from framepack.training.rife.clips import Motion, World, draw_clips
from framepack.training.rife.measure import true_clips
from framepack.training.rife.trainer import APART, CONFIG, TOGETHER, RifeTrainer, begin, loss_of
from framepack.training.tiny.data import PictureBank, seeded
from framepack.weights.ifnet_files import load_ifnet

FEW: dict[str, Any] = {"steps": 2, "num_pictures": 2, "num_measured": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return PictureBank(0, 4)


def test_content_at_rest_and_in_motion_are_inverse() -> None:
    motion = Motion((3.0, -2.0), (5.0, 1.0), angle=0.3, growth=0.2)
    places = torch.randn(1, 4, 5, 2) * 10
    rest = motion.at_rest(places, torch.tensor([0.7]))
    assert torch.allclose(motion.at(rest, 0.7), places, atol=1e-4)
    assert torch.allclose(motion.at(places, 0.0), places, atol=1e-5)


def test_a_shift_to_the_right_comes_from_the_left() -> None:
    motion = Motion(shift=(6.0, 0.0))
    places = torch.zeros(1, 1, 1, 2)
    assert motion.at_rest(places, torch.tensor([0.5]))[0, 0, 0].tolist() == [-3.0, 0.0]


def test_the_flow_leads_from_the_middle_to_both_ends(bank: PictureBank) -> None:
    """Most pixels are seen in both frames, and there the moved frames are the true one."""
    clips = draw_clips(bank, np.random.default_rng(5), 24, 64)
    moving = clips.flow.abs().amax(dim=(1, 2, 3)) > 1  # dissolves have no flow
    assert moving.sum() > 8
    middle, flow = clips.middle[moving], clips.flow[moving]
    for end, part in ((clips.first, flow[:, :2]), (clips.last, flow[:, 2:])):
        error = (warp(end[moving], part) - middle).abs()
        assert error.median() < 0.004
        assert error.mean() < (end[moving] - middle).abs().mean() / 2


def test_clips_follow_from_the_generator_alone(bank: PictureBank) -> None:
    one, other = (draw_clips(bank, seeded(1, "x"), 3, 32) for _ in range(2))
    assert torch.equal(one.middle, other.middle)
    assert torch.equal(one.flow, other.flow)
    assert 0 <= float(one.middle.min()) <= float(one.middle.max()) <= 1


def test_the_true_frame_and_flow_have_no_loss(bank: PictureBank) -> None:
    clips = draw_clips(bank, seeded(2, "x"), 2, 32)
    mask = torch.zeros(2, 1, 32, 32)
    perfect = Step(clips.middle, clips.flow, mask)
    wrong = Step(clips.first, clips.flow, mask)
    assert float(loss_of([perfect] * 4, clips, 0.1)) == 0
    early = float(loss_of([wrong, perfect, perfect, perfect], clips, 0.1))
    late = float(loss_of([perfect, perfect, perfect, wrong], clips, 0.1))
    assert 0 < early < late
    still = Step(clips.middle, torch.zeros_like(clips.flow), mask)
    assert float(loss_of([still] * 4, clips, 0.2)) > float(loss_of([still] * 4, clips, 0.1)) > 0


def test_first_lessons_hold_cameras_alone_and_no_fast_ones(bank: PictureBank) -> None:
    world = World(fastest_px=2.0, cameras_only=True)
    clips = draw_clips(bank, seeded(3, "x"), 16, 32, world)
    # Content at the corners is the fastest, a square root of two farther out than the edge.
    assert float(clips.flow.abs().max()) < 2 * 2**0.5 * 1.5
    assert TOGETHER.lessons[0].world.cameras_only
    for stage in (TOGETHER, APART):
        ends = [lesson.until for lesson in stage.lessons]
        assert ends == sorted(ends)
        assert ends[-1] == 1
        assert not stage.lessons[-1].world.cameras_only


def test_first_filters_answer_to_the_way_things_move() -> None:
    """To the right a filter with time is stronger, to the left its partner against time."""
    net = begin(IFNet(CONFIG))
    filters = net.get_submodule("block3.conv0.0.0")
    assert isinstance(filters, torch.nn.Conv2d)
    columns = torch.linspace(0, 6.28 * 2, 64).sin().expand(3, 64, 64)

    def energies(shift: int) -> tuple[float, float]:
        seen = torch.zeros(1, 12, 64, 64)
        seen[0, :3], seen[0, 3:6] = columns, columns.roll(shift, dims=2)
        answer = filters(seen)[0, :, 4:-4, 4:-4].detach().abs().mean(dim=(1, 2))
        return float(answer[0]), float(answer[2])

    with_time, against = energies(2)
    mirrored_with, mirrored_against = energies(-2)
    assert against > 1.5 * with_time
    assert mirrored_with > 1.5 * mirrored_against


def test_blocks_learn_together(bank: PictureBank, tmp_path: Path) -> None:
    trainer = RifeTrainer(tmp_path / "run", num_steps=4, bank=bank)
    trainer.train_step(0)
    state = trainer.net.state_dict()
    for name in ("conv0.1.0.weight", "convblock.7.conv.weight", "lastconv.0.bias"):
        assert torch.equal(state[f"block0.{name}"], state[f"block3.{name}"])
    assert state["block0.conv0.0.0.weight"].shape[1] == 7


def test_blocks_part_from_what_they_learnt_together(bank: PictureBank, tmp_path: Path) -> None:
    together = RifeTrainer(tmp_path / "one", num_steps=4, bank=bank)
    together.train_step(0)
    learnt = {key: value.clone() for key, value in together.net.state_dict().items()}
    apart = RifeTrainer(tmp_path / "other", num_steps=4, bank=bank, stage=APART, start=learnt)
    assert all(torch.equal(value, learnt[key]) for key, value in apart.net.state_dict().items())
    apart.train_step(0)
    state, name = apart.net.state_dict(), "convblock.7.conv.weight"
    assert not torch.equal(state[f"block0.{name}"], state[f"block3.{name}"])


def test_psnr_teaches_slow_clips_as_much_as_fast_ones(bank: PictureBank) -> None:
    clips = draw_clips(bank, seeded(2, "x"), 2, 32)
    mask = torch.zeros(2, 1, 32, 32)

    def loss(error: float) -> float:
        step = Step(clips.middle + error, clips.flow, mask)
        return float(loss_of([step] * 4, clips, 0, 0.1) - loss_of([step] * 4, clips, 0))

    assert loss(0.04) - loss(0.02) == pytest.approx(loss(0.2) - loss(0.1), rel=0.05)


def test_training_goes_on_as_if_never_stopped(tmp_path: Path, bank: PictureBank) -> None:
    def trainer(name: str) -> RifeTrainer:
        return RifeTrainer(tmp_path / name, num_steps=4, bank=bank, seed=3)

    def go(trained: RifeTrainer, until: int) -> None:
        while trained.run.step < until:
            trained.train_step(trained.run.step)
            trained.run.step += 1
        trained.run.save()

    whole = trainer("whole")
    go(whole, 4)
    go(trainer("stopped"), 2)
    resumed = trainer("stopped")
    assert resumed.run.step == 2
    go(resumed, 4)
    for key, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, resumed.net.state_dict()[key])


def test_the_recipe_leaves_weights_that_load(tmp_path: Path) -> None:
    rows: list[str] = []
    assert recipe.train(tmp_path / "run", on_log=lambda stage, row: rows.append(stage), **FEW)
    folder = tmp_path / "run" / "model"
    network = load_ifnet(folder / recipe.WEIGHTS_NAME)
    assert json.loads((folder / "config.json").read_text())["widths"] == list(network.config.widths)
    assert (folder / recipe.WEIGHTS_NAME).stat().st_size < 4e6
    assert not (folder / "figures.json").exists()


def test_a_training_that_ran_out_of_time_writes_no_weights(tmp_path: Path) -> None:
    assert not recipe.train(tmp_path / "run", minutes=0, **FEW)
    assert not (tmp_path / "run" / "model").exists()
    assert recipe.train(tmp_path / "run", **FEW)


def test_other_settings_in_the_same_directory_are_refused(tmp_path: Path) -> None:
    recipe.train(tmp_path / "run", minutes=0, **FEW)
    with pytest.raises(InvalidRequest, match="was begun with seed 0, now it is 1"):
        recipe.train(tmp_path / "run", seed=1, **FEW)


def test_held_out_clips_show_every_motion_at_every_speed() -> None:
    kinds = [kind for kind, clip in true_clips(1000, 1, 2)]
    names = {kind.split()[0] for kind in kinds}
    assert names == {"pan", "zoom", "rotate", "sprite"}
    assert {kind for kind in kinds if kind.startswith("pan")} == {
        "pan 1.5 px",
        "pan 4.5 px",
        "pan 9 px",
    }
