"""Look into a video or sound of a stranger, in a process that may crash: ``KIND PATH PIXELS ALL``.

Leaves with 0 if it can be read, and with 2 and a line on standard output if not.
"""

import sys
from itertools import islice
from pathlib import Path

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import MAX_DURATION_S
from framepack.media.codecs import ANIMATIONS
from framepack.media.files import shown

_MEMORY_BYTES = 4_000_000_000
_CPU_S = 30
_MOST_FRAMES = 8


def main(arguments: list[str]) -> int:
    """Probe a file and say what is wrong with it."""
    kind, name, max_pixels, max_animation = arguments
    limit()
    try:
        if kind == "sound":
            check_sound(Path(name))
        else:
            check_video(Path(name), int(max_pixels), int(max_animation))
    except InvalidRequest as error:
        sys.stdout.write(" ".join(str(error).split()))
        return error.exit_code
    return 0


def limit() -> None:
    """Have the system end this process when it takes too much; Windows has no such limits."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def check_video(path: Path, max_pixels: int, max_animation: int) -> None:
    """Check the announced size and length, then decode the first frames.

    Raises:
        InvalidRequest: says what is wrong.
    """
    from framepack.media.video import probe, read_frames

    if path.suffix.lower() in ANIMATIONS:
        _check_animation(path, max_pixels, max_animation)
    info = probe(path)
    if info.width * info.height > max_pixels:
        raise InvalidRequest(
            f"video {shown(path)} has {info.width}x{info.height} pixels, at most "
            f"{max_pixels / 1e6:g} million are read; make it smaller"
        )
    if not 0 < info.duration_s <= MAX_DURATION_S:
        raise InvalidRequest(
            f"video {shown(path)} says that it has {info.duration_s:g} s; it must be more than 0 "
            f"and at most {MAX_DURATION_S}"
        )
    if not list(islice(read_frames(path), _MOST_FRAMES)):
        raise InvalidRequest(f"video {shown(path)} has no frames; give another file")


def _check_animation(path: Path, max_pixels: int, max_animation: int) -> None:
    from PIL import Image

    from framepack.media.images import image_size

    image_size(path, max_pixels=max_pixels)
    with Image.open(path) as picture:
        pixels = picture.width * picture.height * getattr(picture, "n_frames", 1)
    if pixels > max_animation:
        raise InvalidRequest(
            f"video {shown(path)} has {pixels / 1e6:.0f} million pixels in all its frames, at "
            f"most {max_animation / 1e6:.0f} million are read; send it as MP4"
        )


def check_sound(path: Path) -> None:
    """Decode the beginning.

    Raises:
        InvalidRequest: there is none, or it is damaged.
    """
    from framepack.media.audio import check_audio

    check_audio(path, Path("video.mp4"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
