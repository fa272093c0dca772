"""Linear layers give the same numbers whichever library multiplies."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.models import linear as module
from framepack.models.linear import linear

Change = Callable[[Tensor], Tensor]


@pytest.fixture(params=["MKL", "oneDNN"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "oneDNN" and not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(module, "prefers_onednn", lambda: request.param == "oneDNN")
    return str(request.param)


@pytest.mark.parametrize("rows", [1, 7, 230])
@torch.inference_mode()
def test_product_is_that_of_double_precision(library: str, rows: int) -> None:
    x, weight, bias = torch.randn(rows, 48), torch.randn(80, 48), torch.randn(80)
    exact = F.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(linear(x, weight, bias).double(), exact, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_slices_are_products_like_any_other(library: str) -> None:
    """Slices of packed weights do not start where libraries like their memory to start."""
    x, weight, bias = torch.randn(30, 48), torch.randn(83, 48), torch.randn(83)
    found = linear(x[3:11], weight[5:70], bias[5:70])
    assert found.is_contiguous()
    torch.testing.assert_close(found, (x @ weight.T + bias)[3:11, 5:70], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("maker", "expected"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_onednn_is_for_processors_that_mkl_holds_back_on(
    monkeypatch: pytest.MonkeyPatch, maker: str, expected: bool
) -> None:
    monkeypatch.setattr(module, "_maker", lambda: maker)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    module.prefers_onednn.cache_clear()
    assert module.prefers_onednn() is expected
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    module.prefers_onednn.cache_clear()
    assert not module.prefers_onednn()
    module.prefers_onednn.cache_clear()


@pytest.mark.parametrize(("family", "expected"), [("25", False), ("26", True), ("", False)])
def test_onednn_attention_is_for_processors_with_wide_units(
    monkeypatch: pytest.MonkeyPatch, family: str, expected: bool
) -> None:
    monkeypatch.setattr(module, "prefers_onednn", lambda: True)
    monkeypatch.setattr(module, "_told", lambda name: family)
    module.prefers_onednn_attention.cache_clear()
    assert module.prefers_onednn_attention() is expected
    module.prefers_onednn_attention.cache_clear()
