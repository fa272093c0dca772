"""Claims about training attention: plain products give what the fused kernel gives."""

import pytest
from tests.helpers.networks import SMALL, build, predict, relative_error, section_inputs

from framepack.domain.packing import inverted_indices
from framepack.training.attention import use_matmul_attention


@pytest.mark.parametrize("prompt_lengths", [(23,), (23, 9)])
def test_plain_products_agree_with_the_fused_kernel(prompt_lengths: tuple[int, ...]) -> None:
    model = build(**SMALL)
    inputs = section_inputs(inverted_indices(1, 9), prompt_lengths=prompt_lengths)
    expected = predict(model, inputs)
    use_matmul_attention(model)
    assert relative_error(predict(model, inputs), expected) < 1e-5
