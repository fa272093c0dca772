"""Clips have the frames they should have, in order, in number and in place."""

import tracemalloc
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest

from framepack.domain.clips import ClipEdit
from framepack.domain.errors import InvalidRequest
from framepack.finished import edit_clip
from framepack.media.audio import RATE, read_sound
from framepack.media.clips import plan_clip, write_clip
from framepack.media.codecs import LOSSLESS, h264_format
from framepack.media.encode import write_video
from framepack.media.metadata import read_metadata
from framepack.media.video import probe, read_frames

EXACT = {"codec": "ffv1", "pixel_format": "bgr0"}


def numbered(count, *, width=32, height=16, first=0):
    """Frames that say by their grey which they are."""
    return [np.full((height, width, 3), first + index, np.uint8) for index in range(count)]


def video(folder, name, frames, *, fps=10, audio=None, document=None):
    height, width = frames[0].shape[:2]
    path = folder / name
    size = {"width": width, "height": height, "fps": fps}
    write_video(frames, path, video_format=LOSSLESS, audio=audio, document=document, **size)
    return path


def clip(folder, *videos, name="clip.mkv", **fields):
    """The frames of a clip without loss, [T, H, W, 3]."""
    made = edit_clip(videos, output=folder / name, **EXACT, **fields)
    frames = np.stack(list(read_frames(made.path)))
    assert len(frames) == made.num_frames == probe(made.path).num_frames
    assert frames.shape[1:3] == (made.height, made.width)
    return frames


def greys(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


@pytest.fixture
def ten(folder):
    return video(folder, "ten.mkv", numbered(10))


def test_a_plain_clip_is_the_video_to_the_pixel(folder, waves):
    frames = waves(7)
    assert np.array_equal(clip(folder, video(folder, "a.mkv", list(frames))), frames)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"start_s": 0.3, "end_s": 0.6}, [3, 4, 5]),
        ({"speed": 2}, [0, 2, 4, 6, 8]),
        ({"speed": 0.5, "end_s": 0.3}, [0, 0, 1, 1, 2, 2]),
        ({"fps": 20, "end_s": 0.3}, [0, 0, 1, 1, 2, 2]),
        ({"fps": 5}, [0, 2, 4, 6, 8]),
        ({"reverse": True}, list(range(9, -1, -1))),
        ({"ping_pong": True, "end_s": 0.4}, [0, 1, 2, 3, 2, 1]),
        ({"ping_pong": True, "reverse": True, "end_s": 0.4}, [3, 2, 1, 0, 1, 2]),
        ({"loop": 3, "start_s": 0.8}, [8, 9, 8, 9, 8, 9]),
        ({"loop": 2, "reverse": True, "start_s": 0.8}, [9, 8, 9, 8]),
        ({"loop": 2, "ping_pong": True, "end_s": 0.3}, [0, 1, 2, 1, 0, 1, 2, 1]),
        ({"ping_pong": True, "end_s": 0.2, "loop": 2}, [0, 1, 0, 1]),
        ({"ping_pong": True, "end_s": 0.1}, [0]),
    ],
)
def test_frames_come_in_the_order_asked_for(folder, ten, fields, expected):
    assert greys(clip(folder, ten, **fields)) == expected


def test_more_frames_than_one_file_holds_are_played_backward(folder):
    long = video(folder, "long.mkv", numbered(150))
    assert greys(clip(folder, long, reverse=True)) == list(range(149, -1, -1))
    assert greys(clip(folder, long, ping_pong=True))[148:152] == [148, 149, 148, 147]


@pytest.mark.parametrize("fields", [{"speed": 0.25}, {"fps": 40}])
def test_slow_frames_are_made_where_that_is_asked_for(folder, fields):
    bright = [np.full((16, 32, 3), 40 * index, np.uint8) for index in range(4)]
    path = video(folder, "a.mkv", bright)
    found = clip(folder, path, interpolate=True, interpolation="blend", **fields)
    assert greys(found) == [*range(0, 121, 10), 120, 120, 120]


def test_slow_motion_between_whole_factors_has_as_many_frames_as_without(folder, waves):
    path = video(folder, "a.mkv", list(waves(10)))
    plain = clip(folder, path, speed=0.7)
    smooth = clip(folder, path, speed=0.7, interpolate=True)
    assert len(plain) == len(smooth) == 14
    assert not np.array_equal(plain, smooth)


def test_videos_are_joined_in_order(folder, ten):
    other = video(folder, "other.mkv", numbered(3, first=100))
    assert greys(clip(folder, other, ten, other)) == [100, 101, 102, *range(10), 100, 101, 102]


def test_neighbours_fade_into_each_other(folder):
    one = video(folder, "one.mkv", [np.full((16, 32, 3), 200, np.uint8)] * 6)
    two = video(folder, "two.mkv", [np.full((16, 32, 3), 0, np.uint8)] * 8)
    found = greys(clip(folder, one, two, one, crossfade_s=0.3))
    assert found == [200] * 3 + [150, 100, 50] + [0] * 2 + [50, 100, 150] + [200] * 3


def test_another_size_and_rate_are_fitted_to_the_first(folder, ten):
    frames = [np.full((32, 32, 3), 200, np.uint8)] * 20
    for frame in frames:
        frame[:8] = frame[-8:] = 0  # what is cut away around the middle
    other = video(folder, "other.mkv", frames, fps=20)
    made = edit_clip([ten, other], output=folder / "clip.mkv", **EXACT)
    assert "Fitted to 32x16 px at 10 frames/s like ten.mkv: other.mkv." in made.notes
    found = np.stack(list(read_frames(made.path)))
    assert len(found) == 20
    assert (found[10:] == 200).all()


def test_crop_filters_and_size_follow_each_other(folder, waves):
    frames = waves(3)
    path = video(folder, "a.mkv", list(frames))
    cropped = clip(folder, path, crop="32x20+8+4")
    assert np.array_equal(cropped, frames[:, 4:24, 8:40])
    mirrored = clip(folder, path, crop="32x20+8+4", filters=["hflip"])
    assert np.array_equal(mirrored, cropped[:, :, ::-1])
    assert clip(folder, path, filters="transpose").shape == (3, 64, 48, 3)
    assert clip(folder, path, filters="transpose", size="32x32").shape == (3, 32, 32, 3)


def test_odd_videos_lose_a_row_and_a_column(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 21, 33, 3), dtype=np.uint8)
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in pixels]
    path = folder / "odd.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    assert np.array_equal(clip(folder, path), pixels[:, :20, :32])


def test_a_rate_that_wavers_is_made_even(folder):
    path = folder / "uneven.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"crf": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for grey, time_ms in zip((0, 60, 120, 180, 240), (0, 100, 200, 800, 900), strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), grey, np.uint8), "rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = greys(clip(folder, path, fps=10))
    assert found[0] < 5
    assert found.count(found[5]) >= 4  # the one that is shown for most of a second
    assert sorted(found) == found


def tone(folder, name="tone.wav", seconds=3.0, hertz=440.0):
    import wave

    time = np.arange(round(seconds * RATE)) / RATE
    samples = np.rint(8000 * np.sin(2 * np.pi * hertz * time)).astype("<i2")
    path = folder / name
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def sound_of(path):
    return np.concatenate(list(read_sound(path)))[:, 0]


def pitch(samples):
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return spectrum.argmax() * RATE / len(middle)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 1),
        ({"start_s": 0.4}, 0.6),
        ({"speed": 2}, 0.5),
        ({"speed": 0.4}, 2.5),
        ({"loop": 3}, 3),
    ],
)
def test_sound_goes_along_at_its_pitch(folder, fields, seconds):
    path = video(folder, "a.mkv", numbered(10), audio=tone(folder, seconds=1))
    made = edit_clip(path, output=folder / "clip.mp4", **fields)
    found = sound_of(made.path)
    assert len(found) / RATE == pytest.approx(seconds, abs=0.05)
    assert made.duration_s == pytest.approx(seconds)
    assert pitch(found) == pytest.approx(440, abs=5)


def test_sound_is_joined_where_the_pictures_are(folder, ten):
    one = video(folder, "one.mkv", numbered(10), audio=tone(folder, hertz=440))
    two = video(folder, "two.mkv", numbered(10), audio=tone(folder, "b.wav", hertz=880))
    found = sound_of(edit_clip([one, ten, two], output=folder / "clip.mp4").path)
    parts = [found[index * RATE : (index + 1) * RATE] for index in range(3)]
    assert pitch(parts[0]) == pytest.approx(440, abs=5)
    assert np.abs(parts[1][RATE // 10 : -RATE // 10]).max() < 0.01
    assert pitch(parts[2]) == pytest.approx(880, abs=5)


def test_sound_fades_with_the_pictures(folder, ten):
    one = video(folder, "one.mkv", numbered(10), audio=tone(folder))
    found = sound_of(edit_clip([one, ten], output=folder / "clip.mp4", crossfade_s=0.5).path)
    loud = [np.abs(found[int(at * RATE) :][:2000]).max() for at in (0.2, 0.75, 1.1)]
    assert loud[0] == pytest.approx(8000 / 32768 / 2**0.5, rel=0.1)  # mono, shared by two sides
    assert loud[1] == pytest.approx(loud[0] / 2, rel=0.15)
    assert loud[2] < 0.01


@pytest.mark.parametrize(
    ("name", "fields", "line"),
    [
        ("clip.mp4", {"reverse": True}, "plays backward"),
        ("clip.mp4", {"ping_pong": True}, "plays backward"),
        ("clip.webp", {}, "a .webp file carries none"),
        ("clip.mp4", {"sound": False}, None),
    ],
)
def test_sound_that_is_left_out_is_said_to_be(folder, name, fields, line):
    path = video(folder, "a.mkv", numbered(4), audio=tone(folder))
    made = edit_clip(path, output=folder / name, **fields)
    assert len(made.notes) == (line is not None)
    assert line is None or line in made.notes[0]
    if name.endswith(".mp4"):
        with av.open(str(made.path)) as file:
            assert not file.streams.audio


def test_another_sound_takes_the_place_of_the_own(folder):
    path = video(folder, "a.mkv", numbered(10), audio=tone(folder))
    other = tone(folder, "other.wav", hertz=880)
    made = edit_clip(path, output=folder / "clip.mp4", audio=other, reverse=True)
    assert pitch(sound_of(made.path)) == pytest.approx(880, abs=5)


def test_the_file_names_edit_and_sources(folder):
    request = {"prompt": "a dog"}
    document = {"program": "framepack", "request": request}
    path = video(folder, "a.mkv", numbered(10), document=document)
    made = edit_clip(path, output=folder / "clip.mp4", speed=2)
    found = read_metadata(made.path)
    assert found["clip"] == {
        "edit": {"speed": 2.0},
        "sources": [{"name": "a.mkv", "request": request}],
    }
    assert found["program"] == "framepack"
    bare = edit_clip(path, output=folder / "bare.mp4", embed=False)
    assert read_metadata(bare.path) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop": "40x16+0+0"}, r"--crop 40x16\+0\+0 reaches outside of the picture of 32x16 px"),
        ({"filters": "crop=15:15"}, "would be 15x15 px.*--size 16x16"),
        ({"filters": "nosuch"}, "no video filter 'nosuch'"),
        ({"filters": "fps=20"}, "makes .* frames of 12"),
        ({"end_s": 5}, "of 1.00 s of video"),
        ({"codec": "none"}, "a clip is a video"),
        ({"codec": "nosuch"}, "no video encoder"),
        ({"codec_options": "nope:1"}, "knows no option"),
        ({"audio": "missing.mp3"}, "does not exist"),
        ({"interpolation": "magic"}, "--interpolation"),
        ({"speeed": 2}, "did you mean 'speed'"),
    ],
)
def test_what_cannot_be_is_refused_before_a_file_is_there(folder, ten, fields, message):
    with pytest.raises(InvalidRequest, match=message):
        edit_clip(ten, output=folder / "new" / "clip.mp4", **fields)
    assert not (folder / "new").exists()


def test_videos_that_cannot_be_read_are_refused(folder, ten):
    broken = folder / "broken.mp4"
    broken.write_bytes(b"nothing" * 100)
    for videos, message in (
        ([], "no video was given"),
        ([ten, folder / "missing.mp4"], "missing.mp4 does not exist"),
        ([broken], "cannot be read as a video"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            edit_clip(videos, output=folder / "clip.mp4")


def test_progress_counts_to_the_end_and_nothing_is_left_on_the_disk(folder, ten):
    told = []
    edit_clip(
        ten,
        output=folder / "clip.mkv",
        reverse=True,
        loop=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(number, 30) for number in range(1, 31)]
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mkv", "ten.mkv"]


def test_a_clip_can_replace_its_video(folder, ten):
    assert greys(clip(folder, ten, name="ten.mkv", start_s=0.5)) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("fields", [{}, {"reverse": True}, {"loop": 2}])
def test_memory_does_not_grow_with_the_length(folder, fields):
    peaks = []
    for count in (70, 210):
        frames = numbered(count, width=256, height=256)
        path = folder / f"{count}.mp4"
        size = {"width": 256, "height": 256, "fps": 30}
        write_video(frames, path, video_format=h264_format(30, "ultrafast"), **size)
        del frames
        job = plan_clip([path], folder / "clip.mp4", ClipEdit.parse(**fields))
        peaks.append(_peak(partial(write_clip, job)))
    assert peaks[1] < peaks[0] * 1.2 + 500_000


def _peak(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
