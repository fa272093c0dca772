"""Decode at an endpoint, by the protocol of diffusers' ``remote_decode``.

Latents go to the configured address and nowhere else: redirections are not followed. A window
is sent whole, with the sections it overlaps, so its frames are those that the same VAE would give
here.
"""

import json
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import torch
from torch import Tensor

from framepack.domain.errors import FramePackError
from framepack.domain.settings import Settings
from framepack.pipeline.latent_space import LatentSpace
from framepack.weights.vae_request import vae_endpoint

__all__ = ["RemoteVae"]

logger = logging.getLogger(__name__)

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_WAIT_S = 60.0
_PASSING = (429, 502, 503, 504)
"""Answers of endpoints that are busy or still starting."""
_INTERRUPTED = (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ConnectTimeout)
_LONGEST_ERROR = 200
_TRIAL_SIDE = 8
_WAY_OUT = "or use --vae full"


class RemoteVae:
    """A VAE behind HTTP.

    Args:
        settings: endpoint, key and patience.
        space: what latents and frames must be like.

    Raises:
        InvalidRequest: no endpoint is set, or it may not be used.
    """

    def __init__(self, settings: Settings, space: LatentSpace) -> None:
        self._url = vae_endpoint(settings)
        self._key = settings.remote_vae_api_key
        self._timeout_s = settings.remote_vae_timeout_s
        self._space = space

    @property
    def hashes(self) -> Mapping[str, str]:
        """Nothing is known of the weights there."""
        return {}

    def check(self) -> None:
        """Have one small grey picture decoded, to find now what would stop a run later.

        An endpoint that is starting is waited for; one that refuses connections is not.

        Raises:
            FramePackError: the endpoint cannot be used; says why.
        """
        side = _TRIAL_SIDE
        self._decode(torch.zeros(1, self._space.channels, 1, side, side), is_trial=True)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode a window.

        Connections that fail, and answers of an endpoint that is busy or starting, are tried
        again for half a minute.

        Args:
            latents: [1, C, T, h, w], scaled.

        Returns:
            [1, 3, r*(T - 1) + 1, H, W] fp32 on the CPU, about -1..1, not clamped.

        Raises:
            FramePackError: no usable answer; says what was found and what to do.
        """
        return self._decode(latents, is_trial=False)

    def _decode(self, latents: Tensor, *, is_trial: bool) -> Tensor:
        latents = latents.detach().to(device="cpu", dtype=torch.float32).contiguous()
        answer = self._ask(latents, is_trial=is_trial)
        return self._read(answer, self._space.pixel_shape(tuple(latents.shape)))

    def _ask(self, latents: Tensor, *, is_trial: bool) -> httpx2.Response:
        """Post until there is an answer, or until waiting makes no sense."""
        parameters: dict[str, Any] = {
            "image_format": "jpg",
            "output_type": "pt",
            "partial_postprocess": "False",
            "shape": [str(size) for size in latents.shape],
            "dtype": "float32",
            "scaling_factor": str(self._space.scaling_factor),
        }
        headers = {"Content-Type": "tensor/binary", "Accept": "tensor/binary"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        for wait_s in (*_WAITS_S, None):
            try:
                answer = httpx2.post(
                    httpx2.URL(self._url).copy_merge_params(parameters),
                    content=latents.numpy().tobytes(),
                    headers=headers,
                    timeout=self._timeout_s,
                    follow_redirects=False,
                )
            except _INTERRUPTED as error:
                if wait_s is None or is_trial:
                    raise self._unreachable(error) from error
                reason = str(error) or type(error).__name__
            except httpx2.TimeoutException as error:
                raise FramePackError(
                    f"the remote VAE at {self._url} did not answer within {self._timeout_s:g} s; "
                    f"raise remote_vae_timeout_s, {_WAY_OUT}"
                ) from error
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise self._unreachable(error) from error
            else:
                if answer.status_code not in _PASSING or wait_s is None:
                    return answer
                wait_s = _wanted_wait_s(answer, wait_s)
                reason = f"it answered {answer.status_code}"
            logger.warning("remote VAE: %s; trying again in %g s", reason, wait_s)
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: Exception) -> FramePackError:
        return FramePackError(
            f"the remote VAE at {self._url} cannot be reached: {error or type(error).__name__}; "
            f"start it, check remote_vae_url, {_WAY_OUT}"
        )

    def _read(self, answer: httpx2.Response, needed: tuple[int, ...]) -> Tensor:
        """The frames of an answer, checked."""
        if answer.status_code != httpx2.codes.OK:
            said = " ".join(answer.text.split())[:_LONGEST_ERROR] or "nothing"
            raise FramePackError(
                f"the remote VAE at {self._url} answered {answer.status_code}: {said}; "
                f"check remote_vae_url and remote_vae_api_key, {_WAY_OUT}"
            )
        dtype = _DTYPES.get(answer.headers.get("dtype", ""))
        try:
            shape = tuple(int(size) for size in json.loads(answer.headers.get("shape", "")))
        except (ValueError, TypeError):
            shape = ()
        content = answer.content
        if dtype is None or shape != needed or len(content) != math.prod(needed) * dtype.itemsize:
            found = f"{answer.headers.get('dtype') or 'no dtype'}, {list(shape) or 'no shape'}"
            raise FramePackError(
                f"the remote VAE at {self._url} gave {found} in {len(content)} bytes; needed: "
                f"{list(needed)} in one of {', '.join(_DTYPES)}. Use an endpoint with the VAE of "
                f"the model, {_WAY_OUT}"
            )
        pixels = torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape).float()
        if not bool(pixels.isfinite().all()):
            raise FramePackError(
                f"the remote VAE at {self._url} gave numbers that are not finite; check the number "
                f"format it runs in, {_WAY_OUT}"
            )
        return pixels


def _wanted_wait_s(answer: httpx2.Response, default_s: float) -> float:
    """Seconds that the endpoint asks to be left alone for."""
    try:
        asked_s = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return default_s
    return min(max(asked_s, 0.0), _LONGEST_WAIT_S) if math.isfinite(asked_s) else default_s
