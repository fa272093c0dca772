"""How a video that goes on from another one is counted."""

import pytest

from framepack.domain.lengths import Length, choose_length
from framepack.domain.request import GenerationRequest
from framepack.domain.sources import VideoFacts


def _length(source_s: float, **fields: object) -> Length:
    request = GenerationRequest.parse(extend="a.mp4", **{"duration_s": 2, "fps": 30, **fields})
    video = VideoFacts(64, 64, source_s)
    return choose_length(
        request, has_start=True, has_end=False, stride=4, extended=video, num_context=18
    )


def test_the_end_becomes_whole_sections_and_the_rest_stays_outside() -> None:
    length = _length(10)
    assert (length.num_given_sections, length.num_prefix_frames) == (2, 300 - 73)
    assert length.num_frames == 300 + 60
    assert length.num_kept_frames == 73 + 60
    assert length.num_sections == 4
    assert length.num_generated_frames == 4 * 36 + 1


@pytest.mark.parametrize(
    ("num_frames", "given", "prefix"), [(73, 2, 0), (72, 1, 35), (37, 1, 0), (36, 0, 35), (1, 0, 0)]
)
def test_short_videos_give_fewer_sections(num_frames: int, given: int, prefix: int) -> None:
    length = _length(num_frames / 30)
    assert (length.num_given_sections, length.num_prefix_frames) == (given, prefix)
    assert length.num_frames == num_frames + 60
    assert ("too short" in length.notes[0]) == (given == 0)


def test_short_windows_give_more_sections_for_the_same_context() -> None:
    assert _length(10, latent_window_size=3).num_given_sections == 6


@pytest.mark.parametrize("factor", [2, 3])
def test_with_interpolation_the_source_is_read_at_the_generated_rate(factor: int) -> None:
    length = _length(10, interpolate=factor)
    there = 300 // factor
    assert length.num_prefix_frames + 36 * length.num_given_sections + 1 == there
    assert length.num_frames == (there - 1) * factor + 1 + 60
    made = length.num_prefix_frames + length.num_kept_frames
    assert (made - 1) * factor + 1 >= length.num_frames
