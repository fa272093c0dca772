"""Any picture people bring becomes upright sRGB, or one clear line before work starts."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, features

from framepack.domain.errors import InvalidRequest
from framepack.media.images import (
    black,
    fit_image,
    image_size,
    load_image,
    load_image_bytes,
    to_frames,
    to_tensor,
)

SUFFIXES = ["jpg", "png", "webp", "gif", "bmp", "tiff", "ppm", "tga"]


def corners(width=64, height=48):
    """Red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    return Image.fromarray(pixels)


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def near(image, position, colour, tolerance=12):
    return np.abs(np.subtract(image.getpixel(position), colour)).max() <= tolerance


@pytest.mark.parametrize("suffix", [*SUFFIXES, "avif", "jp2"])
def test_every_format_is_read(folder, suffix):
    needed = {"avif": "avif", "jp2": "jpg_2000"}.get(suffix)
    if needed and not features.check(needed):
        pytest.skip(f"Pillow is built without {needed}")
    path = folder / f"picture.{suffix}"
    corners().save(path)
    image = load_image(path)
    assert (image.mode, image.size, image_size(path)) == ("RGB", (64, 48), (64, 48))
    assert near(image, (8, 8), (255, 0, 0))
    assert near(image, (56, 8), (0, 255, 0))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_stands_upright(folder, suffix, orientation):
    """The stored pixels are turned so that the tag turns them back."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners() if orientation == 1 else corners().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / f"turned.{suffix}"
    stored.save(path, exif=exif)
    image = load_image(path)
    assert image_size(path) == image.size == (64, 48)
    for position, colour in (((8, 8), (255, 0, 0)), ((56, 8), (0, 255, 0)), ((8, 40), (0, 0, 255))):
        assert near(image, position, colour)


def with_palette_transparency():
    image = Image.new("P", (32, 32))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (16, 0, 32, 32))
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    "transparent",
    [
        Image.new("RGBA", (32, 32), (255, 0, 0, 0)),
        Image.new("LA", (32, 32), (0, 0)),
        with_palette_transparency(),
    ],
    ids=["RGBA", "LA", "P"],
)
def test_transparent_parts_become_white(folder, transparent):
    path = folder / "picture.png"
    transparent.save(path)
    assert load_image(path).getpixel((4, 4)) == (255, 255, 255)


def test_half_transparent_parts_mix_with_white(folder):
    Image.new("RGBA", (32, 32), (0, 0, 0, 128)).save(folder / "half.png")
    assert load_image(folder / "half.png").getpixel((4, 4)) == (127, 127, 127)


def test_sixteen_bit_grey_keeps_its_brightness(folder):
    ramp = np.linspace(0, 65535, 32).astype(np.uint16)
    Image.fromarray(np.tile(ramp, (32, 1))).save(folder / "grey.png")
    row = np.asarray(load_image(folder / "grey.png"))[0, :, 0]
    assert np.array_equal(row, np.round(ramp / 257.0).astype(np.uint8))


def test_cmyk_becomes_rgb(folder):
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(folder / "print.jpg", quality=95)
    assert near(load_image(folder / "print.jpg"), (4, 4), (255, 0, 0))


def test_animation_gives_its_first_frame(folder):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png"):
        path = folder / f"animation.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        assert near(load_image(path), (4, 4), (255, 0, 0))


def profile_with_red_and_green_swapped():
    """sRGB's own profile under another name, its red and green primaries exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ") + 4, profile.index(b"gXYZ") + 4  # offset and size follow
    profile[red : red + 8], profile[green : green + 8] = (
        profile[green : green + 8],
        profile[red : red + 8],
    )
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_embedded_profile_is_converted(folder):
    path = folder / "swapped.png"
    profile = profile_with_red_and_green_swapped()
    Image.new("RGB", (32, 32), (200, 90, 30)).save(path, icc_profile=profile)
    assert near(load_image(path), (4, 4), (90, 200, 30), tolerance=2)


def test_profile_that_does_not_fit_is_ignored(folder):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (lab, srgb, b"junk" * 50):
        path = folder / "picture.png"
        Image.new("RGB", (32, 32), (200, 90, 30)).save(path, icc_profile=profile)
        assert load_image(path).getpixel((4, 4)) == (200, 90, 30)


@pytest.mark.parametrize("load", [load_image, image_size])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("folder", "is a folder"),
        (b"", "is empty"),
        (b"hello, this is text", "damaged or no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "damaged or no picture"),
    ],
    ids=["missing", "folder", "empty", "text", "eps"],
)
def test_unreadable_picture_is_one_clear_line(folder, load, content, message):
    path = folder / "picture.jpg"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert "picture.jpg" in str(caught.value)


def test_path_no_file_system_knows_is_one_clear_line():
    for path in ("x\0y.png", "x" * 5000 + ".png"):
        with pytest.raises(InvalidRequest, match="cannot be read") as caught:
            load_image(path)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["two\nlines.png", "caf\udce9.png", "\x1b[31mred.png"])
def test_odd_name_makes_one_printable_line(folder, name):
    with pytest.raises(InvalidRequest, match="does not exist") as caught:
        load_image(folder / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("load", [load_image, image_size])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_cut_off_picture_is_refused(folder, load, suffix):
    path = folder / f"cut.{suffix}"
    noise(96, 96).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidRequest, match="damaged"):
        load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_bytes_never_raise_anything_else(folder, suffix):
    buffer = io.BytesIO()
    noise(40, 40).save(buffer, Image.registered_extensions()[f".{suffix}"])
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(60):
        data = bytearray(buffer.getvalue())
        for position in rng.integers(0, min(len(data), 400), 6):
            data[position] = rng.integers(0, 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow mentions odd tags
            try:
                outcomes.append(load_image_bytes(bytes(data), max_pixels=10**6).mode)
            except InvalidRequest as error:
                outcomes.append(str(error))
    assert len(outcomes) == 60
    assert not any("\n" in outcome for outcome in outcomes)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
@pytest.mark.parametrize("load", [load_image, image_size])
def test_tiny_picture_is_refused(folder, load, size):
    Image.new("RGB", size).save(folder / "tiny.png")
    with pytest.raises(InvalidRequest, match="at least 16"):
        load(folder / "tiny.png")


@pytest.mark.parametrize("load", [load_image, image_size])
def test_more_pixels_than_allowed_are_refused(folder, load):
    Image.new("RGB", (64, 64)).save(folder / "large.png")
    assert load(folder / "large.png", max_pixels=4096)
    with pytest.raises(InvalidRequest, match=r"64x64 pixels, at most 0\.004095 million"):
        load(folder / "large.png", max_pixels=4095)


@pytest.mark.parametrize("side", [12_000, 40_000])
def test_decompression_bomb_is_refused_from_its_header(folder, side):
    """144 million pixels are past our limit, 1600 million past Pillow's own."""
    path = folder / "bomb.png"
    Image.new("1", (32, 32)).save(path)
    header = struct.pack(">4sIIBBBBB", b"IHDR", side, side, 1, 0, 0, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    with pytest.raises(InvalidRequest, match="at most 128 million"):
        load_image(path)


def test_floating_point_picture_is_refused(folder):
    Image.new("F", (32, 32)).save(folder / "float.tiff")
    with pytest.raises(InvalidRequest, match="floating-point"):
        load_image(folder / "float.tiff")


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (640, 64), (17, 300), (128, 128)])
@pytest.mark.parametrize("target", [(64, 64), (96, 64), (64, 112)])
def test_fitted_picture_has_the_size_and_the_centre(size, target):
    image = Image.new("RGB", size, "red")
    middle = (size[0] // 2, size[1] // 2)
    image.paste("blue", (middle[0] - 4, middle[1] - 4, middle[0] + 4, middle[1] + 4))
    fitted = fit_image(image, *target)
    assert fitted.size == target
    assert fitted.getpixel((target[0] // 2, target[1] // 2)) == (0, 0, 255)


def test_fit_cuts_the_longer_side_evenly():
    """96x48 to 64x48: scale 1, 16 columns off each side."""
    image = noise(96, 48)
    assert fit_image(image, 64, 48).tobytes() == image.crop((16, 0, 80, 48)).tobytes()


def test_fit_rounds_half_pixels_to_even():
    """67x48 to 64x48: the cut starts at 1.5, which is 2; 65x48: at 0.5, which is 0."""
    image = noise(67, 48)
    assert fit_image(image, 64, 48).tobytes() == image.crop((2, 0, 66, 48)).tobytes()
    image = noise(65, 48)
    assert fit_image(image, 64, 48).tobytes() == image.crop((0, 0, 64, 48)).tobytes()


def test_fit_scales_with_lanczos_to_cover():
    """100x50 to 32x32: scale .64, cover 64x32."""
    image = noise(100, 50)
    cover = image.resize((64, 32), Image.Resampling.LANCZOS)
    assert fit_image(image, 32, 32).tobytes() == cover.crop((16, 0, 48, 32)).tobytes()


def test_fitting_picture_is_untouched():
    image = noise(64, 48)
    assert fit_image(image, 64, 48) is image


def test_needle_is_fitted_without_its_whole_cover():
    """16x40000 to 640x640 would cover 1.6 million rows; the centre matches a short needle."""
    needle = Image.new("RGB", (16, 40_000), "red")
    needle.paste(noise(16, 64), (0, 19_968))
    fitted = fit_image(needle, 640, 640)
    expected = fit_image(needle.crop((0, 19_000, 16, 21_000)), 640, 640)
    assert np.abs(np.subtract(fitted, expected, dtype=int)).max() <= 1


def test_tensor_runs_from_minus_one_to_one():
    pixels = to_tensor(Image.fromarray(np.array([[[0, 127, 255]] * 3] * 2, np.uint8)))
    assert (pixels.shape, pixels.dtype) == ((1, 3, 2, 3), torch.float32)
    expected = torch.tensor([0.0, 127.0, 255.0]) / 127.5 - 1
    assert torch.equal(pixels[0, :, 1, 2], expected)


def test_frames_are_truncated_and_clamped():
    values = torch.tensor([-9.0, -1.0, 0.0, 0.999, 1.0, 9.0])  # 0.999 is 254.87
    frames = to_frames(values.reshape(1, 1, 1, 6).repeat(3, 2, 1, 1))
    assert frames.dtype == np.uint8
    assert frames.shape == (2, 1, 6, 3)
    assert frames[1, 0, :, 2].tolist() == [0, 0, 127, 254, 255, 255]


def test_frames_keep_axes_in_order():
    pixels = torch.rand(1, 3, 4, 5, 6) * 2 - 1
    frames = to_frames(pixels.to(torch.bfloat16))
    assert frames.shape == (4, 5, 6, 3)
    expected = int(pixels.to(torch.bfloat16).float()[0, 1, 2, 3, 4] * 127.5 + 127.5)
    assert frames[2, 3, 4, 1] == expected


def test_picture_survives_the_way_to_frames_within_one_step():
    """The official truncation may lose a step; it never loses two."""
    image = noise(64, 48)
    back = to_frames(to_tensor(image).unsqueeze(2))[0]
    difference = np.subtract(image, back, dtype=int)
    assert difference.min() >= 0
    assert difference.max() <= 1


def test_frames_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[3, T, H, W\]"):
        to_frames(torch.zeros(2, 3, 1, 8, 8))


def test_black_is_black():
    assert black(32, 16).size == (32, 16)
    assert black(32, 16).getextrema() == ((0, 0),) * 3
