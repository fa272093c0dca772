"""Show a section while it takes shape: its latent frames as colours, side by side."""

import logging
import time
from pathlib import Path

from PIL import Image

from framepack.domain.errors import WorkspaceError
from framepack.media.files import atomic_file
from framepack.models.autoencoder import LatentPreview
from framepack.sampling.solvers import StepState

__all__ = ["PreviewWriter"]

logger = logging.getLogger(__name__)

_INTERVAL_S = 0.5  # people see no more, and fast steps would be slowed down


class PreviewWriter:
    """Keep one small picture up to date, at most twice a second.

    Args:
        path: the picture, WebP; replaced in one step, so a reader never sees half of it.
        colours: the map from latents to colours; None where the model has none.
    """

    def __init__(self, path: Path, colours: LatentPreview | None) -> None:
        self._path = path
        self._colours = colours
        self._written_s = float("-inf")

    def show(self, state: StepState) -> str | None:
        """Write the picture if it is time; return its path if it was written."""
        now = time.monotonic()
        if self._colours is None or now - self._written_s < _INTERVAL_S:
            return None
        strip = Image.fromarray(self._colours.strip(state.x0))
        self._written_s = now
        try:
            with atomic_file(self._path) as part:
                strip.save(part, "WEBP", quality=80)
        except WorkspaceError as error:  # a viewer holds it open, say: no reason to end a run
            logger.warning("no preview: %s", error)
            return None
        return str(self._path)
