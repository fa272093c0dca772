import pytest
import torch

from framepack.domain.errors import HistoryTooShort
from framepack.domain.packing import forward_indices, inverted_indices
from framepack.pipeline.history import LatentHistory, frames_to_keep

FRAME = torch.zeros(1, 2, 1, 1, 1)


def _numbered(first: int, count: int) -> torch.Tensor:
    """Latents whose values are their places in the video."""
    return torch.arange(first, first + count).float().view(1, 1, -1, 1, 1).expand(1, 2, -1, 1, 1)


def _places(latents: torch.Tensor) -> list[int]:
    return latents[0, 0, :, 0, 0].int().tolist()


def test_inverted_history_puts_new_frames_in_front() -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=True)
    history = history.add(_numbered(10, 9)).add(_numbered(1, 9))
    window = history.window(inverted_indices(0, 9))
    assert _places(window.clean_1x) == [1]
    assert _places(window.history_2x) == [2, 3]
    assert _places(window.history_4x) == [*range(4, 19), 0]


def test_forward_history_puts_new_frames_behind() -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=False)
    history = history.add(_numbered(1, 9)).add(_numbered(10, 9))
    window = history.window(forward_indices(9))
    assert _places(window.history_4x) == [0, *range(1, 16)]
    assert _places(window.history_2x) == [16, 17]
    assert _places(window.clean_1x) == [18]


@pytest.mark.parametrize("backward", [True, False])
def test_absent_history_is_zeros(backward: bool) -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=backward)
    window = history.window(inverted_indices(0, 9) if backward else forward_indices(9))
    assert (window.clean_1x.shape[2], window.history_2x.shape[2], window.history_4x.shape[2]) == (
        1,
        2,
        16,
    )
    assert not any(tier.any() for tier in (window.clean_1x, window.history_2x, window.history_4x))


def test_end_picture_stands_in_the_nearest_slot_and_is_not_remembered() -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=True)
    end = torch.full_like(FRAME, 7.0)
    window = history.window(inverted_indices(3, 9), end_latent=end)
    assert _places(window.clean_1x) == [7]
    assert not window.history_2x.any()
    assert 7 not in _places(history.add(_numbered(10, 9)).latents)


@pytest.mark.parametrize("window", [1, 4, 9, 20, 33])
def test_history_keeps_context_and_two_sections(window: int) -> None:
    kept = frames_to_keep(forward_indices(window), window)
    assert kept == max(19, 2 * window)


def test_history_never_grows() -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=True)
    for _ in range(5):
        history = history.add(_numbered(1, 9))
        assert history.latents.shape[2] == 19
        assert history.latents.untyped_storage().nbytes() == 19 * 2 * 4


def test_adding_does_not_change_the_old_history() -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=False)
    history.add(_numbered(1, 9))
    assert not history.latents.any()


def test_asking_for_forgotten_frames_is_an_error() -> None:
    history = LatentHistory.empty(FRAME, num_frames=19, grows_backward=True)
    with pytest.raises(HistoryTooShort, match="holds 19 latent frames, 20 were asked"):
        history.newest(20)


def test_a_section_as_long_as_the_history_is_an_error() -> None:
    history = LatentHistory.empty(FRAME, num_frames=9, grows_backward=True)
    with pytest.raises(HistoryTooShort, match="would push all of them out"):
        history.add(_numbered(1, 9))
