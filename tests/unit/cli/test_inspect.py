"""What inspect tells of a video."""

import json
from fractions import Fraction
from pathlib import Path

from framepack.cli.inspect import inspection_document, inspection_lines
from framepack.media.inspection import Inspection
from framepack.media.video import VideoInfo

INFO = VideoInfo(
    width=128,
    height=96,
    fps=Fraction(30),
    num_frames=60,
    duration_s=2.0,
    codec="h264",
    pixel_format="yuv420p",
)
DOCUMENT = {
    "program": "framepack",
    "version": "0.1.0",
    "request": {"prompt": "a \x1b[31mdog\n", "seed": 7, "image": None},
    "plan": {"mode": "i2v", "num_frames": 60, "sections": [{}, {}], "notes": ["True length."]},
    "components": {"transformer": "ab" * 32},
    "statistics": {"total_s": 8.0, "stage_s": {"denoise": 6.0}},
    "pictures": {"image": "data:image/webp;base64,AAAA"},
}


def test_lines_show_request_plan_hashes_and_statistics() -> None:
    text = "\n".join(inspection_lines(Inspection(Path("a.mp4"), INFO, DOCUMENT)))
    for part in (
        "128x96 px, 60 frames, 2.00 s at 30 fps, h264",
        "framepack 0.1.0",
        "seed    7",
        "num_sections  2",
        "True length.",
        "ab" * 32,
        "stage_s.denoise  6",
        "image  lossless",
    ):
        assert part in text
    assert "\x1b" not in text


def test_document_is_json_and_names_pictures_without_their_contents() -> None:
    document = inspection_document(Inspection(Path("a.mp4"), INFO, DOCUMENT))
    assert "AAAA" not in json.dumps(document)
    assert document["pictures"] == ["image"]
    assert document["is_framepack"] is True
    assert document["video"]["num_frames"] == 60
    assert document["request"]["seed"] == 7


def test_a_video_of_another_program_is_said_to_be_one() -> None:
    found = Inspection(Path("a.mp4"), INFO, {})
    assert "carries no FramePack request" in inspection_lines(found)[-1]
    assert inspection_document(found)["is_framepack"] is False


def test_a_document_of_unexpected_shape_is_shown_as_far_as_it_goes() -> None:
    odd: dict[str, object] = {
        "program": "framepack",
        "request": [],
        "plan": {"sections": 3},
        "pictures": None,
    }
    assert inspection_lines(Inspection(Path("a.mp4"), INFO, odd))


def test_a_clip_tells_what_was_done_to_which_videos() -> None:
    clip = {"edit": {"speed": 2.0}, "sources": [{"name": "a.mp4"}, {"name": "b.mp4"}]}
    document = {"program": "framepack", "version": "0.1.0", "clip": clip}
    text = "\n".join(inspection_lines(Inspection(Path("c.mp4"), INFO, document)))
    assert "videos  a.mp4, b.mp4" in text
    assert "speed   2" in text
