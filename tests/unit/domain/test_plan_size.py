"""Which size a planned video has, by its pictures or by what was asked."""

import pytest
from tests.helpers.plans import PICTURE, SMALL, plan_for

from framepack.domain.errors import InvalidRequest
from framepack.domain.geometry import ModelGeometry


@pytest.mark.parametrize(
    ("start", "end", "mode", "has_start"),
    [
        (None, None, "t2v", False),
        (PICTURE, None, "i2v", True),
        (PICTURE, PICTURE, "flf2v", True),
        (None, PICTURE, "lf2v", False),
    ],
)
def test_the_pictures_make_the_mode(
    start: tuple[int, int] | None, end: tuple[int, int] | None, mode: str, has_start: bool
) -> None:
    plan = plan_for(start, end)
    assert (plan.mode, plan.has_start) == (mode, has_start)


def test_the_start_picture_decides_the_shape() -> None:
    plan = plan_for((1920, 1080), (100, 1000))
    assert (plan.width, plan.height) == (832, 480)


def test_an_end_picture_alone_decides_the_shape() -> None:
    plan = plan_for(None, (1080, 1920))
    assert (plan.width, plan.height) == (480, 832)


def test_text_alone_takes_the_bucket_of_a_square() -> None:
    plan = plan_for()
    assert (plan.width, plan.height) == (608, 640)


def test_text_alone_at_128_is_a_square() -> None:
    plan = plan_for(geometry=SMALL, resolution=128)
    assert (plan.width, plan.height) == (128, 128)


def test_explicit_sizes_win_over_picture_and_resolution() -> None:
    plan = plan_for((1920, 1080), width=320, height=256, resolution=640)
    assert (plan.width, plan.height) == (320, 256)


@pytest.mark.parametrize(
    ("width", "height", "offer"),
    [
        (100, 128, "--width 96 --height 128"),
        (128, 16, "--width 128 --height 64"),
        (320, 64, "--width 192 --height 64"),
    ],
)
def test_an_explicit_size_that_does_not_fit_is_refused_with_the_nearest(
    width: int, height: int, offer: str
) -> None:
    with pytest.raises(InvalidRequest, match=rf"{width}x{height} px .* 64 to 192 px; .*{offer}$"):
        plan_for(geometry=SMALL, width=width, height=height)


@pytest.mark.parametrize(
    ("picture", "resolution", "size", "offer"),
    [((960, 416), 640, "960x416", 128), ((1, 1), 640, "608x640", 192), ((1, 1), 48, "48x48", 64)],
)
def test_a_resolution_out_of_range_is_refused_with_the_nearest(
    picture: tuple[int, int], resolution: int, size: str, offer: int
) -> None:
    with pytest.raises(InvalidRequest, match=rf"gives {size} px.*--resolution {offer}$"):
        plan_for(picture, geometry=SMALL, resolution=resolution)
    plan_for(picture, geometry=SMALL, resolution=offer)


def test_a_range_that_no_bucket_fits_asks_for_an_explicit_size() -> None:
    with pytest.raises(InvalidRequest, match=r"give --width and --height$"):
        plan_for((960, 416), geometry=ModelGeometry(64, 80))


def test_a_picture_without_area_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="0x10 px"):
        plan_for((0, 10))


def test_a_picture_of_unknown_size_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="picture's size"):
        plan_for(image="a.png")
