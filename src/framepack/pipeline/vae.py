"""Who decodes in place of the model's own VAE, if a request asks for that.

Pictures are encoded by the model's own VAE, whoever decodes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from framepack.domain.errors import InvalidRequest, as_bad_input
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings
from framepack.models.spec import ModelSpec
from framepack.models.tiny_vae import TinyVaeLayout
from framepack.pipeline.components import Components
from framepack.pipeline.latent_space import LatentSpace
from framepack.pipeline.remote_vae import RemoteVae
from framepack.weights.hashing import HashCache
from framepack.weights.tiny_vae import load_tiny_vae, read_tiny_vae_layout
from framepack.weights.vae_request import check_vae_weights

__all__ = ["Decoder", "TinyVae", "check_vae", "open_decoder"]

_LIVE_ACTIVATIONS = 6  # of the largest, at the peak of a step


class Decoder(Protocol):
    """Turns windows of latents into frames, each on its own."""

    @property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of its weights, by what a run's record calls them."""

    def decode(self, latents: Tensor) -> Tensor:
        """[1, C, T, h, w], scaled, to [1, 3, 4*T - 3, H, W] fp32, about -1..1."""


class TinyVae:
    """The tiny VAE, on the device of the components beside which it works.

    Args:
        path: its weights.
        components: of the model; they make room for it.

    Raises:
        InvalidRequest: there is no such file, or it is made for other latents.
        CheckpointError: the file is damaged or of another layout.
    """

    def __init__(self, path: Path, components: Components) -> None:
        check_vae_weights(path)
        self._components = components
        self._network = load_tiny_vae(
            path, dtype=components.dtype_of("vae"), device=components.device
        )
        self._hashes = {f"tiny vae {path.name}": HashCache().sha256(path)}
        _check_fit(path, self._network.layout, LatentSpace.of_components(components))

    @property
    def hashes(self) -> Mapping[str, str]:
        """See :class:`Decoder`."""
        return self._hashes

    def decode(self, latents: Tensor) -> Tensor:
        """See :class:`Decoder`. Starts anew with each window, so a resumed run does the same."""
        layout = self._network.layout
        places = latents.shape[3] * latents.shape[4] * layout.spatial_stride**2
        frame_bytes = places * max(layout.widths[2:]) * self._components.dtype_of("vae").itemsize
        self._components.networks.make_working_room(
            frame_bytes * layout.temporal_stride * _LIVE_ACTIVATIONS
        )
        return self._network.decode(latents)


def check_vae(
    request: GenerationRequest, spec: ModelSpec, settings: Settings, components: Components | None
) -> None:
    """Find out before any work whether the VAE that a request names can be used.

    Args:
        request: with its VAE settled.
        spec: the model.
        settings: of this machine.
        components: of the model, if they are loaded already.

    Raises:
        InvalidRequest: the tiny VAE's weights are missing or made for other latents, or there is
            no endpoint that may be used.
        CheckpointError: the weights are damaged or of another layout.
        FramePackError: the endpoint cannot be reached, or gives what is no answer.
    """
    if request.vae == "tiny":
        assert request.vae_weights is not None, "settled requests name their weights"
        check_vae_weights(request.vae_weights)
        with as_bad_input():
            layout = read_tiny_vae_layout(request.vae_weights)
        _check_fit(request.vae_weights, layout, _space(spec, settings, components))
    elif request.vae == "remote":
        RemoteVae(settings, _space(spec, settings, components)).check()


def open_decoder(
    request: GenerationRequest, components: Components, settings: Settings | None
) -> Decoder:
    """The decoder that a request names; the components themselves are the model's own VAE.

    Args:
        request: with its VAE settled.
        components: of the model.
        settings: say where the endpoint is; read from file and environment when None.

    Raises:
        InvalidRequest: as for :func:`check_vae`.
        CheckpointError: as for :func:`check_vae`.
    """
    if request.vae == "tiny":
        assert request.vae_weights is not None, "settled requests name their weights"
        return TinyVae(request.vae_weights, components)
    if request.vae == "remote":
        return RemoteVae(settings or Settings.load(), LatentSpace.of_components(components))
    return components


def _space(spec: ModelSpec, settings: Settings, components: Components | None) -> LatentSpace:
    if components is not None:
        return LatentSpace.of_components(components)
    return LatentSpace.of_model(spec, settings)


def _check_fit(path: Path, layout: TinyVaeLayout, space: LatentSpace) -> None:
    found = layout.latent_channels, layout.spatial_stride, layout.temporal_stride
    needed = space.channels, space.spatial_stride, space.temporal_stride
    if found != needed:
        raise InvalidRequest(
            f"tiny VAE {path.name} is made for latents of {_said(*found)}, but those of this model "
            f"have {_said(*needed)}; use weights for the model's own VAE, or --vae full"
        )


def _said(channels: int, spatial_stride: int, temporal_stride: int) -> str:
    return f"{channels} channels at {spatial_stride} px and {temporal_stride} frames each"
