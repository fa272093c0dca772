"""Each frame is encoded once; joining segments changes neither pixels nor times."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.segments import SegmentWriter, concat_segments, frame_rate
from framepack.media.video import probe, read_frames


def decoded(path):
    return np.stack(list(read_frames(path)))


def write_segments(folder, waves, counts, **options):
    paths = []
    for index, count in enumerate(counts):
        paths.append(folder / f"segment-{index}.mp4")
        with SegmentWriter(
            paths[-1], **{"width": 64, "height": 48, "fps": 30, **options}
        ) as writer:
            writer.write(waves(count, seed=index))
    return paths


@pytest.mark.parametrize(
    ("typed", "exact"),
    [
        (30, Fraction(30)),
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (Fraction(2997, 100), Fraction(2997, 100)),
    ],
)
def test_frame_rate_is_the_exact_rate_behind_the_number(typed, exact):
    assert frame_rate(typed) == exact


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1001])
def test_impossible_frame_rate_is_refused(fps):
    with pytest.raises(InvalidRequest, match="1 to 1000"):
        frame_rate(fps)


@pytest.mark.parametrize("preset", ["medium", "ultrafast", "slower"])
@pytest.mark.parametrize("counts", [(1,), (7,), (5, 3), (1, 1, 9), (4, 1, 37, 2), (3, 1, 1, 11, 1)])
def test_joined_frames_are_the_segments_frames_at_exact_times(folder, waves, counts, preset):
    segments = write_segments(folder, waves, counts, preset=preset, fps=29.97)
    out = folder / "joined.mp4"

    assert concat_segments(segments, out) == sum(counts)

    assert np.array_equal(decoded(out), np.concatenate([decoded(path) for path in segments]))
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * frame.time_base for frame in container.decode(stream)]
    assert times == [index * Fraction(1001, 30000) for index in range(sum(counts))]


def test_medium_preset_reorders_frames(folder, waves):
    """Otherwise the test above would say nothing about B-frames."""
    (path,) = write_segments(folder, waves, [30])
    with av.open(str(path)) as container:
        shown = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert shown != sorted(shown)


@pytest.mark.parametrize("fps", [30, 24, 29.97, 12.5, 7, 60])
def test_joined_file_plays_at_the_rate_for_the_duration(folder, waves, fps):
    out = folder / "joined.mp4"
    concat_segments(write_segments(folder, waves, [9, 4], fps=fps), out)
    info = probe(out)
    assert info.fps == frame_rate(fps)
    assert info.num_frames == 13
    assert info.duration_s == pytest.approx(13 / float(frame_rate(fps)), abs=1e-6)
    assert (info.width, info.height, info.pixel_format) == (64, 48, "yuv420p")
    assert info.codec == "h264"


def test_segment_starts_at_zero_with_a_key_frame(write_video):
    with av.open(str(write_video(num_frames=12))) as container:
        first = next(container.demux(video=0))
        assert first.is_keyframe
        assert container.start_time == 0


def test_colours_are_tagged_bt709_in_limited_range(folder, waves):
    out = folder / "out.mp4"
    concat_segments(write_segments(folder, waves, [2]), out)
    with av.open(str(out)) as container:
        codec = container.streams.video[0].codec_context
        tags = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)
    assert tags == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 30, 90)]
)
def test_flat_colour_survives_encoding(folder, colour):
    path = folder / "flat.mp4"
    with SegmentWriter(path, width=32, height=32, fps=30) as writer:
        writer.write(np.full((2, 32, 32, 3), colour, np.uint8))
    assert np.abs(decoded(path).astype(int) - colour).max() <= 3


def test_grey_keeps_its_mean(folder):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, None, :, None], (1, 32, 256, 3))
    with SegmentWriter(folder / "ramp.mp4", width=256, height=32, fps=30, crf=1) as writer:
        writer.write(ramp)
    assert abs((decoded(folder / "ramp.mp4").astype(int) - ramp).mean()) < 0.15


def test_same_frames_give_the_same_file(folder, waves):
    first, second = write_segments(folder, lambda count, seed: waves(count), [20, 20])
    assert first.read_bytes() == second.read_bytes()


def test_lower_crf_is_nearer_to_the_frames(folder, waves):
    errors = []
    for crf in (4, 40):
        (path,) = write_segments(folder, waves, [6], crf=crf)
        errors.append(np.abs(decoded(path).astype(int) - waves(6)).mean())
    assert errors[0] < errors[1]


def test_frames_can_arrive_in_parts(folder, waves):
    frames = waves(9)
    for name, parts in (
        ("whole.mp4", [frames]),
        ("parts.mp4", [frames[:1], frames[1:1], frames[1:]]),
    ):
        with SegmentWriter(folder / name, width=64, height=48, fps=30) as writer:
            for part in parts:
                writer.write(part)
    assert (folder / "whole.mp4").read_bytes() == (folder / "parts.mp4").read_bytes()


def test_segment_has_no_name_before_it_is_complete(folder, waves):
    path = folder / "segment.mp4"
    writer = SegmentWriter(path, width=64, height=48, fps=30)
    writer.write(waves(60))
    assert not path.exists()
    assert writer.close() == 60
    assert [found.name for found in folder.iterdir()] == ["segment.mp4"]
    assert writer.close() == 60


def test_failing_block_leaves_the_folder_empty(folder, waves):
    def render():
        with SegmentWriter(folder / "segment.mp4", width=64, height=48, fps=30) as writer:
            writer.write(waves(60))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        render()
    assert list(folder.iterdir()) == []


def test_segment_without_frames_is_an_error_and_leaves_nothing(folder):
    writer = SegmentWriter(folder / "segment.mp4", width=64, height=48, fps=30)
    with pytest.raises(ValueError, match="at least one"):
        writer.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 48, 64, 3), np.float32),
        np.zeros((48, 64, 3), np.uint8),
        np.zeros((1, 64, 48, 3), np.uint8),
        np.zeros((1, 3, 48, 64), np.uint8),
    ],
)
def test_frames_of_another_shape_or_type_are_refused(folder, frames):
    writer = SegmentWriter(folder / "segment.mp4", width=64, height=48, fps=30)
    with pytest.raises(ValueError, match="is needed"):
        writer.write(frames)
    writer.abort()


def test_closed_writer_refuses_frames(folder, waves):
    with SegmentWriter(folder / "segment.mp4", width=64, height=48, fps=30) as writer:
        writer.write(waves(1))
    with pytest.raises(ValueError, match="closed"):
        writer.write(waves(1))


@pytest.mark.parametrize(
    "wrong",
    [{"width": 63}, {"height": 8}, {"crf": 52}, {"crf": -1}, {"preset": "warp"}, {"fps": 0}],
)
def test_wrong_settings_are_refused(folder, wrong):
    with pytest.raises(InvalidRequest):
        SegmentWriter(folder / "x.mp4", **{"width": 64, "height": 48, "fps": 30, **wrong})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("odd", [{"width": 80}, {"fps": 24}, {"preset": "ultrafast"}])
def test_segments_with_other_settings_are_not_joined(folder, write_video, odd):
    out = folder / "out.mp4"
    paths = [write_video("a.mp4"), write_video("b.mp4", **odd)]
    with pytest.raises(WorkspaceError, match=r"b\.mp4 .* does not continue"):
        concat_segments(paths, out)
    assert not out.exists()


def test_no_segments_is_an_error(folder):
    with pytest.raises(ValueError, match="at least one"):
        concat_segments([], folder / "out.mp4")


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut"])
def test_damaged_segment_leaves_the_old_video(folder, write_video, damage):
    good, bad, out = write_video("a.mp4"), folder / "b.mp4", folder / "out.mp4"
    concat_segments([good], out)
    before = out.read_bytes()
    content = {"empty": b"", "text": b"not a video " * 99, "cut": good.read_bytes()[:900]}
    if damage != "missing":
        bad.write_bytes(content[damage])
    with pytest.raises(WorkspaceError, match=r"b\.mp4"):
        concat_segments([good, bad], out)
    assert out.read_bytes() == before
    assert not list(folder.glob(".*"))


def test_segment_with_a_gap_is_not_joined(folder, write_video):
    source, gap = write_video("a.mp4", 6, preset="ultrafast"), folder / "gap.mp4"
    with av.open(str(source)) as container, av.open(str(gap), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for index, packet in enumerate(container.demux(video=0)):
            if packet.dts is not None and index != 3:
                packet.stream = stream
                output.mux(packet)
    with pytest.raises(WorkspaceError, match=r"gap\.mp4 has no constant frame rate"):
        concat_segments([source, gap], folder / "out.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_writer_leaves_no_segment_and_the_next_one_cleans_up(folder, waves):
    script = """
import os, signal
import numpy as np
from framepack.media.segments import SegmentWriter
writer = SegmentWriter("segment.mp4", width=64, height=48, fps=30)
writer.write(np.random.default_rng(0).integers(0, 255, (90, 48, 64, 3), np.uint8))
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=folder, env=environment, timeout=120)
    left = [path.name for path in folder.iterdir()]
    assert len(left) == 1
    assert left[0].endswith(".part")
    with SegmentWriter(folder / "segment.mp4", width=64, height=48, fps=30) as writer:
        writer.write(waves(3))
    assert [path.name for path in folder.iterdir()] == ["segment.mp4"]
    assert len(decoded(folder / "segment.mp4")) == 3


def test_index_stands_before_the_frames(folder, waves):
    out = folder / "out.mp4"
    concat_segments(write_segments(folder, waves, [9]), out)
    content = out.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    "name", ["żółć 日本 🙂.mp4", "a:b c'd\"e%d.mp4", "-o.mp4", "x" * 200 + ".mp4"]
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses some of these names")
def test_any_name_works_even_relative(folder, write_video, monkeypatch, name):
    source = write_video("a.mp4")
    monkeypatch.chdir(folder)
    with SegmentWriter(name, width=64, height=48, fps=30) as writer:
        writer.write(decoded(source))
    concat_segments([name, source], Path("new folder") / name)
    assert probe(Path("new folder") / name).num_frames == 10


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
@pytest.mark.parametrize("missing_bytes", [1, 500, 9000])
def test_full_disk_is_one_clear_error_and_leaves_nothing(folder, missing_bytes):
    """A file size limit stands in for a full disk; both make write() fail."""
    script = f"""
import pathlib, resource, signal
import numpy as np
from framepack.domain.errors import WorkspaceError
from framepack.media.segments import SegmentWriter, concat_segments
noise = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), np.uint8)
def write(name):
    with SegmentWriter(name, width=64, height=48, fps=30) as writer:
        writer.write(noise)
write("small.mp4")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = pathlib.Path("small.mp4").stat().st_size - {missing_bytes}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for job in (lambda: write("big.mp4"), lambda: concat_segments(["small.mp4"] * 3, "out.mp4")):
    try:
        job()
    except WorkspaceError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "cannot write big.mp4: File too large; free some space or check the folder",
        "cannot write out.mp4: File too large; free some space or choose another folder",
    ]
    assert [path.name for path in folder.iterdir()] == ["small.mp4"]


def test_memory_is_flat_in_the_number_of_segments(folder, waves):
    frames = waves(4, height=192, width=256)

    def grow(count):
        paths = []
        for index in range(count):
            paths.append(folder / f"{index}.mp4")
            with SegmentWriter(
                paths[-1], width=256, height=192, fps=30, preset="veryfast"
            ) as writer:
                writer.write(frames)
        concat_segments(paths, folder / "out.mp4")
        return psutil.Process().memory_info().rss

    grow(10)
    before = grow(10)
    assert grow(100) - before < 24 * 2**20
