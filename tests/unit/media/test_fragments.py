"""Fragmented MP4: whatever the segments are, together they are the video they were made from."""

import os
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from framepack.domain.errors import WorkspaceError
from framepack.media.fragments import (
    Span,
    decoder_name,
    free_box,
    init_segment,
    is_copied,
    media_segments,
    moved,
    spans_of,
)
from framepack.media.segments import SegmentWriter, concat_segments
from framepack.media.video import read_timed_frames
from framepack.media.writer import VideoFormat, VideoWriter, frame_rate

Waves = Callable[..., np.ndarray]
COUNTS = (3, 20, 1, 37)


@pytest.fixture
def segments(folder: Path, waves: Waves) -> Callable[..., list[Path]]:
    """Write files of so many frames each, of one video."""

    def write(counts: tuple[int, ...] = COUNTS, fps: float = 24) -> list[Path]:
        frames, paths = iter(waves(sum(counts))), []
        for index, count in enumerate(counts):
            paths.append(folder / f"segment-{index}.mp4")
            with SegmentWriter(paths[-1], width=64, height=48, fps=fps) as writer:
                writer.write(np.stack([next(frames) for _ in range(count)]))
        return paths

    return write


def fragments(paths: list[Path], fps: Fraction) -> tuple[bytes, list[bytes]]:
    init, first, parts = init_segment(paths[0], fps), 0, []
    for path in paths:
        spans = spans_of(path, fps)
        parts += media_segments(path, spans, fps, first_frame=first, init=init)
        first += sum(span.num_frames for span in spans)
    return init, parts


def timed(data: bytes, path: Path) -> list[tuple[Fraction, bytes]]:
    """Seconds and pixels of each frame; the times are those that the file gives."""
    path.write_bytes(data)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.start_time == 0
    return [(time, frame.tobytes()) for time, frame in read_timed_frames(path)]


@pytest.mark.parametrize("fps", [24, 29.97, 12.5, 1])
def test_fragments_of_segments_are_the_joined_video(
    segments: Callable[..., list[Path]], folder: Path, fps: float
) -> None:
    paths, rate = segments(fps=fps), frame_rate(fps)
    concat_segments(paths, folder / "whole.mp4")
    init, parts = fragments(paths, rate)

    found = timed(init + b"".join(parts), folder / "live.mp4")

    assert len(parts) == len(COUNTS)
    assert found == timed((folder / "whole.mp4").read_bytes(), folder / "copy.mp4")
    assert [time for time, _ in found] == [index / rate for index in range(sum(COUNTS))]


def test_a_reader_that_has_not_seen_what_follows_gets_the_same_times(
    segments: Callable[..., list[Path]],
) -> None:
    """A first part without reordered frames says nothing of those that come later."""
    init, parts = fragments(segments((1, 20, 3)), Fraction(24))

    reading, writing = os.pipe()

    def send() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for data in (init, *parts):
                pipe.write(data + free_box())
                time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    options = {"probesize": "32", "analyzeduration": "0"}
    with av.open(f"pipe:{reading}", options=options) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    sender.join()
    os.close(reading)
    assert times == [Fraction(index, 24) for index in range(24)]


def test_decoding_times_leave_no_gap_and_do_not_overlap(
    segments: Callable[..., list[Path]], folder: Path
) -> None:
    init, parts = fragments(segments(), Fraction(24))
    path = folder / "live.mp4"
    path.write_bytes(init + b"".join(parts))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    steps = {after.dts - before.dts for before, after in pairwise(packets)}
    assert steps == {packets[0].duration}
    assert any(packet.pts != packet.dts + 2 * packet.duration for packet in packets)  # reordered


def test_a_long_file_is_cut_at_key_frames(
    segments: Callable[..., list[Path]], folder: Path
) -> None:
    whole = folder / "whole.mp4"
    concat_segments(segments((24, 24, 24)), whole)
    rate = Fraction(24)
    init = init_segment(whole, rate)

    spans = spans_of(whole, rate, least_s=1)
    parts = list(media_segments(whole, spans, rate, first_frame=0, init=init))

    assert spans == (Span(0, 24), Span(24, 24), Span(48, 24))
    assert timed(init + b"".join(parts), folder / "live.mp4") == timed(
        whole.read_bytes(), folder / "copy.mp4"
    )
    assert spans_of(whole, rate, least_s=10) == (Span(0, 72),)


def test_a_matroska_file_gives_the_same_frames(
    segments: Callable[..., list[Path]], folder: Path
) -> None:
    paths = segments()
    concat_segments(paths, folder / "whole.mkv")
    init, parts = fragments([folder / "whole.mkv"], Fraction(24))
    own_init, own_parts = fragments(paths, Fraction(24))
    assert timed(init + b"".join(parts), folder / "a.mp4") == timed(
        own_init + b"".join(own_parts), folder / "b.mp4"
    )


def test_a_moved_segment_plays_at_the_other_time(
    segments: Callable[..., list[Path]], folder: Path
) -> None:
    init, parts = fragments(segments((5, 7)), Fraction(24))
    alone = timed(init + moved(parts[1], -5, Fraction(24)), folder / "live.mp4")
    assert [time for time, _ in alone] == [Fraction(index, 24) for index in range(7)]


def test_what_decoding_needs_is_told(segments: Callable[..., list[Path]]) -> None:
    init = init_segment(segments((3,))[0], Fraction(24))
    assert decoder_name(init) == "avc1.64000a"  # High profile, level 1: the smallest pictures


def test_a_file_of_other_settings_is_refused(
    segments: Callable[..., list[Path]], folder: Path, waves: Waves
) -> None:
    init = init_segment(segments((3,))[0], Fraction(24))
    other = folder / "other.mp4"
    with SegmentWriter(other, width=64, height=48, fps=24, preset="ultrafast") as writer:
        writer.write(waves(3))
    with pytest.raises(WorkspaceError, match="encoded with other settings"):
        list(media_segments(other, [Span(0, 3)], Fraction(24), first_frame=3, init=init))


def test_only_plain_h264_is_copied(
    segments: Callable[..., list[Path]], folder: Path, waves: Waves
) -> None:
    lossless = folder / "lossless.mkv"
    deep = folder / "deep.mp4"
    for path, video_format in (
        (lossless, VideoFormat("ffv1", {}, "bgr0")),
        (deep, VideoFormat("libx264", {}, "yuv444p")),
    ):
        with VideoWriter(path, width=64, height=48, fps=24, video_format=video_format) as writer:
            writer.write(waves(2))
        assert not is_copied(path)
    assert is_copied(segments((3,))[0])
