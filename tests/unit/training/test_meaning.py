"""Claims about the reader that keeps words of different meanings apart."""

import numpy as np
import pytest
import torch
from torch import Tensor

from framepack.training.tiny.captions import CAMERA_PHRASES, corpus
from framepack.training.tiny.components import TEXT_WIDTH, build_tokenizers
from framepack.training.tiny.curriculum import CURRICULUM
from framepack.training.tiny.data import PictureBank
from framepack.training.tiny.latent_space import fit_latent_space
from framepack.training.tiny.meaning import ATTRIBUTES, MeaningReader
from framepack.training.tiny.samples import SampleMaker
from framepack.training.tiny.train_transformer import Conditioner


def _conditions(size: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "pooled_projections": torch.randn(size, TEXT_WIDTH, generator=generator),
        "encoder_hidden_states": torch.randn(size, 5, TEXT_WIDTH, generator=generator),
        "encoder_attention_mask": torch.ones(size, 5, dtype=torch.bool),
    }


def test_captions_that_say_nothing_cost_nothing() -> None:
    loss, read = MeaningReader()(_conditions(3), [{}, {}, {}])
    assert loss.item() == 0
    assert read == 0


def test_only_what_a_caption_says_counts() -> None:
    reader = MeaningReader()
    conditions = _conditions(2)
    alone, _ = reader(conditions, [{"camera": "zoom in"}, {}])
    with torch.no_grad():
        for parameter in reader.heads["shape"].parameters():
            parameter.add_(1.0)
    again, _ = reader(conditions, [{"camera": "zoom in"}, {}])
    assert alone.item() == again.item() > 0


def test_padding_is_not_read() -> None:
    reader, conditions = MeaningReader(), _conditions(1)
    conditions["encoder_attention_mask"][:, 3:] = False
    before, _ = reader(conditions, [{"colour": "red"}])
    conditions["encoder_hidden_states"][:, 3:] = 100.0
    after, _ = reader(conditions, [{"colour": "red"}])
    assert before.item() == after.item()


def test_opposite_words_are_told_apart_after_a_few_steps() -> None:
    torch.manual_seed(0)
    conditioner, reader = Conditioner(build_tokenizers(corpus())), MeaningReader()
    motions = list(CAMERA_PHRASES)
    captions = [CAMERA_PHRASES[motion][0] for motion in motions]
    meanings = [{"camera": motion} for motion in motions]
    vision = torch.zeros(len(motions), 3, 64, 64)
    parameters = [*conditioner.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for _ in range(30):
        loss, read = reader(conditioner(captions, vision, None), meanings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert read == 1.0


@pytest.fixture(scope="module")
def samples() -> SampleMaker:
    bank = PictureBank(5, 6)
    return SampleMaker(bank, fit_latent_space(bank, 8, seed=0, num_clips=12), torch.device("cpu"))


def test_meanings_are_what_the_captions_say(samples: SampleMaker) -> None:
    seen: set[str] = set()
    for step in range(40):
        batch = samples.batch(1, step, size=1, lesson=CURRICULUM[-1])
        for caption, meaning in zip(batch.captions, batch.meanings, strict=True):
            seen |= set(meaning)
            assert all(value in ATTRIBUTES[name] for name, value in meaning.items())
            if not caption:
                assert not meaning
            if "camera" in meaning:
                assert any(phrase in caption for phrase in CAMERA_PHRASES[meaning["camera"]])
            for name in {"shape", "colour", "background"} & set(meaning):
                assert meaning[name] in caption
    assert seen == set(ATTRIBUTES)


def test_a_dropped_caption_means_nothing(samples: SampleMaker) -> None:
    rng = np.random.default_rng(0)
    lesson, layout = CURRICULUM[0], samples.batch(0, 0, size=1, lesson=CURRICULUM[0]).layout
    examples = [samples._example(rng, layout, lesson) for _ in range(40)]
    dropped = [example for example in examples if not example.caption]
    assert dropped
    assert not any(example.meaning for example in dropped)
