"""Reading videos: properties, frames in a stream, one frame by number."""

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.segments import concat_segments
from framepack.media.video import (
    VideoInfo,
    probe,
    read_frame,
    read_frames,
    read_timed_frames,
)


def test_probe_tells_what_was_written(write_video):
    assert probe(write_video(num_frames=9, fps=12.5)) == VideoInfo(
        width=64,
        height=48,
        fps=Fraction(25, 2),
        num_frames=9,
        duration_s=0.72,
        codec="h264",
        pixel_format="yuv420p",
    )


def test_probe_counts_frames_that_the_file_does_not_state(folder, write_video):
    path = folder / "video.mkv"
    with av.open(str(write_video(num_frames=9))) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    assert probe(path).num_frames == 9


def test_frames_are_read_in_play_order(write_video, waves):
    frames = list(read_frames(write_video(num_frames=20, crf=1)))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 20
    written = waves(20).astype(int)
    for index, frame in enumerate(frames):
        distances = np.abs(written - frame).mean(axis=(1, 2, 3))
        assert distances.argmin() == index


def test_every_frame_is_found_by_number(folder, write_video):
    parts = [write_video("a.mp4", 7), write_video("b.mp4", 1), write_video("c.mp4", 12)]
    out = folder / "out.mp4"
    concat_segments(parts, out)
    frames = list(read_frames(out))
    for index in range(-20, 20):
        assert np.array_equal(read_frame(out, index), frames[index])


@pytest.mark.parametrize("index", [5, -6, 99])
def test_frame_past_the_end_is_refused(write_video, index):
    with pytest.raises(InvalidRequest, match=f"has 5 frames, number {index} was asked"):
        read_frame(write_video(num_frames=5), index)


@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 50])
def test_unreadable_video_is_one_clear_line(folder, content):
    path = folder / "video.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (probe, lambda path: list(read_frames(path)), lambda path: read_frame(path, 0)):
        with pytest.raises(InvalidRequest, match=r"video\.mp4") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_cut_off_video_is_refused(write_video):
    path = write_video(num_frames=20)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InvalidRequest, match="damaged"):
        list(read_frames(path))


def test_sound_without_picture_is_no_video(folder):
    path = folder / "sound.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(InvalidRequest, match="no video stream"):
        probe(path)


def test_reading_holds_one_frame_at_a_time(write_video):
    path = write_video(num_frames=60, width=256, height=256, preset="veryfast")
    tracemalloc.start()
    try:
        for _ in read_frames(path):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * 256 * 256 * 3


def test_frames_come_with_their_times(write_video):
    times = [time for time, _ in read_timed_frames(write_video(num_frames=6, fps=25))]
    assert times == [Fraction(index, 25) for index in range(6)]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_of_repeating_pictures_are_read_as_they_are_timed(folder, waves, suffix):
    frames = [Image.fromarray(frame) for frame in waves(3)]
    path = folder / f"loop{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    durations = [100, 300, 100]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, **options)
    found = list(read_timed_frames(path))
    assert [float(time) for time, _ in found] == pytest.approx([0, 0.1, 0.4])
    if suffix == ".webp":
        assert np.array_equal(np.stack([frame for _, frame in found]), waves(3))


def test_frames_are_turned_as_the_file_says(folder, write_video):
    path = write_video(num_frames=2)
    upright = next(read_frames(path))
    one, quarter = (1).to_bytes(2, "big") + bytes(2), b"\xff\xff" + bytes(2)
    last = b"\x40" + bytes(3)
    plain = one + bytes(12) + one + bytes(12) + last
    turned = bytes(4) + one + bytes(4) + quarter + bytes(16) + last  # by 90 degrees clockwise
    data = path.read_bytes()
    at = data.index(b"tkhd")
    assert data[at : at + 100].count(plain) == 1
    path.write_bytes(data[:at] + data[at:].replace(plain, turned, 1))
    assert np.array_equal(next(read_frames(path)), np.rot90(upright, -1))
    assert np.array_equal(read_frame(path, 0), np.rot90(upright, -1))
