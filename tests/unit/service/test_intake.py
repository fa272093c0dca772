"""Hostile files: none is taken for what it is not, none crashes or fills the server."""

import io
import os
import struct
import sys
import time
import wave
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.segments import SegmentWriter
from framepack.service.intake import Kind, check_file, check_inputs, kinds_of

PIXELS = 4_000_000


def png(size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    return buffer.getvalue()


def bomb_png(side: int = 60_000) -> bytes:
    """A few kB that announce 3.6 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000_000))
        + chunk(b"IEND", b"")
    )


def bomb_gif(side: int = 40_000) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"\x2c" + b"\0" * 100 + b"\x3b"


def bomb_text_png() -> bytes:
    """A profile that is 200 MB when it is unpacked."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    whole = png()
    profile = b"icc\0\0" + zlib.compress(b"\0" * 200_000_000, 1)
    return whole[:33] + chunk(b"iCCP", profile) + whole[33:]


def video(path: Path, num_frames: int = 12, side: int = 64) -> bytes:
    with SegmentWriter(path, fps=24, width=side, height=side) as writer:
        frames = np.random.default_rng(0).integers(0, 256, (num_frames, side, side, 3))
        writer.write(frames.astype(np.uint8))
    return path.read_bytes()


@pytest.fixture
def mp4(tmp_path: Path) -> bytes:
    return video(tmp_path / "whole.mp4")


@pytest.fixture
def sent(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes, name: str = "sent") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def said_against(path: Path, kind: Kind) -> str | None:
    """Why a file is refused, which is known soon and is one line; None where it is taken."""
    began = time.monotonic()
    try:
        check_file(path, kind, max_pixels=PIXELS)
        said = None
    except InvalidRequest as error:
        said = str(error)
    assert time.monotonic() - began < 20
    assert "\n" not in (said or "")
    return said


def refused(path: Path, kind: Kind) -> str:
    said = said_against(path, kind)
    assert said is not None
    return said


# --- What is right -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [png(), jpeg()])
def test_a_picture_is_taken(sent: Callable[..., Path], content: bytes) -> None:
    assert said_against(sent(content), "picture") is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_video_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"video{suffix}"
    video(path)

    assert said_against(path, "video") is None


def test_an_animation_is_a_video_too(tmp_path: Path) -> None:
    frames = [Image.effect_noise((64, 64), 50).convert("P") for _ in range(3)]
    path = tmp_path / "video.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)

    assert said_against(path, "video") is None


def test_a_sound_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.zeros(8000, np.int16).tobytes())

    assert said_against(path, "sound") is None


# --- What is not -------------------------------------------------------------------------------

NOTHINGS: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\xff",
    "zeros": bytes(5000),
    "noise": b"\x07" + bytes(np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8)),
    "text": b"a prompt, not a picture\n" * 50,
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "svg with xml": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///x'>]><svg/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
    "pdf": b"%PDF-1.7\n1 0 obj<</S/Launch>>endobj",
    "imagemagick": b"push graphic-context\nfill 'url(https://127.0.0.1/\"|id\")'\n",
    "zip": b"PK\x03\x04" + bytes(200),
    "gzip": b"\x1f\x8b\x08" + bytes(200),
    "elf": b"\x7fELF" + bytes(200),
    "pickle": b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "torch": b"PK\x03\x04archive/data.pkl" + bytes(200),
    "hls": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "hls with http": b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\n",
    "dash": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    "smil": b"<smil><body><video src='file:///etc/passwd'/></body></smil>",
    "reference movie": b"[Reference]\nRef1=http://127.0.0.1/x\n",
    "subtitles": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n",
    "playlist": b"[playlist]\nFile1=/etc/passwd\n",
    "y4m": b"YUV4MPEG2 W99999999 H99999999 F1:1\nFRAME\n",
}


@pytest.mark.parametrize("kind", ["picture", "video", "sound"])
@pytest.mark.parametrize("name", NOTHINGS)
def test_what_is_no_picture_video_or_sound_is_not_opened(
    sent: Callable[..., Path], name: str, kind: Kind
) -> None:
    said = refused(sent(NOTHINGS[name]), kind)

    assert "is empty" in said if name == "empty" else "is read here" in said


@pytest.mark.parametrize("kind", ["picture", "video", "sound"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, kind: Kind) -> None:
    assert "does not exist" in refused(tmp_path / "missing", kind)
    assert "is a folder" in refused(tmp_path, kind)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "device or pipe" in refused(tmp_path / "pipe", "video")


@pytest.mark.parametrize("make", [bomb_png, bomb_gif])
def test_a_picture_that_announces_too_much_is_not_decoded(
    sent: Callable[..., Path], make: Callable[[], bytes]
) -> None:
    content = make()
    assert len(content) < 100_000

    assert "at most 4 million are read" in refused(sent(content), "picture")


def test_a_profile_that_unpacks_to_much_is_no_danger(sent: Callable[..., Path]) -> None:
    path = sent(bomb_text_png())
    assert path.stat().st_size < 2_000_000

    said = said_against(path, "picture")
    assert said is None or "cannot be decoded" in said  # Pillow may pass over it


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("make", [png, jpeg])
def test_a_picture_that_ends_early_is_refused(
    sent: Callable[..., Path], make: Callable[[], bytes], share: float
) -> None:
    content = make()

    assert "picture" in refused(sent(content[: int(len(content) * share)]), "picture")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_a_video_that_ends_early_is_refused_or_read_so_far(
    sent: Callable[..., Path], mp4: bytes, share: float
) -> None:
    said = said_against(sent(mp4[: int(len(mp4) * share)], "cut.mp4"), "video")
    assert said is None or "cannot be read" in said


def test_a_video_without_its_index_is_refused(sent: Callable[..., Path], mp4: bytes) -> None:
    assert "cannot be read" in refused(sent(mp4[:200], "cut.mp4"), "video")


def test_a_head_without_a_body_is_refused(sent: Callable[..., Path], mp4: bytes) -> None:
    for number, head in enumerate((mp4[:32], b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"FLV\x01")):
        assert "cannot be read" in refused(sent(head + bytes(500), f"{number}.bin"), "video")


def test_damage_anywhere_ends_in_words(sent: Callable[..., Path], mp4: bytes) -> None:
    rng = np.random.default_rng(5)
    for number in range(6):
        damaged = np.frombuffer(mp4, np.uint8).copy()
        places = rng.integers(32, len(damaged), 40)
        damaged[places] = rng.integers(0, 256, 40)
        said = said_against(sent(damaged.tobytes(), f"{number}.mp4"), "video")
        assert said is None or "cannot be read" in said


def test_a_video_with_frames_too_large_is_refused(sent: Callable[..., Path], mp4: bytes) -> None:
    path = sent(mp4, "video.mp4")
    with pytest.raises(InvalidRequest, match="64x64 pixels, at most"):
        check_file(path, "video", max_pixels=4000)


def test_a_repeating_picture_with_too_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framepack.service.intake._ANIMATION_PIXELS", 10_000)
    path = tmp_path / "video.gif"
    frames = [Image.effect_noise((64, 64), 50).convert("P") for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=20)

    assert "in all its frames" in refused(path, "video")


def test_a_polyglot_is_what_its_first_bytes_say(sent: Callable[..., Path], mp4: bytes) -> None:
    script = b"<script>alert(1)</script>#EXTM3U\nfile:///etc/passwd\n"
    both = sent(jpeg() + b"PK\x03\x04" + script, "both.jpg")

    assert said_against(both, "picture") is None
    assert "video" not in kinds_of(both)
    assert kinds_of(sent(mp4 + script, "both.mp4")) == ("video", "sound")
    assert kinds_of(sent(script + jpeg(), "script.jpg")) == ()


def test_a_playlist_inside_a_head_of_mp4_leads_nowhere(sent: Callable[..., Path]) -> None:
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    dash = b"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' profiles='urn:mpeg:dash:profile'></MPD>"
    for number, text in enumerate((playlist, dash)):
        box = struct.pack(">I", len(text) + 8) + b"free" + text
        assert "cannot be read" in refused(sent(box, f"{number}.mp4"), "video")
        head = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
        assert "cannot be read" in refused(sent(head + box, f"{number}-ftyp.mp4"), "video")


def test_sound_without_sound_is_refused(sent: Callable[..., Path], mp4: bytes) -> None:
    assert "holds no sound" in refused(sent(mp4, "silent.mp4"), "sound")
    assert "sound" in refused(sent(b"ID3\x04" + bytes(3000), "x.mp3"), "sound")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_decoder_that_takes_too_much_is_stopped(
    sent: Callable[..., Path], mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framepack.service.intake._PROBE_S", 0.01)

    assert "takes longer" in refused(sent(mp4, "video.mp4"), "video")


def test_the_field_says_of_which_kind_a_file_must_be(sent: Callable[..., Path], mp4: bytes) -> None:
    picture, film = sent(png(), "a.png"), sent(mp4, "b.mp4")

    check_inputs({"image": picture, "section_images_0": picture}, max_pixels=PIXELS)
    check_inputs({"extend": film}, max_pixels=PIXELS)
    with pytest.raises(InvalidRequest, match="is no picture"):
        check_inputs({"image": film}, max_pixels=PIXELS)
    with pytest.raises(InvalidRequest, match="is no video"):
        check_inputs({"video": picture}, max_pixels=PIXELS)
    with pytest.raises(InvalidRequest, match="is no sound"):
        check_inputs({"audio": picture}, max_pixels=PIXELS)
