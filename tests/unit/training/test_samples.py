"""Claims about training examples: they are what the pipeline will show the network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from framepack.domain.packing import forward_indices, inverted_indices
from framepack.training.tiny.captions import CAMERA_PHRASES
from framepack.training.tiny.curriculum import CURRICULUM, lesson_at
from framepack.training.tiny.data import PictureBank
from framepack.training.tiny.latent_space import (
    LatentSpace,
    fit_latent_space,
    from_patches,
    to_patches,
)
from framepack.training.tiny.samples import (
    FOCUS,
    FULL_SIZES,
    WINDOW,
    Layout,
    SampleMaker,
    _camera_scene,
    _turning_scene,
)
from framepack.training.tiny.world import SPRITE_SHAPES

CHANNELS = 8


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return PictureBank(5, 6)


@pytest.fixture(scope="module")
def space(bank: PictureBank) -> LatentSpace:
    return fit_latent_space(bank, CHANNELS, seed=0, num_clips=12)


@pytest.fixture(scope="module")
def maker(bank: PictureBank, space: LatentSpace) -> SampleMaker:
    return SampleMaker(bank, space, torch.device("cpu"))


def _layout(*, inverted: bool, section: int, neighbours: int) -> Layout:
    return Layout(inverted, section, neighbours, 64, 64, with_end=False)


def test_patches_are_undone_exactly() -> None:
    clip = torch.rand(1, 9, 3, 16, 24)
    assert torch.allclose(from_patches(to_patches(clip)), clip, atol=1e-6)


def test_the_code_has_unit_scale_and_the_first_frame_stands_alone(space: LatentSpace) -> None:
    clip = torch.rand(1, 5, 3, 32, 32)
    latents = space.encode(clip)
    assert latents.shape == (1, CHANNELS, 2, 4, 4)
    alone = space.encode_picture(clip[0, 0])
    assert torch.allclose(latents[0, :, :1], alone, atol=1e-5)


def test_the_preview_matrix_gives_mean_colours(space: LatentSpace) -> None:
    matrix, bias = space.rgb_preview()
    picture = torch.full((3, 16, 16), 0.7)
    picture[1] = 0.2
    latents = space.encode_picture(picture)
    colour = torch.einsum("cthw,cr->thwr", latents, matrix) + bias
    decoded = space.decode(latents.unsqueeze(0))[0, 0].mean(dim=(1, 2)) * 2 - 1
    assert torch.allclose(colour.mean(dim=(0, 1, 2)), decoded, atol=1e-4)


def test_layouts_use_the_indices_of_the_pipeline() -> None:
    inverted = _layout(inverted=True, section=2, neighbours=0)
    assert inverted.indices == inverted_indices(2, WINDOW)
    forward = _layout(inverted=False, section=2, neighbours=2)
    assert forward.indices == forward_indices(WINDOW)


def test_the_first_rendered_section_has_no_history(maker: SampleMaker) -> None:
    rng = np.random.default_rng(0)
    example = maker._example(rng, _layout(inverted=True, section=1, neighbours=0), CURRICULUM[0])
    history = torch.cat([torch.as_tensor(part) for part in example[2:5]], dim=1)
    assert history.abs().max() == 0


def test_inverted_history_is_what_follows_nearest_first(maker: SampleMaker) -> None:
    rng = np.random.default_rng(1)
    layout = _layout(inverted=True, section=0, neighbours=1)
    _, _, one, two, four, *_ = maker._example(rng, layout, CURRICULUM[0])
    filled = [float(part.abs().sum()) > 0 for part in (one, two, four[:, :6], four[:, 6:])]
    assert filled == [True, True, True, False]


def test_forward_history_begins_with_the_start_picture(maker: SampleMaker) -> None:
    rng = np.random.default_rng(2)
    layout = _layout(inverted=False, section=0, neighbours=0)
    _, start, one, two, four, *_ = maker._example(rng, layout, CURRICULUM[0])
    assert torch.equal(one, start)
    assert max(float(two.abs().max()), float(four.abs().max())) == 0


def test_a_batch_follows_from_seed_and_step(maker: SampleMaker) -> None:
    first, again = (maker.batch(0, 17, size=1, lesson=CURRICULUM[1]) for _ in range(2))
    assert first.captions == again.captions
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.history_4x, again.history_4x)


def test_lessons_follow_one_another_to_the_end() -> None:
    ends = [lesson.until for lesson in CURRICULUM]
    assert ends == sorted(ends)
    assert ends[-1] == 1.0
    assert [lesson_at(end - 1e-6) for end in ends] == list(CURRICULUM)
    assert lesson_at(ends[0]) == CURRICULUM[1]


def test_the_first_lesson_has_plain_words_small_pictures_and_no_sprites(
    maker: SampleMaker,
) -> None:
    plain = {phrases[0] for phrases in CAMERA_PHRASES.values()} | {""}
    for step in range(12):
        batch = maker.batch(0, step, size=1, lesson=CURRICULUM[0])
        layout = batch.layout
        assert set(batch.captions) <= plain
        assert (layout.height, layout.width) not in FULL_SIZES
        assert layout.section <= 1
        assert layout.neighbours <= 1
        assert not layout.with_end


def test_the_last_lesson_has_everything(maker: SampleMaker) -> None:
    batches = [maker.batch(0, step, size=1, lesson=CURRICULUM[-1]) for step in range(60)]
    layouts = [batch.layout for batch in batches]
    words = " ".join(text for batch in batches for text in batch.captions)
    assert any(layout.with_end for layout in layouts)
    assert max(layout.section for layout in layouts) >= 3
    assert {(layout.height, layout.width) for layout in layouts} >= set(FULL_SIZES)
    assert "circle" in words
    assert "camera" in words


@pytest.mark.parametrize("inverted", [True, False])
def test_history_may_move_otherwise_than_the_section(maker: SampleMaker, inverted: bool) -> None:
    layout = _layout(inverted=inverted, section=1, neighbours=1)
    picture = maker._picture(np.random.default_rng(0), layout)
    scene = _turning_scene(layout, picture, "pan left", "pan up", "the camera pans left")
    steady = _camera_scene(picture, "pan left" if inverted else "pan up", "")
    first = 1 + WINDOW * layout.section
    own, other = (0, WINDOW) if inverted else (-WINDOW, 0)
    latents = [
        maker._latents(each, first + min(own, other), 2 * WINDOW) for each in (scene, steady)
    ]
    same = [
        torch.allclose(latents[0][:, part], latents[1][:, part], atol=1e-5)
        for part in (slice(0, WINDOW), slice(WINDOW, None))
    ]
    assert same == [True, False], "the clip turns where the section meets its history"


@pytest.mark.parametrize(("turns", "expected"), [(0.0, 0), (0.5, 10), (1.0, 20)])
def test_the_lesson_says_how_often_moves_change(
    maker: SampleMaker, monkeypatch: pytest.MonkeyPatch, turns: float, expected: int
) -> None:
    asked = []

    def spy(*arguments: Any) -> Any:
        asked.append(arguments)
        return _turning_scene(*arguments)

    monkeypatch.setattr("framepack.training.tiny.samples._turning_scene", spy)
    rng, layout = np.random.default_rng(3), _layout(inverted=False, section=1, neighbours=1)
    lesson = replace(CURRICULUM[-1], sprites=0.0, turns=turns)
    for _ in range(20):
        maker._scene(rng, layout, lesson)
    assert abs(len(asked) - expected) <= 4
    assert all(motion != other for _, _, motion, other, _ in asked)


def test_a_family_differs_in_the_shape_alone(maker: SampleMaker) -> None:
    lesson = replace(CURRICULUM[-1], siblings=1.0, full_size=0.0)
    batch = maker.batch(0, 1, size=2, lesson=lesson)
    assert (batch.family, len(batch.captions), batch.layout.neighbours) == (4, 8, 0)
    for first in (0, 4):
        family = range(first, first + 4)
        said = [batch.captions[index] for index in family]
        shapes = [batch.meanings[index].get("shape") for index in family]
        plain = {text.replace(str(shape), "X") for text, shape in zip(said, shapes, strict=True)}
        assert len(plain) == 1
        assert shapes in (list(SPRITE_SHAPES), [None] * 4)
        ground = batch.latents[first : first + 4, ..., 0, 0]
        assert torch.equal(ground, ground[:1].expand_as(ground))
        assert not torch.equal(batch.latents[first], batch.latents[first + 1])


def test_errors_count_more_where_a_sprite_is(maker: SampleMaker) -> None:
    layout = _layout(inverted=False, section=0, neighbours=0)
    still = replace(CURRICULUM[-1], sprites=1.0, still=1.0)
    weights = maker._example(np.random.default_rng(0), layout, still).weights[0, 4]
    middle = tuple(side // 2 for side in weights.shape)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[middle]) == pytest.approx((1 + FOCUS) * float(weights[0, 0]))
    moves = replace(still, sprites=0.0)
    plain = maker._example(np.random.default_rng(0), layout, moves).weights
    assert torch.equal(plain, torch.ones_like(plain))
