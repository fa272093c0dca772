"""What a video file says about itself comes back unchanged."""

import json

import av
import numpy as np
import pytest
from PIL import Image

from framepack.domain.errors import InvalidRequest
from framepack.media.metadata import (
    attach_pictures,
    dump_document,
    read_metadata,
    read_pictures,
    read_tags,
)
from framepack.media.segments import concat_segments
from framepack.media.video import probe

OURS = {"program": "framepack"}
DOCUMENT = {
    **OURS,
    "version": "0.1.0",
    "request": {"prompt": 'żółć 日本 🙂 "quoted"\n\ttab \\ \x00 end', "seed": 2**63, "shift": None},
    "numbers": [1, 2.5, 1e-9, True],
}


def picture(width=96, height=64, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def test_document_comes_back(folder, write_video):
    out = folder / "out.mp4"
    concat_segments([write_video()], out, DOCUMENT, title="Tïtle", description="two\nlines")
    assert read_metadata(out) == DOCUMENT
    tags = read_tags(out)
    assert (tags["title"], tags["description"]) == ("Tïtle", "two\nlines")
    assert json.loads(tags["comment"]) == DOCUMENT


@pytest.mark.parametrize("size", [300_000, 4_000_000])
def test_large_document_comes_back(folder, write_video, size):
    document = {**OURS, "text": "ü" * (size // 2), "end": 1}
    out = folder / "out.mp4"
    concat_segments([write_video()], out, document)
    assert read_metadata(out) == document
    assert probe(out).num_frames == 5


def test_half_a_surrogate_pair_comes_back(folder, write_video):
    out = folder / "out.mp4"
    document = {**OURS, "prompt": "caf\udce9"}
    concat_segments([write_video()], out, document)
    assert read_metadata(out) == document


def test_no_metadata_leaves_no_tag(folder, write_video):
    out = folder / "out.mp4"
    concat_segments([write_video()], out)
    assert read_metadata(out) == {}
    assert not {"comment", "title", "description"} & set(read_tags(out))


@pytest.mark.parametrize(
    "comment",
    ["made with love", "[1, 2]", "{broken", "[" * 100_000, '{"prompt": "a cat", "pictures": 3}'],
)
def test_comment_of_other_programs_is_no_document(folder, write_video, comment):
    path = folder / "other.mp4"
    with av.open(str(write_video())) as source, av.open(str(path), "w") as output:
        output.metadata["comment"] = comment
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    assert read_metadata(path) == {}


def test_document_that_json_cannot_say_is_an_error():
    with pytest.raises(ValueError, match="JSON"):
        dump_document({"x": float("nan")})


def test_pictures_come_back_pixel_for_pixel(folder, write_video):
    pictures = {"image": picture(), "end_image": picture(64, 96, seed=1)}
    document = attach_pictures(DOCUMENT, pictures)
    out = folder / "out.mp4"
    concat_segments([write_video()], out, document)
    found = read_pictures(read_metadata(out))
    assert found.keys() == pictures.keys()
    for name, image in pictures.items():
        assert found[name].size == image.size
        assert found[name].tobytes() == image.tobytes()


def test_attaching_leaves_the_document_alone():
    document = {"a": 1}
    assert attach_pictures(document, {"image": picture()}).keys() == {"a", "pictures"}
    assert document == {"a": 1}


def test_no_pictures_are_no_pictures():
    assert read_pictures({}) == {}
    assert read_pictures(attach_pictures({}, {})) == {}


@pytest.mark.parametrize(
    "damaged",
    [
        "text",
        ["list"],
        {"image": 5},
        {"image": "data:image/webp;base64,!!"},
        {"image": "data:image/webp;base64,aGVsbG8="},
        {"image": "data:image/webp;base64,"},
    ],
)
def test_damaged_pictures_are_one_clear_error(damaged):
    with pytest.raises(InvalidRequest, match=r"give .* again|give another|is needed"):
        read_pictures({"pictures": damaged})
