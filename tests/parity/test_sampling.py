"""Noise levels, solver and guidance against numbers made by the official implementation."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from framepack.sampling.flow import apply_guidance, calculate_shift_mu, sigmas
from framepack.sampling.solvers import sample

OFFICIAL = json.loads((Path(__file__).parent / "golden" / "official.json").read_text())

LATENT_STRIDE = 8


def case_id(case: dict[str, Any]) -> str:
    return "-".join(str(value) for value in case.values() if not isinstance(value, list))


@pytest.mark.parametrize("case", OFFICIAL["sigmas"], ids=case_id)
def test_sigmas_equal_the_official_ones(case: dict[str, Any]) -> None:
    shape = (
        case["latent_frames"],
        case["height"] // LATENT_STRIDE,
        case["width"] // LATENT_STRIDE,
    )
    found = sigmas(case["steps"], latent_shape=shape, shift=case["shift"])
    torch.testing.assert_close(found, torch.tensor(case["sigmas"]), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "case", [case for case in OFFICIAL["sigmas"] if case["shift"] is None], ids=case_id
)
def test_dynamic_shift_equals_the_official_one(case: dict[str, Any]) -> None:
    assert math.isclose(calculate_shift_mu(case["tokens"]), case["mu"], rel_tol=1e-12)


@pytest.mark.parametrize("case", OFFICIAL["unipc"]["cases"], ids=case_id)
def test_unipc_follows_the_official_trajectory(case: dict[str, Any]) -> None:
    shape = (2, 3, 2, 2, 2)
    bias = torch.tensor(case["b"]).reshape(shape)
    noise = torch.tensor(case["noise"]).reshape(shape)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(0.7 * x * (1 - sigma) + bias) * (1 - 0.3 * sigma) + 0.1 * x

    states = list(sample(denoise, noise, torch.tensor(case["sigmas"]), "unipc"))

    assert len(states) == case["steps"]
    for state, expected in zip(states, case["denoised_first4"], strict=True):
        found = state.x0.flatten()[:4]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)
    result = torch.tensor(case["result"]).reshape(shape)
    torch.testing.assert_close(states[-1].x0, result, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", OFFICIAL["guidance"]["cases"], ids=case_id)
def test_guidance_equals_the_official_one(case: dict[str, Any]) -> None:
    shape = OFFICIAL["guidance"]["shape"]
    positive = torch.tensor(OFFICIAL["guidance"]["positive"]).reshape(shape)
    negative = torch.tensor(OFFICIAL["guidance"]["negative"]).reshape(shape)
    found = apply_guidance(positive, negative, case["cfg"], case["rescale"])
    expected = torch.tensor(case["result"]).reshape(shape)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
