"""Phases of packed tokens and timestep features, worked out by hand."""

import torch
from torch import Tensor

from framepack.models.attention import rotate
from framepack.models.embeddings import PackedRotaryEmbedding, TokenGrid, timestep_features

CPU = torch.device("cpu")


def phases(*grids: TokenGrid, text_length: int = 0) -> Tensor:
    """Phases of a head of width 6: one channel pair per axis, each of frequency 1."""
    rope = PackedRotaryEmbedding((2, 2, 2), theta=256.0)
    return torch.cat(rope(grids, text_length, CPU), dim=1)


def grid(frames: list[int], height: int, width: int, pool: int = 1) -> TokenGrid:
    return TokenGrid(torch.tensor(frames), height, width, (pool, pool, pool))


def turns(*angles: float) -> Tensor:
    """[len, 2] cosines and sines."""
    radians = torch.tensor(angles)
    return torch.stack([radians.cos(), radians.sin()], dim=-1)


class TestPhases:
    def test_full_rate_tokens_turn_by_frame_row_and_column(self) -> None:
        found = phases(grid([5], height=2, width=2))
        expected = [turns(5, 0, 0), turns(5, 0, 1), turns(5, 1, 0), turns(5, 1, 1)]
        torch.testing.assert_close(found[0], torch.stack(expected))

    def test_frequencies_fall_from_one_by_the_powers_of_theta(self) -> None:
        rope = PackedRotaryEmbedding((4, 2, 2), theta=256.0)
        image, _ = rope([grid([3], 1, 1)], 0, CPU)
        torch.testing.assert_close(image[0, 0], turns(3.0, 3.0 / 16.0, 0.0, 0.0))

    def test_coarse_tokens_average_cosine_and_sine(self) -> None:
        found = phases(grid([10, 11], height=2, width=4, pool=2))
        time = (turns(10) + turns(11)) / 2
        rows = (turns(0) + turns(1)) / 2
        columns = [(turns(0) + turns(1)) / 2, (turns(2) + turns(3)) / 2]
        expected = [torch.cat([time, rows, column]) for column in columns]
        torch.testing.assert_close(found[0], torch.stack(expected))

    def test_incomplete_patches_repeat_the_last_position(self) -> None:
        found = phases(grid([7], height=3, width=1, pool=2))
        rows = [(turns(0) + turns(1)) / 2, turns(2)]
        expected = [torch.cat([turns(7), row, turns(0)]) for row in rows]
        torch.testing.assert_close(found[0], torch.stack(expected))

    def test_text_is_not_turned(self) -> None:
        found = phases(grid([1], 1, 1), text_length=2)
        torch.testing.assert_close(found[0, 1:], turns(0, 0, 0).expand(2, 3, 2))

    def test_samples_with_equal_indices_share_one_table(self) -> None:
        same = phases(TokenGrid(torch.tensor([[1, 2], [1, 2]]), 1, 1, (1, 1, 1)))
        different = phases(TokenGrid(torch.tensor([[1, 2], [3, 4]]), 1, 1, (1, 1, 1)))
        assert same.shape[0] == 1
        torch.testing.assert_close(different[1], phases(grid([3, 4], 1, 1))[0])

    def test_table_is_kept_until_the_section_changes(self) -> None:
        rope = PackedRotaryEmbedding((2, 2, 2), theta=256.0)
        first, _ = rope([grid([1], 2, 2)], 3, CPU)
        again, _ = rope([grid([1], 2, 2)], 3, CPU)
        other, _ = rope([grid([2], 2, 2)], 3, CPU)
        assert again is first
        assert not torch.equal(other, first)

    def test_rotation_turns_neighbouring_channels(self) -> None:
        tokens = torch.tensor([1.0, 0.0, 0.0, 2.0]).reshape(1, 1, 1, 4)
        quarter = turns(torch.pi / 2, torch.pi / 2).reshape(1, 1, 2, 2)
        expected = torch.tensor([0.0, 1.0, -2.0, 0.0]).reshape(1, 1, 1, 4)
        torch.testing.assert_close(rotate(tokens, quarter), expected)

    def test_compiled_rotation_is_the_same(self) -> None:
        tokens, table = torch.randn(2, 5, 3, 8), torch.randn(1, 5, 4, 2)
        compiled = torch.compile(rotate, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(tokens, table), rotate(tokens, table))


def test_timestep_features_by_hand() -> None:
    found = timestep_features(torch.tensor([2.0]), width=4)
    angles = torch.tensor([2.0, 0.02])
    torch.testing.assert_close(found[0], torch.cat([angles.cos(), angles.sin()]))
