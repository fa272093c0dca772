"""The model's own VAE decodes window after window, though it may have to make room in between."""

from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor

from framepack.models.autoencoder import RawTile, StreamingDecoder, TileCounts

__all__ = ["OwnDecoder"]


class OwnDecoder:
    """Keeps the tiles that a window shares with the one before, for one video at a time.

    They are kept even while the VAE leaves the device for other networks, or is read from the
    disk again.
    """

    def __init__(self) -> None:
        self._last: tuple[int | None, tuple[RawTile, ...]] = None, ()
        self._counts = TileCounts(0, 0)

    @property
    def counts(self) -> TileCounts:
        """Temporal tiles of the last window; zeros before the first one."""
        return self._counts

    def decode(
        self, vae: AutoencoderKLHunyuanVideo, latents: Tensor, tile_px: int | None
    ) -> Tensor:
        """Decode the next window of a video.

        Args:
            vae: with the same weights and number format each time.
            latents: [1, C, T, h, w], scaled.
            tile_px: side of spatial tiles, None for whole frames; other ones than before reuse
                nothing.

        Returns:
            [1, 3, 4*T - 3, H, W] fp32 on the CPU, about -1..1.
        """
        last_px, tiles = self._last
        kept = tiles if last_px == tile_px else ()
        stream = StreamingDecoder(vae, spatial_tile_px=tile_px, kept=kept)
        pixels = stream.decode(latents)
        self._last, self._counts = (tile_px, stream.kept), stream.counts
        return pixels

    def forget(self) -> None:
        """Drop what is kept, to free its memory: the video is done."""
        self._last, self._counts = (None, ()), TileCounts(0, 0)
