"""The packed context against figures worked out by hand."""

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.packing import (
    RELEASED,
    FrameIndices,
    PackingLayout,
    Tier,
    forward_indices,
    inverted_indices,
)


def test_released_layout_is_one_two_sixteen_nearest_first() -> None:
    assert RELEASED.tiers == (
        Tier("1x", 1, (1, 2, 2)),
        Tier("2x", 2, (2, 4, 4)),
        Tier("4x", 16, (4, 8, 8)),
    )


def test_released_history_is_nineteen_latent_frames() -> None:
    assert RELEASED.history_frames == 19


def test_both_time_orders_of_the_notation_give_the_same_layout() -> None:
    assert PackingLayout.parse("f1k1f2k2f16k4") == PackingLayout.parse("f16k4f2k2f1k1") == RELEASED


@pytest.mark.parametrize("notation", ["f16k4f2k2f1k1", "f64k8f16k4f4k2f1k1", "f2k1", "f512k16f1k1"])
def test_notation_survives_a_round_trip(notation: str) -> None:
    assert PackingLayout.parse(notation).notation == notation


def test_far_kernels_follow_the_paper() -> None:
    layout = PackingLayout.parse("f256k16f64k8f1k1")
    assert [tier.kernel for tier in layout.tiers] == [(1, 2, 2), (8, 16, 16), (16, 32, 32)]


@pytest.mark.parametrize(
    "notation", ["", "f16", "k4f16", "f16k4_f2k2", "f2k2f2k2", "f1k1f16k4f2k2", "f0k1", "f1k0"]
)
def test_a_bad_notation_is_refused(notation: str) -> None:
    with pytest.raises(InvalidRequest, match=r"f16k4f2k2f1k1|at least 1"):
        PackingLayout.parse(notation)


def test_a_layout_without_tiers_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no tier"):
        PackingLayout(())


def test_tokens_at_480_by_832() -> None:
    # 30 x 52 patches of a latent frame: 9 noisy, 2 clean; 2/2 x 15 x 26; 16/4 x ceil(60/8) x 13.
    assert RELEASED.tokens(60, 104, 9) == {"noisy": 14040, "clean": 3120, "2x": 390, "4x": 416}


def test_tokens_of_an_odd_latent_drop_at_full_rate_and_round_up_beyond() -> None:
    # 5 x 7: 2 x 3 patches at 1x; ceil(5/4) x ceil(7/4) = 4 at 2x; 4 x ceil(5/8) x ceil(7/8) at 4x.
    assert RELEASED.tokens(5, 7, 9) == {"noisy": 54, "clean": 12, "2x": 4, "4x": 4}


def test_tokens_of_frames_that_do_not_fill_a_kernel_round_up() -> None:
    # 3 frames under a kernel of 2 are 2 patches in time, of 1 x 1 in space.
    assert PackingLayout.parse("f3k2f1k1").tokens(4, 4, 1)["2x"] == 2


def test_tokens_of_a_layout_without_full_rate_history_keep_the_start_picture() -> None:
    assert PackingLayout.parse("f2k2").tokens(4, 4, 1) == {"noisy": 4, "clean": 4, "2x": 1}


def test_inverted_indices_without_padding() -> None:
    assert inverted_indices(0, 9) == FrameIndices(
        start=(0,),
        noisy=(1, 2, 3, 4, 5, 6, 7, 8, 9),
        history={
            "1x": (10,),
            "2x": (11, 12),
            "4x": (13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28),
        },
    )


def test_inverted_padding_moves_everything_but_the_start() -> None:
    indices = inverted_indices(3, 9)
    assert indices.start == (0,)
    assert indices.noisy == tuple(range(28, 37))
    assert indices.clean_1x == (37,)
    assert indices.history_2x == (38, 39)
    assert indices.history_4x == tuple(range(40, 56))


def test_forward_indices_put_the_oldest_history_first() -> None:
    assert forward_indices(9) == FrameIndices(
        start=(0,),
        noisy=(20, 21, 22, 23, 24, 25, 26, 27, 28),
        history={
            "1x": (19,),
            "2x": (17, 18),
            "4x": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        },
    )


@pytest.mark.parametrize(
    ("indices", "clean"), [(inverted_indices(1, 2), 5), (forward_indices(2), 19)]
)
def test_clean_is_the_start_then_the_nearest_history(indices: FrameIndices, clean: int) -> None:
    assert indices.clean == (0, clean)


def test_indices_of_another_kernel_structure() -> None:
    layout = PackingLayout.parse("f3k8f2k1")
    inverted, forward = inverted_indices(1, 2, layout), forward_indices(2, layout)
    assert inverted == FrameIndices((0,), (3, 4), {"1x": (5, 6), "8x": (7, 8, 9)})
    assert forward == FrameIndices((0,), (6, 7), {"1x": (4, 5), "8x": (1, 2, 3)})
    assert inverted.history_2x == inverted.history_4x == ()
    assert list(forward.history) == ["1x", "8x"]
