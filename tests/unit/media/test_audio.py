"""Sound goes with the pictures: whole, in time, and no longer than they are."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from framepack.domain.errors import InvalidRequest
from framepack.media.audio import check_audio
from framepack.media.codecs import LOSSLESS, video_format
from framepack.media.encode import write_video
from framepack.media.segments import concat_segments
from framepack.media.video import probe, read_frames

HERTZ = 440


def tone(path: Path, seconds: float, rate: int = 22_050) -> Path:
    """A sine in one channel, which the encoder gets at another rate and in two."""
    times = np.arange(round(seconds * rate)) / rate
    samples = (12_000 * np.sin(2 * np.pi * HERTZ * times)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def heard(path: Path) -> tuple[NDArray[np.float32], int]:
    """The sound of a video, one channel, and its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        pieces = [frame.to_ndarray()[0] for frame in container.decode(stream)]
        return np.concatenate(pieces).astype(np.float32), stream.rate


def pitch(samples: NDArray[np.float32], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("seconds", [5.0, 0.6])
def test_sound_ends_with_the_video_or_before(folder, waves, suffix, seconds):
    sound = tone(folder / "tone.wav", seconds)
    path = folder / f"out{suffix}"
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    write_video(
        waves(30),
        path,
        width=64,
        height=48,
        fps=30,
        video_format=video_format(codec, "", None, crf=16, preset="medium"),
        audio=sound,
    )
    assert probe(path).num_frames == 30
    assert probe(path).duration_s == pytest.approx(1.0, abs=0.002)
    samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(min(seconds, 1.0), abs=0.045)
    middle = samples[round(0.1 * rate) : round(0.5 * rate)]
    assert pitch(middle, rate) == pytest.approx(HERTZ, abs=4)


def test_joined_segments_carry_it_from_one_to_the_next(folder, write_video):
    segments = [write_video(f"{number}.mp4", num_frames=20, fps=20) for number in range(3)]
    sound = tone(folder / "tone.wav", 10)
    silent, loud = folder / "silent.mp4", folder / "loud.mp4"
    concat_segments(segments, silent)
    assert concat_segments(segments, loud, audio=sound) == 60
    assert np.array_equal(list(read_frames(loud)), list(read_frames(silent)))
    samples, rate = heard(loud)
    assert len(samples) / rate == pytest.approx(3.0, abs=0.045)
    # No gap: a steady tone is as strong in every tenth of a second.
    pieces = np.array_split(samples[round(0.1 * rate) : round(2.9 * rate)], 28)
    strengths = [float(np.sqrt(np.square(piece).mean())) for piece in pieces]
    assert min(strengths) > 0.9 * max(strengths)


@pytest.mark.parametrize(
    ("name", "content", "video", "message"),
    [
        ("none.wav", None, "out.mp4", "does not exist"),
        ("empty.wav", b"", "out.mp4", "is empty"),
        ("text.wav", b"not a sound at all" * 9, "out.mp4", "cannot be read"),
        ("tone.wav", b"tone", "out.gif", "a .gif file carries no sound"),
    ],
)
def test_what_gives_no_sound_is_refused(folder, name, content, video, message):
    path = folder / name
    if content == b"tone":
        tone(path, 1)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=message) as raised:
        check_audio(path, Path(video))
    assert "\n" not in str(raised.value)


def test_a_silent_video_has_no_sound_to_give(folder, waves):
    path = folder / "silent.mkv"
    write_video(waves(3), path, width=64, height=48, fps=30, video_format=LOSSLESS)
    with pytest.raises(InvalidRequest, match="holds no sound"):
        check_audio(path, Path("out.mp4"))
