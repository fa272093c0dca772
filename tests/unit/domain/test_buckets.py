"""Trained picture sizes against the official table."""

import json
from pathlib import Path

import pytest

from framepack.domain.buckets import BUCKETS, bucket_size, nearest_bucket
from framepack.domain.errors import InvalidRequest

GOLDEN = Path(__file__).parents[2] / "parity" / "golden" / "official.json"


def test_every_golden_picture_gets_the_official_bucket() -> None:
    cases = json.loads(GOLDEN.read_text())["buckets"]
    ours = [list(nearest_bucket(case["w"], case["h"])) for case in cases]
    assert len(cases) > 60
    assert ours == [case["bucket"][::-1] for case in cases]


def test_a_square_picture_takes_the_taller_bucket() -> None:
    assert nearest_bucket(500, 500) == (608, 640)


def test_size_class_640_is_the_table_itself() -> None:
    assert [bucket_size(*bucket, 640) for bucket in BUCKETS] == list(BUCKETS)


@pytest.mark.parametrize(
    ("picture", "resolution", "size"),
    [
        ((1, 1), 128, (128, 128)),  # 608 * 0.2 = 121.6, 7.6 multiples
        ((832, 480), 128, (160, 96)),  # 166.4 and 96
        ((960, 416), 240, (352, 160)),  # 360 is 22.5 multiples, half to even; 156
        ((832, 480), 320, (416, 240)),
        ((480, 832), 1088, (816, 1408)),  # 1414.4 is 88.4 multiples
        ((960, 416), 16, (32, 16)),  # 24 is 1.5 multiples; never 0
    ],
)
def test_other_size_classes_scale_the_table(
    picture: tuple[int, int], resolution: int, size: tuple[int, int]
) -> None:
    assert bucket_size(*picture, resolution) == size


@pytest.mark.parametrize("bucket", BUCKETS)
def test_every_size_class_gives_multiples_of_16_of_the_same_shape(bucket: tuple[int, int]) -> None:
    for resolution in range(240, 1089, 16):
        width, height = bucket_size(*bucket, resolution)
        assert width % 16 == height % 16 == 0
        assert width * bucket[1] / (height * bucket[0]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 5)])
def test_a_picture_without_area_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="at least 1 px"):
        nearest_bucket(*size)
