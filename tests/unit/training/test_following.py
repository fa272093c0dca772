"""Claims about the check on words: a model that follows scores 1, a deaf one by chance."""

from typing import Any

import pytest
import torch
from torch import Tensor

from framepack.training.tiny.captions import CAMERA_PHRASES
from framepack.training.tiny.data import PictureBank
from framepack.training.tiny.following import (
    Following,
    measure_following,
    measure_sprites,
)
from framepack.training.tiny.latent_space import fit_latent_space
from framepack.training.tiny.samples import Layout, SampleMaker

LAYOUT = Layout(inverted=False, section=0, neighbours=0, height=48, width=48, with_end=False)
MOTIONS = list(CAMERA_PHRASES)


@pytest.fixture(scope="module")
def samples() -> SampleMaker:
    bank = PictureBank(5, 6)
    space = fit_latent_space(bank, 8, seed=0, num_clips=12)
    return SampleMaker(bank, space, torch.device("cpu"))


class _Oracle:
    """Stands for encoders and transformer: knows the clips, hears what ``hears`` makes of them."""

    def __init__(self, samples: SampleMaker, monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
        self.deaf = deaf
        self.latents = torch.empty(0)
        original = samples.camera_moves

        def remember(*args: Any) -> Any:
            batch = original(*args)
            self.latents = batch.latents
            return batch

        monkeypatch.setattr(samples, "camera_moves", remember)

    def encode(self, captions: list[str], vision: Tensor, vision_end: None) -> dict[str, Any]:
        plain = [CAMERA_PHRASES[motion][0] for motion in MOTIONS]
        return {"heard": [plain.index(caption) for caption in captions]}

    def transformer(self, *, hidden_states: Tensor, heard: list[int], **_: Any) -> tuple[Tensor]:
        chosen = torch.full((9,), MOTIONS.index("static")) if self.deaf else torch.tensor(heard)
        return (hidden_states - self.latents[chosen],)


def _measure(samples: SampleMaker, monkeypatch: pytest.MonkeyPatch, *, deaf: bool) -> Following:
    oracle = _Oracle(samples, monkeypatch, deaf)
    encoders: Any = oracle.encode
    transformer: Any = oracle.transformer
    return measure_following(transformer, encoders, samples, LAYOUT, seed=0, num_pictures=2)


def test_who_follows_every_word_scores_one(
    samples: SampleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = _measure(samples, monkeypatch, deaf=False)
    assert measured.followed == 1.0
    assert measured.error < 1e-6


def test_who_hears_nothing_gets_one_motion_right(
    samples: SampleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = _measure(samples, monkeypatch, deaf=True)
    assert measured.followed == pytest.approx(1 / 9)
    assert measured.by_value["static"] == 1.0
    assert measured.error > 0.01


class _Painter:
    """Paints the sprites it was shown last, or always the first of them."""

    def __init__(self, samples: SampleMaker, monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
        self.deaf = deaf
        self.latents = torch.empty(0)
        original = samples.sprites

        def remember(*args: Any) -> Any:
            batch = original(*args)
            self.latents = batch.latents
            assert not (batch.start - batch.start[:1]).any(), "the start shows the sprite"
            return batch

        monkeypatch.setattr(samples, "sprites", remember)

    def transformer(self, *, hidden_states: Tensor, **_: Any) -> tuple[Tensor]:
        painted = self.latents[:1].expand_as(self.latents) if self.deaf else self.latents
        return (hidden_states - painted,)


@pytest.mark.parametrize(("deaf", "shares"), [(False, (1, 1, 1)), (True, (1 / 4, 1 / 6, 1 / 5))])
def test_sprites_are_counted_by_shape_colour_and_motion(
    samples: SampleMaker,
    monkeypatch: pytest.MonkeyPatch,
    deaf: bool,
    shares: tuple[float, float, float],
) -> None:
    painter: Any = _Painter(samples, monkeypatch, deaf)
    silent: Any = lambda captions, vision, vision_end: {}  # noqa: E731
    found = measure_sprites(painter.transformer, silent, samples, LAYOUT, seed=0, num_sprites=2)
    words = ("shape", "colour", "motion")
    assert tuple(found[word].followed for word in words) == pytest.approx(shares)
