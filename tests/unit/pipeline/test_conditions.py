import pytest
import torch

from framepack.models.encoders import PromptEmbeds
from framepack.pipeline.conditions import Conditions, mix_vision, seeded_generator, weaken


def _latent() -> torch.Tensor:
    return torch.randn(1, 4, 1, 2, 2, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("strength", [1.0, 1.5, 2.0])
def test_full_strength_leaves_the_latent_bit_equal(strength: float) -> None:
    assert torch.equal(weaken(_latent(), strength, seeded_generator(1, "x")), _latent())


def test_less_strength_moves_away_from_the_picture() -> None:
    distances = [
        float((weaken(_latent(), strength, seeded_generator(1, "x")) - _latent()).norm())
        for strength in (1.0, 0.75, 0.5, 0.25, 0.0)
    ]
    assert distances == sorted(distances)
    assert len(set(distances)) == 5


def test_strength_zero_is_noise_alone() -> None:
    noise = torch.randn(_latent().shape, generator=seeded_generator(1, "x"))
    assert torch.equal(weaken(_latent(), 0.0, seeded_generator(1, "x")), noise)


def _mix(start: float, end: float, vision: float = 1.0) -> torch.Tensor:
    return mix_vision(
        torch.full((1, 2, 3), 2.0),
        torch.full((1, 2, 3), 4.0),
        start_strength=start,
        end_strength=end,
        vision_strength=vision,
    )


@pytest.mark.parametrize(
    ("start", "end", "vision", "expected"),
    [
        (1, 1, 1, 3.0),
        (2, 2, 1, 3.0),
        (1, 0, 1, 2.0),
        (0, 1, 1, 4.0),
        (0.5, 1.5, 1, 3.5),
        (0, 0, 1, 3.0),
        (1, 1, 0, 0.0),
        (1, 1, 2, 6.0),
    ],
)
def test_vision_is_the_weighted_mean(
    start: float, end: float, vision: float, expected: float
) -> None:
    assert torch.equal(_mix(start, end, vision), torch.full((1, 2, 3), expected))


def test_vision_of_one_picture_ignores_its_strength() -> None:
    start = torch.randn(1, 2, 3)
    mixed = mix_vision(start, None, start_strength=0.0, end_strength=2.0, vision_strength=1.0)
    assert torch.equal(mixed, start)


def test_each_purpose_has_its_own_noise() -> None:
    draws = [torch.randn(3, generator=seeded_generator(7, name)) for name in ("a", "b", "a")]
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], torch.randn(3, generator=seeded_generator(8, "a")))


def _embeds(seed: int) -> PromptEmbeds:
    generator = torch.Generator().manual_seed(seed)
    return PromptEmbeds(
        prompt_embeds=torch.randn(1, 4, 3, generator=generator).half(),
        prompt_mask=torch.tensor([[True, True, False, False]]),
        pooled=torch.randn(1, 2, generator=generator).bfloat16(),
    )


@pytest.mark.parametrize("full", [True, False])
def test_conditions_survive_storing(full: bool) -> None:
    conditions = Conditions(
        prompts={"a": _embeds(1), "": _embeds(2)} if full else {"only": _embeds(1)},
        negative=_embeds(3) if full else None,
        start_latent=_latent(),
        start_anchor=_latent() * 2,
        end_anchor=_latent() * 3 if full else None,
        image_embeds=torch.randn(1, 2, 3),
    )
    again = Conditions.from_tensors(*conditions.to_tensors())
    assert list(again.prompts) == list(conditions.prompts)
    for name in ("start_latent", "start_anchor", "image_embeds"):
        assert torch.equal(getattr(again, name), getattr(conditions, name)), name
    if not full:
        assert again.negative is None
        assert again.end_anchor is None
        return
    assert again.negative is not None
    assert again.end_anchor is not None
    assert conditions.end_anchor is not None
    assert torch.equal(again.end_anchor, conditions.end_anchor)
    stored = [*again.prompts.values(), again.negative]
    for embeds, seed in zip(stored, (1, 2, 3), strict=True):
        for name in ("prompt_embeds", "prompt_mask", "pooled"):
            assert torch.equal(getattr(embeds, name), getattr(_embeds(seed), name)), name
