"""Load pictures that people bring, fit them to the video, turn them into tensors and back.

Shape letters (docs/notation.md): B batch, T frames, H W size in pixels.
"""

import io
import logging
import struct
import warnings
import zlib
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from framepack.domain.errors import InvalidRequest
from framepack.media.files import StrPath, check_readable, shown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "black",
    "fit_image",
    "image_size",
    "load_image",
    "load_image_bytes",
    "to_frames",
    "to_tensor",
]

logger = logging.getLogger(__name__)

MAX_PIXELS = 128_000_000
"""Largest picture we decode, in pixels: above today's cameras, below 400 MB of memory."""

MIN_SIDE = 16
"""Shortest side of an input picture, in pixels: one token of the packed transformer."""

# Formats that Pillow reads by itself. EPS is left out: Pillow hands it to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO", "JPEG2000", "PPM", "TGA")

# What Pillow's decoders raise on damaged files (its documentation names only OSError).
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(
    path: StrPath, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE
) -> Image.Image:
    """Load a picture as people see it: 8-bit sRGB, upright, without transparency.

    EXIF orientation is applied, transparency is laid on white (as paper and most viewers
    show it), an embedded colour profile is converted to sRGB, 16-bit grey is reduced to 8
    bits, and of an animation the first frame is taken.

    Args:
        path: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PPM or TGA.
        max_pixels: refuse more pixels than this before decoding.
        min_side: refuse a shorter side than this, in pixels.

    Returns:
        A picture of mode RGB.

    Raises:
        InvalidRequest: missing, unreadable, damaged, too large or too small.
    """
    path = check_readable(path, "picture")
    with path.open("rb") as file:
        return _decode(file, shown(path), max_pixels, min_side)


def load_image_bytes(
    data: bytes, name: str = "upload", *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE
) -> Image.Image:
    """:func:`load_image` for a picture in memory; ``name`` is what errors call it."""
    if not data:
        raise InvalidRequest(f"picture {shown(name)} is empty (0 bytes); give another one")
    return _decode(io.BytesIO(data), shown(name), max_pixels, min_side)


def image_size(
    path: StrPath, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE
) -> tuple[int, int]:
    """Width and height in pixels as :func:`load_image` will give them.

    The whole file is decoded once (JPEG at an eighth of its size), so a damaged picture is
    refused here, before any weights load.

    Raises:
        InvalidRequest: as for :func:`load_image`.
    """
    path = check_readable(path, "picture")
    try:
        with path.open("rb") as file, _opened(file, shown(path), max_pixels, min_side) as image:
            width, height = image.size
            image.draft(None, (width // 8, height // 8))
            image.load()
            return (height, width) if _orientation(image) >= 5 else (width, height)
    except _DECODE_ERRORS as error:
        raise _damaged(shown(path), error) from error


def fit_image(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scale a picture until it covers ``width`` x ``height`` and cut its centre out.

    Lanczos, the scaled size rounded to whole pixels, and crop edges on half pixels rounded
    half to even. A picture that has the size already comes back untouched.

    Source: resize_and_center_crop of the official implementation.
    """
    if image.size == (width, height):
        return image
    scale = max(width / image.width, height / image.height)
    if image.width * image.height * scale**2 > MAX_PIXELS:  # a needle; all of it would not fit
        image = _without_far_ends(image, width, height, scale)
    cover = (round(image.width * scale), round(image.height * scale))
    left, top = (cover[0] - width) / 2, (cover[1] - height) / 2
    # round() before crop(): the same edges for odd differences whatever Pillow does to floats
    box = (round(left), round(top), round(left + width), round(top + height))
    return image.resize(cover, Image.Resampling.LANCZOS).crop(box)


def black(width: int, height: int) -> Image.Image:
    """The black picture that anchors a video made from text alone."""
    return Image.new("RGB", (width, height))


def to_tensor(image: Image.Image) -> "Tensor":
    """Turn an RGB picture into pixels.

    Returns:
        [1, 3, H, W], fp32 on the CPU, -1 to 1 (``uint8 / 127.5 - 1``).
    """
    import torch

    pixels = torch.from_numpy(np.array(image.convert("RGB"))).float() / 127.5 - 1.0
    return pixels.permute(2, 0, 1).unsqueeze(0).contiguous()


def to_frames(pixels: "Tensor") -> npt.NDArray[np.uint8]:
    """Turn decoded pixels into frames to write.

    Args:
        pixels: [3, T, H, W] or [1, 3, T, H, W] on any device, -1 to 1; more is clamped.

    Returns:
        [T, H, W, 3], uint8; the fraction is cut off, not rounded, as the official code does.

    Source: save_bcthw_as_mp4 of the official implementation.
    """
    import torch

    if pixels.ndim == 5 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim != 4 or pixels.shape[0] != 3:
        raise ValueError(f"pixels are {list(pixels.shape)}, [3, T, H, W] is needed")
    scaled = pixels.detach().float().clamp(-1.0, 1.0) * 127.5 + 127.5
    frames = scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return np.asarray(frames, dtype=np.uint8)


def _decode(file: IO[bytes], name: str, max_pixels: int, min_side: int) -> Image.Image:
    try:
        with _opened(file, name, max_pixels, min_side) as image:
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
            return _as_srgb(image if turn is None else image.transpose(turn))
    except _DECODE_ERRORS as error:
        raise _damaged(name, error) from error


def _opened(file: IO[bytes], name: str, max_pixels: int, min_side: int) -> Image.Image:
    """Read the header and refuse pictures we will not decode."""
    Image.init()
    formats = [known for known in _FORMATS if known in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit decides
            image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far too many", max_pixels) from error
    except UnidentifiedImageError as error:
        raise InvalidRequest(
            f"picture {name} is damaged or no picture; JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF "
            "is needed"
        ) from error
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(name, f"{width}x{height}", max_pixels)
    if min(width, height) < min_side:
        raise InvalidRequest(
            f"picture {name} is {width}x{height} pixels, at least {min_side} on each side are "
            "needed; give a larger picture"
        )
    if image.mode == "F":
        raise InvalidRequest(
            f"picture {name} stores floating-point pixels, 8 or 16 bits are needed; "
            "save it as PNG or JPEG"
        )
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. Ask after load(): the TIFF reader turns the picture itself."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODE_ERRORS as error:
        logger.info("EXIF ignored: %s", error)  # the pixels are still good
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _as_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16 bits of grey; convert() would clip at 255
        grey = np.asarray(image).astype(np.float64) / 257.0
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        image = Image.alpha_composite(paper, picture).convert("RGB")
    if profile and image.mode in ("RGB", "CMYK"):
        return _convert_profile(image, profile)
    return image.convert("RGB")


def _convert_profile(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        logger.info("colour profile ignored: %s", error)  # the pixels are still good
        return image.convert("RGB")
    return converted if converted is not None else image.convert("RGB")


def _without_far_ends(image: Image.Image, width: int, height: int, scale: float) -> Image.Image:
    """Cut what the fitted picture cannot show, evenly, but for 8 pixels that Lanczos sees."""
    off_x = max(0, int((image.width - width / scale) / 2) - 8)
    off_y = max(0, int((image.height - height / scale) / 2) - 8)
    return image.crop((off_x, off_y, image.width - off_x, image.height - off_y))


def _too_large(name: str, size: str, max_pixels: int) -> InvalidRequest:
    return InvalidRequest(
        f"picture {name} has {size} pixels, at most {max_pixels / 1e6:g} million are read; "
        "make it smaller"
    )


def _damaged(name: str, error: BaseException) -> InvalidRequest:
    detail = " ".join(str(error).split()) or type(error).__name__
    return InvalidRequest(f"picture {name} cannot be decoded ({detail}); the file is damaged")
