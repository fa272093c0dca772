"""Which VAE a request means on this machine, and whether what it needs is there. No torch."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings

__all__ = ["check_vae_weights", "settle_vae", "vae_endpoint"]

_SUFFIXES = (".safetensors", ".pth", ".pt")
_PUBLISHED = (
    "those for HunyuanVideo, and so for i2v and f1, are taehv.safetensors at "
    "https://github.com/madebyollin/taehv"
)


def settle_vae(
    request: GenerationRequest, settings: Settings
) -> tuple[GenerationRequest, str | None]:
    """The request with the VAE that decodes, and a line for people if it is not the model's own.

    Args:
        request: as asked.
        settings: say which VAE a request gets that names none, and where it is.

    Raises:
        InvalidRequest: the tiny VAE has no weights, or the remote one no endpoint that may be
            used.
    """
    vae = request.vae or settings.vae
    if vae == "tiny":
        weights = _find(request.vae_weights, settings)
        settled = request.model_copy(update={"vae": vae, "vae_weights": weights})
        return settled, f"VAE: tiny, {weights.name}."
    if request.vae is None and request.vae_weights is not None:
        raise InvalidRequest(
            f"vae_weights (--vae-weights) is {request.vae_weights}, but the VAE is {vae}; add "
            "--vae tiny, or leave --vae-weights out"
        )
    settled = request.model_copy(update={"vae": vae, "vae_weights": None})
    if vae == "remote":
        vae_endpoint(settings)  # which stays out of the line, because that goes into the file
        return settled, "VAE: remote, latents are sent to the endpoint of the settings."
    return settled, None


def vae_endpoint(settings: Settings) -> str:
    """The endpoint of the remote VAE.

    Raises:
        InvalidRequest: none is set, it is no address, or the settings forbid the network.
    """
    url = settings.remote_vae_url
    if not url:
        raise InvalidRequest(
            "--vae remote needs an endpoint that speaks the protocol of diffusers' remote_decode; "
            "set remote_vae_url, or use --vae full"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        host = None
    if not host:
        raise InvalidRequest(
            f"remote_vae_url is {url!r}; it must be an address such as https://host.example/"
        )
    if settings.offline and not _is_this_machine(host):
        raise InvalidRequest(
            f"--vae remote would send latents to {host}, but offline is set; unset it, or use "
            "--vae full"
        )
    return url


def check_vae_weights(path: Path) -> None:
    """Check that there is a file that may hold weights.

    Raises:
        InvalidRequest: there is none, or it is of another kind.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InvalidRequest(
            f"weights of the tiny VAE: {path} {found}; give a file with --vae-weights or set "
            f"tiny_vae; {_PUBLISHED}"
        )
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidRequest(
            f"weights of the tiny VAE: {path.name} ends in {path.suffix or 'no suffix'}; needed: "
            f"{', '.join(_SUFFIXES)}"
        )


def _find(asked: Path | None, settings: Settings) -> Path:
    path, own = asked, settings.tiny_vae
    if path is None:
        path = own
    elif own is not None and str(path) == own.name and not path.is_file():
        path = own  # a video file names its weights without the folder
    if path is None:
        raise InvalidRequest(
            "--vae tiny needs weights in the TAEHV layout; give a file with --vae-weights or set "
            f"tiny_vae; {_PUBLISHED}"
        )
    path = path.expanduser()
    check_vae_weights(path)
    return path.absolute()


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
