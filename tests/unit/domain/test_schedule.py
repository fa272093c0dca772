"""Section counts, gaps and frames against the official schedule and by hand."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from framepack.domain.schedule import (
    generated_frames,
    nearest_sections,
    official_sections,
    overlap_frames,
    paddings,
    section_frames,
    sections_for,
)

GOLDEN = Path(__file__).parents[2] / "parity" / "golden" / "official.json"


def test_golden_section_counts_and_paddings() -> None:
    cases = json.loads(GOLDEN.read_text())["schedule"]
    assert len(cases) > 30
    for case in cases:
        count = official_sections(case["seconds"], 30, case["window"])
        assert (count, paddings(count)) == (case["sections"], case["paddings"])


@pytest.mark.parametrize(
    ("count", "gaps"), [(1, [0]), (4, [3, 2, 1, 0]), (5, [3, 2, 2, 1, 0]), (6, [3, 2, 2, 2, 1, 0])]
)
def test_far_sections_share_a_gap(count: int, gaps: list[int]) -> None:
    assert paddings(count) == gaps


@pytest.mark.parametrize(
    ("count", "has_start", "frames"),
    [(1, True, 37), (50, True, 1801), (1, False, 33), (3, False, 105)],
)
def test_generated_frames_of_window_nine(count: int, has_start: bool, frames: int) -> None:
    assert generated_frames(count, 9, has_start=has_start) == frames


@pytest.mark.parametrize("has_start", [True, False])
@pytest.mark.parametrize("window", [1, 4, 9])
def test_sections_for_is_the_smallest_count_that_suffices(window: int, has_start: bool) -> None:
    for frames in range(1, 200):
        count = sections_for(frames, window, has_start=has_start)
        assert generated_frames(count, window, has_start=has_start) >= frames
        assert count == 1 or generated_frames(count - 1, window, has_start=has_start) < frames


@pytest.mark.parametrize(
    ("frames", "count"), [(1, 1), (37, 1), (54, 1), (55, 2), (56, 2), (120, 3), (127, 4)]
)
def test_nearest_sections_prefers_the_longer_of_two(frames: int, count: int) -> None:
    # 37, 73, 109 and 145 frames; 55 and 127 lie half-way.
    assert nearest_sections(frames, 9, has_start=True) == count


@pytest.mark.parametrize("has_start", [True, False])
@pytest.mark.parametrize("frames", [1, 20, 33, 37, 38, 100, 1800])
def test_sections_share_out_all_frames_without_gap(frames: int, has_start: bool) -> None:
    count = sections_for(frames, 9, has_start=has_start)
    ranges = [section_frames(i, 9, frames, has_start=has_start) for i in range(count)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == frames
    assert all(left[1] == right[0] for left, right in pairwise(ranges))
    assert all(start < end for start, end in ranges)


def test_the_start_picture_belongs_to_the_first_section() -> None:
    assert section_frames(0, 9, 1000, has_start=True) == (0, 37)
    assert section_frames(1, 9, 1000, has_start=True) == (37, 73)


def test_without_start_picture_the_first_section_is_shorter() -> None:
    assert section_frames(0, 9, 1000, has_start=False) == (0, 33)
    assert section_frames(1, 9, 1000, has_start=False) == (33, 69)


def test_overlap_of_window_nine_is_33_frames() -> None:
    assert overlap_frames(9) == 33


def test_a_model_trained_on_true_gaps_gets_them_as_far_as_it_saw_them() -> None:
    assert paddings(3, trained_padding=4) == [2, 1, 0]
    assert paddings(7, trained_padding=4) == [4, 4, 4, 3, 2, 1, 0]
