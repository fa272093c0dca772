"""The forms a video is left in: codecs, containers, pictures, raw frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.runs import SMALL, frames_of, make_video, seconds

import framepack
from framepack.cli.main import main
from framepack.media.exports import open_raw_frames
from framepack.pipeline.components import Components

FRAMES = 17
ASKED: dict[str, Any] = {"duration_s": seconds(FRAMES)}


def read_pictures(paths: list[Path]) -> NDArray[np.uint8]:
    """All pictures, [T, H, W, 3] uint8."""
    read = []
    for path in paths:
        with Image.open(path) as picture:
            read.append(np.asarray(picture))
    return np.stack(read)


def _make(
    folder: Path, components: Components, name: str = "out.mp4", **fields: Any
) -> framepack.Result:
    return framepack.generate(
        output=folder / name, components=components, **{**SMALL, **ASKED, **fields}
    )


@pytest.mark.parametrize(
    ("name", "fields", "codec", "pixel_format"),
    [
        ("out.mkv", {}, "h264", "yuv420p"),
        ("out.mov", {}, "h264", "yuv420p"),
        ("out.mp4", {"codec_options": "crf:30"}, "h264", "yuv420p"),
        ("out.mp4", {"pixel_format": "yuv444p"}, "h264", "yuv444p"),
        ("out.mp4", {"codec": "libx265"}, "hevc", "yuv420p"),
        ("out.mkv", {"codec": "ffv1", "pixel_format": "bgr0"}, "ffv1", "bgr0"),
        ("out.webm", {"codec_options": "crf:40"}, "vp9", "yuv420p"),
        ("out.mov", {"codec": "prores_ks"}, "prores", "yuv422p10le"),
    ],
)
def test_codecs_and_containers_hold_the_planned_frames(
    tmp_path: Path,
    components: Components,
    name: str,
    fields: dict[str, Any],
    codec: str,
    pixel_format: str,
) -> None:
    made = _make(tmp_path, components, name, **fields)
    found = framepack.inspect(made.path)
    assert (found.info.codec, found.info.pixel_format) == (codec, pixel_format)
    assert found.info.num_frames == FRAMES
    assert len(frames_of(made.path)) == FRAMES
    assert float(found.info.fps) == pytest.approx(24, abs=0.01)
    assert found.request is not None
    assert found.request.seed == made.plan.seed


def test_lossless_codecs_pictures_and_raw_frames_agree_to_the_pixel(
    tmp_path: Path, components: Components
) -> None:
    made = _make(
        tmp_path,
        components,
        "out.mkv",
        codec="ffv1",
        pixel_format="bgr0",
        frames_dir=tmp_path / "frames",
        raw=tmp_path / "raw.safetensors",
    )
    frames = frames_of(made.path)
    raw = open_raw_frames(tmp_path / "raw.safetensors")
    assert (raw.num_frames, raw.fps) == (FRAMES, 24)
    assert np.array_equal(np.stack(list(raw.frames())), frames)
    pictures = sorted((tmp_path / "frames").iterdir())
    assert [path.name for path in pictures][:2] == ["out-00000.png", "out-00001.png"]
    assert np.array_equal(read_pictures(pictures), frames)


@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_animations_carry_their_document_beside_them(
    tmp_path: Path, components: Components, picture: Path, name: str
) -> None:
    made = _make(tmp_path, components, name, image=picture)
    with Image.open(made.path) as picture:
        durations = []
        for number in range(picture.n_frames):  # type: ignore[attr-defined]
            picture.seek(number)
            picture.load()
            durations.append(picture.info["duration"])
    # WebP joins frames that are alike.
    assert len(durations) == FRAMES or name == "out.webp"
    assert sum(durations) == pytest.approx(1000 * FRAMES / 24, abs=10)
    document = json.loads(Path(f"{made.path}.json").read_text(encoding="utf-8"))
    assert document["request"]["seed"] == made.plan.seed


def test_no_video_leaves_raw_frames_alone(tmp_path: Path, components: Components) -> None:
    raw = tmp_path / "made" / "raw.safetensors"
    made = _make(tmp_path / "made", components, codec="none", raw=raw, thumbnail=False)
    assert made.path == raw
    assert [path.name for path in raw.parent.iterdir()] == ["raw.safetensors"]


def test_a_resumed_run_leaves_the_same_forms(tmp_path: Path, components: Components) -> None:
    from contextlib import closing

    from framepack.domain.events import SectionDone

    asked = {**SMALL, **ASKED, "codec": "ffv1", "pixel_format": "bgr0"}
    whole = framepack.generate(output=tmp_path / "whole.mkv", components=components, **asked)
    events = framepack.stream(
        output=tmp_path / "out.mkv",
        raw=tmp_path / "raw.safetensors",
        run_dir=tmp_path / "run",
        components=components,
        **asked,
    )
    with closing(events) as opened:  # type: ignore[type-var]
        next(event for event in opened if isinstance(event, SectionDone))
    resumed = framepack.resume(tmp_path / "run", components=components)
    assert np.array_equal(frames_of(whole.path), frames_of(resumed.path))
    raw = open_raw_frames(tmp_path / "raw.safetensors")
    assert np.array_equal(np.stack(list(raw.frames())), frames_of(whole.path))


def test_encode_gives_back_every_pixel(
    tmp_path: Path, components: Components, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, video = tmp_path / "raw.safetensors", tmp_path / "again.mkv"
    _make(tmp_path, components, codec="none", raw=raw)
    wanted = np.stack(list(open_raw_frames(raw).frames()))
    lossless = ["--codec", "ffv1", "--pixel-format", "bgr0"]
    assert main(["encode", str(raw), "-o", str(video), *lossless, "-q"]) == 0
    assert np.array_equal(frames_of(video), wanted)
    assert float(framepack.inspect(video).info.fps) == pytest.approx(24, abs=0.01)
    request = framepack.inspect(video).restore(tmp_path / "in")  # the raw frames carried it
    again = framepack.generate(request, output=tmp_path / "again-2.mkv", components=components)
    assert np.array_equal(frames_of(again.path), wanted)
    assert main(["encode", str(raw), "--frames", str(tmp_path / "p"), "-q"]) == 0
    pictures = sorted((tmp_path / "p").iterdir())
    assert np.array_equal(read_pictures(pictures), wanted)
    slow = tmp_path / "slow.mp4"
    assert main(["encode", str(raw), "-o", str(slow), "--fps", "12", "-q"]) == 0
    assert framepack.inspect(slow).info.duration_s == pytest.approx(FRAMES / 12, abs=0.01)
    capsys.readouterr()


def test_a_video_is_made_again_from_its_file(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = framepack.generate(output=tmp_path / "out.mp4", image=picture, **{**SMALL, **ASKED})
    picture.unlink()
    again, other = tmp_path / "again.mp4", tmp_path / "other.mp4"
    assert main(["generate", "--from", str(made.path), "-o", str(again), "-q"]) == 0
    assert np.array_equal(frames_of(again), frames_of(made.path))
    changed = ["--prompt", "the camera pans right", "--seed", "8"]
    assert main(["generate", "--from", str(made.path), *changed, "-o", str(other), "-q"]) == 0
    request = framepack.inspect(other).request
    assert request is not None
    assert (request.prompt, request.seed) == ("the camera pans right", 8)
    assert not np.array_equal(frames_of(other), frames_of(made.path))
    capsys.readouterr()


def test_a_video_without_a_request_cannot_be_made_again(
    tmp_path: Path, components: Components, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _make(tmp_path, components, embed=False)
    assert main(["generate", "--from", str(made.path), "-o", str(tmp_path / "a.mp4")]) == 2
    assert "carries no request" in capsys.readouterr().err


@pytest.mark.parametrize("codec", [None, "ffv1"])
def test_sound_goes_with_the_video(
    tmp_path: Path, components: Components, codec: str | None
) -> None:
    import wave

    import av

    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(80_000, dtype="<i2").tobytes())
    made = _make(tmp_path, components, "out.mkv", audio=sound, codec=codec)
    with av.open(str(made.path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert len(frames_of(made.path)) == FRAMES


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("out.mp4", {"codec": "libx246"}, "no video encoder 'libx246'"),
        ("out.mp4", {"codec_options": "crf16"}, "has no value"),
        ("out.mp4", {"codec_options": "quality:1"}, "knows no option 'quality'"),
        ("out.mp4", {"pixel_format": "rgb24"}, "takes no pixel format rgb24"),
        ("out.webm", {"codec": "libx264"}, "does not go into .webm: .* choose another codec"),
        ("out.gif", {"codec": "ffv1"}, "has a codec of its own"),
        ("out.gif", {"fps": 60}, "at most 50 frames/s"),
        ("out.avi", {}, "ends in .avi"),
        ("out.mp4", {"codec": "none"}, "nothing else was asked for"),
        ("out.mp4", {"raw": "raw.bin"}, "ends in .bin"),
        ("out.mp4", {"frames_dir": "f", "frames_format": "tiff"}, "png or jpg, not 'tiff'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path,
    components: Components,
    name: str,
    fields: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(framepack.InvalidRequest, match=message) as raised:
        _make(folder, components, name, **fields)
    assert "\n" not in str(raised.value)
    assert not list(folder.iterdir())


def test_encoders_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codecs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"libx264", "ffv1", "libvpx-vp9"} <= {encoder["name"] for encoder in found}
    assert all(encoder["works"] for encoder in found)


def test_the_default_is_still_joined_without_encoding_again(
    tmp_path: Path, components: Components
) -> None:
    made = make_video(tmp_path, components, keep_run=True, run_dir=tmp_path / "run", **ASKED)
    assert {path.suffix for path in (tmp_path / "run" / "segments").iterdir()} == {".mp4"}
    assert len(frames_of(made.path)) == FRAMES
