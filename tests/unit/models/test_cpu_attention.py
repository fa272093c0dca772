"""Attention by oneDNN gives torch's numbers, and is taken where nothing else was chosen."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import attention_backend
from torch import Tensor

from framepack.models import attention as attention_module
from framepack.models import linear
from framepack.models.attention import FramePackAttention, JointAttnProcessor, use_backend
from framepack.models.cpu_attention import LEAST_TOKENS, attend_with_onednn, suits_onednn

pytestmark = pytest.mark.skipif(not linear.has_onednn(), reason="torch has no oneDNN here")


def heads(tokens: int, width: int = 16, *, seed: int = 0, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, tokens, 3, width, generator=generator)


def in_double(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    streams = (each.double().transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(*streams).transpose(1, 2)


@pytest.mark.parametrize(
    ("queries", "tokens", "width", "batch"), [(1, 7, 8, 1), (700, 700, 32, 2), (40, 513, 20, 1)]
)
@torch.inference_mode()
def test_result_is_that_of_double_precision(
    queries: int, tokens: int, width: int, batch: int
) -> None:
    query = heads(queries, width, batch=batch)
    key, value = (heads(tokens, width, seed=seed, batch=batch) for seed in (1, 2))
    exact = in_double(query, key, value)
    found = attend_with_onednn(query, key, value)
    assert found.shape == query.shape
    assert (found - exact).norm() <= 2e-6 * exact.norm()


@torch.inference_mode()
def test_bf16_is_nearer_to_the_exact_result_than_by_torch() -> None:
    streams = [heads(500, 32, seed=seed).bfloat16() for seed in range(3)]
    exact = in_double(*streams)
    found = attend_with_onednn(*streams)
    by_torch = F.scaled_dot_product_attention(*(each.transpose(1, 2) for each in streams))
    assert found.dtype == torch.bfloat16
    assert (found - exact).norm() < (by_torch.transpose(1, 2) - exact).norm()


@torch.inference_mode()
def test_large_scores_do_not_overflow() -> None:
    query, key, value = 100 * heads(5), 100 * heads(40, seed=1), heads(40, seed=2)
    exact = in_double(query, key, value)
    found = attend_with_onednn(query, key, value)
    assert (found - exact).norm() <= 1e-4 * exact.norm()


@torch.inference_mode()
def test_views_of_wider_rows_are_attended_like_any_other() -> None:
    wide = torch.randn(1, 300, 9, 16, generator=torch.Generator().manual_seed(0))
    query, key, value = wide[:, 3:50, 6:], wide[:, :, 3:6], wide[:, :, :3]
    exact = in_double(query, key, value)
    before = wide.clone()
    found = attend_with_onednn(query, key, value)
    assert (found - exact).norm() <= 2e-6 * exact.norm()
    assert torch.equal(wide, before)


@pytest.mark.parametrize(
    ("tokens", "dtype", "preferred", "expected"),
    [
        (LEAST_TOKENS, torch.float32, True, True),
        (LEAST_TOKENS - 1, torch.float32, True, False),
        (LEAST_TOKENS, torch.bfloat16, True, True),
        (LEAST_TOKENS, torch.float16, True, False),
        (LEAST_TOKENS, torch.float32, False, False),
    ],
)
def test_it_is_for_long_sequences_on_processors_that_prefer_it(
    monkeypatch: pytest.MonkeyPatch,
    tokens: int,
    dtype: torch.dtype,
    preferred: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(linear, "prefers_onednn_attention", lambda: preferred)
    streams = heads(tokens).to(dtype)
    assert suits_onednn(streams, streams) is expected


class TestWhenItIsTaken:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Who computed, in order."""
        found: list[str] = []

        def noting(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
            def attend(*args: Any, **kwargs: Any) -> Any:
                found.append(name)
                return plain(*args, **kwargs)

            return attend

        for name in ("attend_with_onednn", "dispatch_attention_fn"):
            plain = getattr(attention_module, name)
            monkeypatch.setattr(attention_module, name, noting(name, plain))
        monkeypatch.setattr(linear, "prefers_onednn_attention", lambda: True)
        return found

    def attend(self, attn: FramePackAttention, mask: Tensor | None = None) -> Tensor:
        streams = heads(LEAST_TOKENS)
        with torch.inference_mode():
            found: Tensor = attn.processor.attend(streams, streams, streams, mask)
        return found

    def test_by_itself_where_nothing_was_chosen(self, calls: list[str]) -> None:
        attn = FramePackAttention(48, 3, 16)
        own = self.attend(attn)
        use_backend(attn, "sdpa")
        torch.testing.assert_close(own, self.attend(attn), rtol=1e-5, atol=1e-6)
        use_backend(attn, "onednn")
        assert torch.equal(own, self.attend(attn))
        assert calls == ["attend_with_onednn", "dispatch_attention_fn", "attend_with_onednn"]

    def test_not_beside_what_only_others_know(self, calls: list[str]) -> None:
        attn = FramePackAttention(48, 3, 16)
        self.attend(attn, torch.ones(1, 1, 1, LEAST_TOKENS, dtype=torch.bool))
        with attention_backend("_native_math"):
            self.attend(attn)
        with torch.autocast("cpu", torch.bfloat16):
            self.attend(attn)
        attn.set_attention_backend("_native_math")
        self.attend(attn)
        with torch.enable_grad():
            streams = heads(LEAST_TOKENS).requires_grad_()
            attn.processor.attend(streams, streams, streams, None).sum().backward()
        assert calls == ["dispatch_attention_fn"] * 5

    def test_by_name_where_the_machine_would_not_take_it(
        self, calls: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linear, "prefers_onednn_attention", lambda: False)
        attn = FramePackAttention(48, 3, 16)
        self.attend(attn)
        use_backend(attn, "onednn")
        self.attend(attn)
        assert calls == ["dispatch_attention_fn", "attend_with_onednn"]

    def test_not_for_few_tokens_by_name_either(self, calls: list[str]) -> None:
        attn = FramePackAttention(48, 3, 16)
        use_backend(attn, "onednn")
        few = heads(LEAST_TOKENS - 1)
        with torch.inference_mode():
            attn.processor.attend(few, few, few, None)
        assert calls == ["dispatch_attention_fn"]


def test_a_back_end_reaches_joint_attention_and_leaves_the_refiner_alone() -> None:
    from tests.helpers.networks import build

    model = build()
    use_backend(model, "cudnn")
    attentions = {n: m for n, m in model.named_modules() if isinstance(m, FramePackAttention)}
    for name, attn in attentions.items():
        is_joint = isinstance(attn.processor, JointAttnProcessor)
        assert is_joint is not name.startswith("context_embedder")
        expected = "_native_cudnn" if is_joint else None
        assert attn.processor._attention_backend == expected
