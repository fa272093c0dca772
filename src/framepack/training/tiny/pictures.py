"""Still pictures for the procedural world: seeded, generated, with photographic statistics.

The mixture matters more than any single kind. Overlapping shapes of power-law sizes ("dead
leaves") carry the edge statistics of photographs, 1/f noise carries their textures, and flat
graphics carry the hard edges that photographs lack.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Picture = NDArray[np.uint8]  # [H, W, 3]
_Rng = np.random.Generator


def spectral_noise(rng: _Rng, size: int, exponent: float, channels: int = 1) -> NDArray[np.float32]:
    """Noise with power spectrum 1/f^(2*exponent), zero mean and unit variance.

    Returns:
        [size, size, channels] float32.
    """
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    radius = np.maximum(np.hypot(fy, fx), 1.0 / size)
    shape = (channels, size, radius.shape[1])
    spectrum = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    noise = np.fft.irfft2(spectrum * radius**-exponent, s=(size, size))
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    noise /= noise.std(axis=(1, 2), keepdims=True) + 1e-8
    return noise.transpose(1, 2, 0).astype(np.float32)


def _colour(rng: _Rng) -> tuple[int, int, int]:
    """A colour whose saturation is usually moderate, as in photographs."""
    value = rng.uniform(20, 245)
    saturation = rng.beta(1.2, 2.5)
    hue = rng.uniform(0, 2 * np.pi)
    offsets = np.cos(hue - np.array([0.0, 2.1, 4.2])) * saturation * 110
    red, green, blue = np.clip(value + offsets, 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _polygon(
    rng: _Rng, centre: tuple[float, float], radius: float, corners: int
) -> list[tuple[float, float]]:
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = radius * rng.uniform(0.5, 1.0, corners)
    return [
        (float(centre[0] + r * np.cos(a)), float(centre[1] + r * np.sin(a)))
        for a, r in zip(angles, radii, strict=True)
    ]


def _draw_shape(draw: ImageDraw.ImageDraw, rng: _Rng, size: int, radius: float) -> None:
    x, y = rng.uniform(-0.1, 1.1, 2) * size
    fill = _colour(rng)
    kind = rng.integers(4)
    if kind == 0:
        aspect = rng.uniform(0.4, 1.0)
        draw.ellipse([x - radius, y - radius * aspect, x + radius, y + radius * aspect], fill=fill)
    elif kind == 1:
        aspect = rng.uniform(0.3, 1.0)
        box = [x - radius, y - radius * aspect, x + radius, y + radius * aspect]
        draw.rectangle(box, fill=fill)
    elif kind == 2:
        draw.polygon(_polygon(rng, (x, y), radius, int(rng.integers(3, 8))), fill=fill)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        dx, dy = np.cos(angle) * radius * 2, np.sin(angle) * radius * 2
        width = max(1, int(radius * rng.uniform(0.04, 0.3)))
        draw.line([x - dx, y - dy, x + dx, y + dy], fill=fill, width=width)


def _dead_leaves(rng: _Rng, size: int) -> Image.Image:
    """Occluding shapes with radii distributed as r^-3 between two limits."""
    picture = Image.new("RGB", (size, size), _colour(rng))
    draw = ImageDraw.Draw(picture)
    smallest, largest = rng.uniform(1.5, 5.0), size * rng.uniform(0.2, 0.5)
    count = int(rng.integers(60, 420))
    uniform = rng.uniform(0, 1, count)
    radii = (smallest**-2 + uniform * (largest**-2 - smallest**-2)) ** -0.5
    order = np.argsort(-radii + rng.normal(0, size * 0.05, count))
    for radius in radii[order]:
        _draw_shape(draw, rng, size, float(radius))
    return picture


def _noise_field(rng: _Rng, size: int) -> Image.Image:
    """Coloured 1/f noise, sometimes folded into bands like marble or clouds."""
    field = spectral_noise(rng, size, rng.uniform(1.2, 2.2), channels=3)
    mix = rng.normal(0, 1, (3, 3)) * 0.5 + np.ones((3, 3)) * rng.uniform(0.2, 1.0)
    field = field @ mix.astype(np.float32)
    if rng.random() < 0.4:
        field = np.sin(field * rng.uniform(1.0, 3.0)) * 1.4
    base = np.array(_colour(rng), np.float32)
    pixels = base + field * rng.uniform(15, 45)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _landscape(rng: _Rng, size: int) -> Image.Image:
    """A sky, ridges behind ridges, a sun, and upright things on the ground."""
    top, bottom = np.array(_colour(rng), float), np.array(_colour(rng), float)
    ramp = np.linspace(0, 1, size)[:, None, None]
    sky = np.broadcast_to(top + (bottom - top) * ramp, (size, size, 3))
    picture = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.6:
        x, y, r = rng.uniform(0, size), rng.uniform(0, size * 0.5), size * rng.uniform(0.04, 0.12)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=_colour(rng))
    level = rng.uniform(0.3, 0.6) * size
    columns = np.arange(0, size + 4, 4)
    for _ in range(int(rng.integers(2, 5))):
        profile = spectral_noise(rng, 64, rng.uniform(1.0, 1.8))[0, :, 0]
        heights = np.interp(columns, np.linspace(0, size, 64), profile) * size * 0.06 + level
        outline = [(float(x), float(y)) for x, y in zip(columns, heights, strict=True)]
        draw.polygon([(0, size), *outline, (size + 4, size)], fill=_colour(rng))
        level += size * rng.uniform(0.08, 0.2)
    for _ in range(int(rng.integers(0, 14))):
        x, foot = rng.uniform(0, size), rng.uniform(0.5, 1.0) * size
        width, height = size * rng.uniform(0.01, 0.12), size * rng.uniform(0.05, 0.4)
        fill = _colour(rng)
        if rng.random() < 0.5:
            draw.rectangle([x, foot - height, x + width, foot], fill=fill)
        else:
            draw.ellipse([x, foot - height, x + width * 1.5, foot], fill=fill)
    return picture


def _pattern(rng: _Rng, size: int) -> Image.Image:
    """Checks, stripes, rings or a grid, rotated, in two or three colours."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = -x * np.sin(angle) + y * np.cos(angle)
    period = rng.uniform(8, 48)
    kind = rng.integers(4)
    if kind == 0:
        index = (u // period + v // (period * rng.uniform(0.6, 1.6))) % 2
    elif kind == 1:
        index = (u // period) % 3
    elif kind == 2:
        cx, cy = rng.uniform(0, size, 2)
        index = (np.hypot(x - cx, y - cy) // period) % 2
    else:
        line = rng.uniform(0.08, 0.3) * period
        index = ((u % period) < line) | ((v % period) < line)
    palette = np.array([_colour(rng) for _ in range(3)], np.uint8)
    return Image.fromarray(palette[index.astype(int)])


def _glyphs(rng: _Rng, size: int) -> Image.Image:
    """Rows of letters on a plain ground, some of them large."""
    picture = Image.new("RGB", (size, size), _colour(rng))
    draw = ImageDraw.Draw(picture)
    letters = np.array(list("ABCDEFGHKLMNPRSTUVWXYZabdefghknqrs0123456789"))
    for _ in range(int(rng.integers(4, 24))):
        text = "".join(rng.choice(letters, int(rng.integers(1, 6))))
        font_size = float(rng.uniform(8, size * 0.4))
        x, y = rng.uniform(-0.1, 0.9, 2) * size
        draw.text((x, y), text, fill=_colour(rng), font_size=font_size)
    return picture


def _smooth(rng: _Rng, size: int) -> Image.Image:
    """Soft gradients with a few large shapes, like a portrait against a wall."""
    field = spectral_noise(rng, size, 2.6, channels=3) * rng.uniform(10, 40)
    pixels = np.array(_colour(rng), np.float32) + field
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 12))):
        _draw_shape(draw, rng, size, float(size * rng.uniform(0.03, 0.35)))
    return picture


_KINDS: tuple[tuple[float, Callable[[_Rng, int], Image.Image]], ...] = (
    (0.42, _dead_leaves),
    (0.14, _noise_field),
    (0.16, _landscape),
    (0.08, _pattern),
    (0.06, _glyphs),
    (0.14, _smooth),
)


def _finish(rng: _Rng, picture: Image.Image) -> Picture:
    """Optics and light: defocus, texture, shading, colour cast, grain."""
    size = picture.width
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5))))
    pixels = np.asarray(picture, np.float32)
    if rng.random() < 0.6:
        texture = spectral_noise(rng, size, rng.uniform(1.0, 1.7))
        mask = 1.0 if rng.random() < 0.5 else (spectral_noise(rng, size, 2.2) > 0)
        pixels = pixels * (1 + texture * mask * rng.uniform(0.02, 0.11))
    if rng.random() < 0.6:
        pixels = pixels * np.exp(spectral_noise(rng, size, 2.8) * rng.uniform(0.05, 0.35))
    if rng.random() < 0.12:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    contrast, brightness = rng.uniform(0.7, 1.25), rng.uniform(-25, 25)
    pixels = (pixels - 127.5) * contrast + 127.5 + brightness
    if rng.random() < 0.3:
        grain = rng.normal(0, rng.uniform(0.5, 2.5), pixels.shape)
        pixels = pixels + grain.astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_picture(rng: np.random.Generator, size: int) -> Picture:
    """Draw one seeded picture of the procedural world.

    Args:
        rng: source of every choice; the same state draws the same picture.
        size: side in pixels.

    Returns:
        [size, size, 3] uint8.
    """
    weights = np.array([weight for weight, _ in _KINDS])
    _, draw = _KINDS[int(rng.choice(len(_KINDS), p=weights / weights.sum()))]
    return _finish(rng, draw(rng, size))
