"""The fixed set of photographs that the embedded model is measured on, and never trained on.

They ship inside scikit-image, which the tests install; matplotlib adds a portrait where it
happens to be installed. Neither package is imported.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from framepack.domain.errors import FramePackError
from framepack.media.images import fit_image, load_image

__all__ = ["PHOTOGRAPHS", "Photograph", "load_photographs", "photograph_paths"]

PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
)
"""Files of scikit-image's data folder: people, animals, things, sky and cells."""

_PORTRAIT = "grace_hopper.jpg"

Photograph = tuple[str, Image.Image]
"""Name without suffix, and the picture as it was taken (any size, RGB)."""


def photograph_paths() -> list[Path]:
    """Find the photographs on this machine.

    Raises:
        FramePackError: scikit-image, or one of its files, is not installed.
    """
    folder = _package_folder("skimage")
    if folder is None:
        raise FramePackError(
            "the evaluation needs scikit-image's photographs, but scikit-image is not installed; "
            'run `pip install "framepack-studio[test]"`, or evaluate without photographs'
        )
    paths = [folder / "data" / name for name in PHOTOGRAPHS]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FramePackError(
            f"{folder / 'data'} lacks {', '.join(missing)}; reinstall scikit-image 0.25 or later "
            'with `pip install --force-reinstall "framepack-studio[test]"`'
        )
    other = _package_folder("matplotlib")
    portrait = other / "mpl-data" / "sample_data" / _PORTRAIT if other is not None else None
    return [*paths, portrait] if portrait is not None and portrait.is_file() else paths


def load_photographs(width: int, height: int) -> Iterator[Photograph]:
    """Yield every photograph, cropped and scaled as the pipeline fits a start picture.

    Raises:
        FramePackError: scikit-image, or one of its files, is not installed.
    """
    for path in photograph_paths():
        yield path.stem, fit_image(load_image(path), width, height)


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)  # finds without running the package's code
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None
