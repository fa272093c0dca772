"""A composed tensor is taken apart and put together again without a change."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from framepack.models.tensor_parts import (
    as_parameter,
    is_composed,
    num_bytes,
    parts_of,
    with_dtype,
    with_parts,
)


class Scaled(Tensor):
    """Whole numbers and a scale for each row, as quantised weights are kept."""

    @staticmethod
    def __new__(cls, numbers: Tensor, scale: Tensor, dtype: torch.dtype) -> "Scaled":
        made: Scaled = Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=dtype)
        return made

    def __init__(self, numbers: Tensor, scale: Tensor, dtype: torch.dtype) -> None:
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self) -> tuple[list[str], dict[str, Any]]:
        return ["numbers", "scale"], {"dtype": self.dtype}

    @classmethod
    def __tensor_unflatten__(
        cls, parts: dict[str, Tensor], context: dict[str, Any], size: Any, stride: Any
    ) -> "Scaled":
        return cls(parts["numbers"], parts["scale"], context["dtype"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any, kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].numbers, args[0].scale, args[0].dtype)
        return NotImplemented


@pytest.fixture
def scaled() -> Scaled:
    return Scaled(torch.ones(3, 4, dtype=torch.int8), torch.full((3, 1), 2.0), torch.bfloat16)


def test_a_plain_tensor_consists_of_itself() -> None:
    plain = torch.ones(2)
    assert not is_composed(plain)
    assert parts_of(plain) == [plain]
    other = torch.zeros(2)
    assert with_parts(plain, [other]) is other
    assert num_bytes([plain]) == 8


def test_a_composed_tensor_is_counted_by_its_parts(scaled: Scaled) -> None:
    assert is_composed(scaled)
    assert num_bytes([scaled]) == 12 + 3 * 4


def test_it_is_made_of_other_parts(scaled: Scaled) -> None:
    numbers, scale = (part * 3 for part in parts_of(scaled))
    made = with_parts(scaled, [numbers, scale])
    assert isinstance(made, Scaled)
    assert made.numbers is numbers
    assert made.scale is scale
    assert made.dtype == torch.bfloat16
    assert scaled.scale[0] == 2


def test_its_number_format_changes_without_its_parts(scaled: Scaled) -> None:
    made = with_dtype(scaled, torch.float32)
    assert made.dtype == torch.float32
    assert parts_of(made)[1] is scaled.scale
    assert with_dtype(scaled, torch.bfloat16) is scaled


def test_a_kind_without_a_number_format_is_refused(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scaled, "__tensor_flatten__", lambda _: (["numbers", "scale"], None))
    with pytest.raises(TypeError, match="a Scaled has no number format"):
        with_dtype(scaled, torch.float32)


def test_it_becomes_a_parameter_of_its_own_kind(scaled: Scaled) -> None:
    with torch.inference_mode():
        parameter = as_parameter(scaled)
    assert isinstance(parameter, nn.Parameter)
    assert isinstance(parameter, Scaled)
    assert not parameter.requires_grad
    assert not parameter.is_inference()
