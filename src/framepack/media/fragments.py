"""Fragmented MP4: parts of a video that play as soon as they exist.

An initialisation segment says how to decode; each media segment holds some frames and the time
of its first one, so segments are made in any order and play in the order of their times. Packets
of H.264 are moved, no frame is encoded again.

Frames are decoded in another order than shown. A segment's decoding times are one frame apart
from the time of its first frame on, so segments neither overlap nor leave a gap; frames are shown
some frames after that, as their composition offsets say, and an edit list takes this delay back.

Source: ISO/IEC 14496-12 (movie fragments, edit lists), 14496-15 (avcC), RFC 6381 (codecs).
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from framepack.domain.errors import WorkspaceError
from framepack.media.files import open_video, shown

__all__ = [
    "FILE_TYPE",
    "Span",
    "decoder_name",
    "frame_ticks",
    "free_box",
    "init_segment",
    "is_copied",
    "media_segments",
    "moved",
    "movie_box",
    "spans_of",
    "timescale",
]

_KEY, _OTHER = 0x02000000, 0x01010000  # sample flags: depends on nothing; on others, no sync sample
_HAS_SIGNED_OFFSETS = 1
_DELAY = 2  # frames; x264 needs no more, and offsets may be below 0 for encoders that do
_FINEST_TICKS = 1000


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


FILE_TYPE = _box(b"ftyp", b"iso6", bytes(4), b"iso6cmfcmp41")
"""The box that begins every file, whatever is in it."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some frames of a file that can be played without those before them.

    Attributes:
        first_frame: place of the first one in the file.
        num_frames: how many.
    """

    first_frame: int
    num_frames: int


@dataclass(frozen=True, slots=True)
class _Packet:
    """A packet: its place in play order, its size in bytes, whether decoding may begin here."""

    position: int
    size: int
    is_key: bool


def timescale(fps: Fraction) -> int:
    """Ticks per second, in which every frame lasts a whole number of ticks."""
    return fps.numerator * frame_ticks(fps) // fps.denominator


def frame_ticks(fps: Fraction) -> int:
    """Ticks that a frame lasts."""
    return fps.denominator * -(-_FINEST_TICKS // fps.numerator)


def is_copied(path: Path) -> bool:
    """Whether a file's packets go into fragments as they are: H.264 that every browser plays."""
    with open_video(path, error=WorkspaceError) as (_, stream):
        codec = stream.codec_context
        is_plain = codec.name == "h264" and codec.pix_fmt == "yuv420p"
        return is_plain and _parameters(stream)[:1] == b"\1"  # avcC, not start codes


def init_segment(path: Path, fps: Fraction) -> bytes:
    """The initialisation segment for a file's packets and those of files like it.

    Args:
        path: a file of H.264.
        fps: frames per second.

    Raises:
        WorkspaceError: the file is missing or damaged.
    """
    buffer = io.BytesIO()
    options = {
        "movflags": "+empty_moov+default_base_moof+skip_trailer+frag_custom",
        "use_editlist": "0",
        "video_track_timescale": str(timescale(fps)),
    }
    with (
        open_video(path, error=WorkspaceError) as (_, template),
        av.open(buffer, "w", format="mp4", options=options) as output,
    ):
        stream = output.add_stream_from_template(template)
        stream.time_base = Fraction(1, timescale(fps))
        output.start_encoding()
    return FILE_TYPE + _delayed(movie_box(buffer.getvalue()), _DELAY * frame_ticks(fps))


def movie_box(init: bytes) -> bytes:
    """What an initialisation segment says, without the box that begins a file."""
    start = init.index(b"moov") - 4
    return init[start : start + int.from_bytes(init[start : start + 4])]


def decoder_name(init: bytes) -> str:
    """What an initialisation segment needs for decoding, such as "avc1.64001e" (RFC 6381)."""
    profile = init[init.index(b"avcC") + 5 :][:3]
    return f"avc1.{profile.hex()}"


def free_box(size: int = 8) -> bytes:
    """So many bytes, 8 or more, that say nothing: they may stand between any two boxes."""
    return _box(b"free", bytes(size - 8))


def spans_of(path: Path, fps: Fraction, *, least_s: float = 4.0) -> tuple[Span, ...]:
    """Where a file of H.264 can be cut, each part as short as can be but for the last.

    Args:
        path: the file.
        fps: its frames per second, constant.
        least_s: seconds a part lasts at least, if the file does.

    Raises:
        WorkspaceError: the file is damaged, or its frame rate is not constant.
    """
    with open_video(path, error=WorkspaceError) as (container, stream):
        packets = [
            _Packet(int(packet.pts), packet.size, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
        tick = (stream.time_base or Fraction(1)) * fps
    packets = _placed(packets, tick, path)
    starts = [0]
    last_shown = -1
    for order, packet in enumerate(packets):
        # Where all frames before come first in either order, decoding can begin.
        is_cut = packet.is_key and packet.position == order and last_shown == order - 1
        if is_cut and order - starts[-1] >= least_s * fps:
            starts.append(order)
        last_shown = max(last_shown, packet.position)
    ends = [*starts[1:], len(packets)]
    return tuple(Span(start, end - start) for start, end in zip(starts, ends, strict=True))


def media_segments(
    path: Path, spans: Sequence[Span], fps: Fraction, *, first_frame: int, init: bytes
) -> Iterator[bytes]:
    """A file's media segments, one for each span, in play order.

    Args:
        path: a file of H.264.
        spans: from :func:`spans_of`.
        fps: its frames per second.
        first_frame: place in the video of the file's first frame, 0 or more.
        init: the initialisation segment that they are to follow.

    Raises:
        WorkspaceError: the file is damaged, or cannot be decoded as ``init`` says.
    """
    with open_video(path, error=WorkspaceError) as (container, stream):
        if _parameters(stream) not in init:
            raise WorkspaceError(
                f"{shown(path)} was encoded with other settings than the parts before it, and does "
                "not continue them; render it again with the same settings"
            )
        tick = (stream.time_base or Fraction(1)) * fps
        packets: list[_Packet] = []
        data: list[bytes] = []
        sizes = iter(span.num_frames for span in spans)
        wanted = next(sizes)
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            packets.append(_Packet(int(packet.pts), packet.size, packet.is_keyframe))
            data.append(bytes(packet))
            if len(packets) == wanted:
                yield _media_segment(_placed(packets, tick, path), data, fps, first_frame)
                first_frame += wanted
                packets, data, wanted = [], [], next(sizes, 0)


def moved(segment: bytes, num_frames: int, fps: Fraction) -> bytes:
    """The media segment at another time.

    Args:
        segment: from :func:`media_segments`.
        num_frames: by how much later.
        fps: frames per second.
    """
    place = segment.index(b"tfdt") + 8
    time = int.from_bytes(segment[place : place + 8]) + num_frames * frame_ticks(fps)
    return segment[:place] + struct.pack(">Q", time) + segment[place + 8 :]


def _delayed(movie: bytes, ticks: int) -> bytes:
    """The movie box with an edit list: what has this time is shown at 0."""
    edit = _box(b"edts", _full_box(b"elst", 0, 0, struct.pack(">IIiHH", 1, 0, ticks, 1, 0)))
    header = movie.index(b"tkhd") - 4
    place = header + int.from_bytes(movie[header : header + 4])
    longer = bytearray(movie[:place] + edit + movie[place:])
    for kind in (b"moov", b"trak"):  # both now hold more
        start = longer.index(kind) - 4
        size = int.from_bytes(longer[start : start + 4]) + len(edit)
        longer[start : start + 4] = struct.pack(">I", size)
    return bytes(longer)


def _parameters(stream: VideoStream) -> bytes:
    """What a decoder must know before the first frame."""
    return stream.codec_context.extradata or b""


def _placed(packets: list[_Packet], tick: Fraction, path: Path) -> list[_Packet]:
    """The packets with their places in play order, 0 for the first."""
    # Other containers do not begin at 0, and round times: from one frame to the next it shows not.
    start = min((packet.position for packet in packets), default=0)
    placed = [
        _Packet(round((packet.position - start) * tick), packet.size, packet.is_key)
        for packet in packets
    ]
    is_whole = sorted(packet.position for packet in placed) == list(range(len(placed)))
    if not placed or not is_whole or not placed[0].is_key:
        raise WorkspaceError(
            f"{shown(path)} has no constant frame rate from a key frame on; render it again"
        )
    return placed


def _media_segment(
    packets: list[_Packet], data: list[bytes], fps: Fraction, first_frame: int
) -> bytes:
    ticks = frame_ticks(fps)
    samples = b"".join(
        struct.pack(
            ">IIi",
            packet.size,
            _KEY if packet.is_key else _OTHER,
            (packet.position - order + _DELAY) * ticks,
        )
        for order, packet in enumerate(packets)
    )
    # In the track's header: the fragment is its own base (0x20000), one duration for all (0x8).
    head = _full_box(b"tfhd", 0, 0x020008, struct.pack(">II", 1, ticks))
    time = _full_box(b"tfdt", 1, 0, struct.pack(">Q", first_frame * ticks))

    def fragment(data_offset: int) -> bytes:
        # Each sample has a size (0x200), flags (0x400) and an offset of its time (0x800).
        counts = struct.pack(">Ii", len(packets), data_offset)
        run = _full_box(b"trun", _HAS_SIGNED_OFFSETS, 0x0E01, counts, samples)
        number = _full_box(b"mfhd", 0, 0, struct.pack(">I", first_frame + 1))
        return _box(b"moof", number, _box(b"traf", head, time, run))

    size = len(fragment(0))
    return fragment(size + 8) + _box(b"mdat", *data)
