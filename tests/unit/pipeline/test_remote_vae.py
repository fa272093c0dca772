"""The client of a remote VAE: what it sends, what it takes, what it says otherwise."""

import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import torch
from diffusers.utils.remote_utils import prepare_decode
from tests.helpers.remote_vae import Endpoint, serving
from tests.helpers.vae import small_vae
from torch import Tensor

from framepack.domain.errors import FramePackError, InvalidRequest
from framepack.domain.settings import Settings
from framepack.models.autoencoder import decode_latents
from framepack.pipeline import remote_vae
from framepack.pipeline.latent_space import LatentSpace
from framepack.pipeline.remote_vae import RemoteVae

SPACE = LatentSpace(channels=4, spatial_stride=8, temporal_stride=4, scaling_factor=0.476986)


@pytest.fixture(scope="module")
def vae() -> Any:
    return small_vae()


@pytest.fixture
def endpoint(vae: Any) -> Iterator[Endpoint]:
    with serving(Endpoint(lambda z: vae.decode(z, return_dict=False)[0])) as serves:
        yield serves


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the client wanted to wait; nobody waits them."""
    waited: list[float] = []
    monkeypatch.setattr(remote_vae.time, "sleep", waited.append)
    return waited


def _client(url: str, **settings: Any) -> RemoteVae:
    return RemoteVae(Settings(remote_vae_url=url, **settings), SPACE)


def _latents(num_frames: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 4, num_frames, 3, 2, generator=generator)


@pytest.mark.parametrize("num_frames", [1, 5, 10])
def test_frames_are_those_of_the_vae_here(endpoint: Endpoint, vae: Any, num_frames: int) -> None:
    latents, expected = _latents(num_frames), decode_latents(vae, _latents(num_frames))
    endpoint.dtype = torch.float32
    client = _client(endpoint.url)
    torch.testing.assert_close(client.decode(latents), expected, rtol=1e-5, atol=1e-5)
    endpoint.dtype = torch.float16
    torch.testing.assert_close(client.decode(latents), expected, rtol=1e-3, atol=1e-3)
    endpoint.dtype = torch.bfloat16
    found = client.decode(latents)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_what_is_sent_is_what_diffusers_sends(endpoint: Endpoint) -> None:
    latents = _latents()
    theirs = prepare_decode(
        latents, processor=None, do_scaling=True, scaling_factor=0.476986, output_type="pt"
    )
    expected = requests.Request("POST", endpoint.url, **theirs).prepare()
    _client(endpoint.url).decode(latents)
    (found,) = endpoint.asked
    assert found.query == parse_qs(urlsplit(str(expected.url)).query)
    assert found.body == expected.body
    names = ("Content-Type", "Accept")
    assert [found.headers[name] for name in names] == [expected.headers[name] for name in names]
    assert "Authorization" not in found.headers


def test_an_address_keeps_its_own_query_and_gets_the_key(endpoint: Endpoint) -> None:
    _client(f"{endpoint.url}?route=7", remote_vae_api_key="secret").decode(_latents())
    (found,) = endpoint.asked
    assert found.query["route"] == ["7"]
    assert found.query["dtype"] == ["float32"]
    assert found.headers["Authorization"] == "Bearer secret"


def test_a_busy_endpoint_is_asked_again(endpoint: Endpoint, waits: list[float]) -> None:
    endpoint.statuses = [503, 429, 502, 504, 0]
    assert _client(endpoint.url).decode(_latents()).shape == (1, 3, 25, 24, 16)
    assert waits == [1, 2, 4, 8, 16]
    assert len({asked.body for asked in endpoint.asked}) == 1


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7), ("3600", 60), ("-3", 0), ("soon", 1), ("nan", 1)]
)
def test_an_endpoint_says_how_long_to_wait(
    endpoint: Endpoint, waits: list[float], asked: str, waited: float
) -> None:
    endpoint.statuses, endpoint.headers = [503], {"Retry-After": asked}
    _client(endpoint.url).decode(_latents())
    assert waits == [waited]


def test_waiting_ends(endpoint: Endpoint) -> None:
    endpoint.statuses = [503] * 9
    with pytest.raises(FramePackError, match="answered 503: so it is; check remote_vae_url"):
        _client(endpoint.url).decode(_latents())
    assert len(endpoint.asked) == 6


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_answers_are_final(endpoint: Endpoint, waits: list[float], status: int) -> None:
    endpoint.statuses = [status]
    with pytest.raises(FramePackError, match=f"answered {status}: so it is; check remote_vae_url"):
        _client(endpoint.url).decode(_latents())
    assert (len(endpoint.asked), waits) == (1, [])


def test_latents_do_not_follow_a_redirection(endpoint: Endpoint, vae: Any) -> None:
    with serving(Endpoint(lambda z: vae.decode(z, return_dict=False)[0])) as other:
        endpoint.statuses, endpoint.headers = [307], {"Location": other.url}
        with pytest.raises(FramePackError, match="answered 307"):
            _client(endpoint.url, remote_vae_api_key="secret").decode(_latents())
        assert not other.asked


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_refused_connection_is_tried_again_and_named(waits: list[float]) -> None:
    client = _client(f"http://127.0.0.1:{_closed_port()}/")
    with pytest.raises(FramePackError, match=r"cannot be reached: .*; start it, check remote_vae"):
        client.decode(_latents())
    assert len(waits) == 5
    waits.clear()
    with pytest.raises(FramePackError, match="cannot be reached"):
        client.check()
    assert not waits, "before any work there is nothing to save by waiting"


def test_patience_ends(endpoint: Endpoint) -> None:
    released = threading.Event()
    decode = endpoint.decode
    endpoint.decode = lambda z: decode(z) if released.wait(20) else z
    with pytest.raises(FramePackError, match=r"did not answer within 0\.2 s; raise remote_vae_t"):
        _client(endpoint.url, remote_vae_timeout_s=0.2).decode(_latents())
    released.set()
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"shape": "[1, 3, 24, 24, 16]"}, r"gave float16, \[1, 3, 24, 24, 16\] in"),
        ({"shape": "[1, 3, 25, 24, 32]"}, r"needed: \[1, 3, 25, 24, 16\]"),
        ({"shape": "one"}, "no shape"),
        ({"dtype": "float32"}, r"gave float32, \[1, 3, 25, 24, 16\] in 57600 bytes"),
        ({"dtype": "uint8"}, "gave uint8"),
        ({"dtype": "complex"}, "gave complex"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    endpoint: Endpoint, headers: dict[str, str], found: str
) -> None:
    endpoint.headers = headers
    with pytest.raises(FramePackError, match=found) as error:
        _client(endpoint.url).decode(_latents())
    assert "Use an endpoint with the VAE of the model" in str(error.value)


def test_numbers_that_are_not_finite_are_refused(endpoint: Endpoint) -> None:
    endpoint.decode = lambda z: torch.full((1, 3, 25, 24, 16), torch.nan)
    with pytest.raises(FramePackError, match="not finite; check the number format"):
        _client(endpoint.url).decode(_latents())


def test_the_trial_is_small_and_finds_another_vae(endpoint: Endpoint) -> None:
    client = _client(endpoint.url)
    client.check()
    assert endpoint.asked[0].query["shape"] == ["1", "4", "1", "8", "8"]
    endpoint.decode = lambda z: torch.zeros(1, 3, 1, 128, 128)
    with pytest.raises(FramePackError, match=r"needed: \[1, 3, 1, 64, 64\]"):
        client.check()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--vae remote needs an endpoint"),
        ({"remote_vae_url": ""}, "--vae remote needs an endpoint"),
        ({"remote_vae_url": "host.example"}, "must be an address such as https://"),
        ({"remote_vae_url": "ftp://host.example"}, "must be an address such as https://"),
        ({"remote_vae_url": "http://[x"}, "must be an address such as https://"),
        ({"remote_vae_url": "https://host.example/"}, "latents to host.example, but offline is"),
        ({"remote_vae_url": "https://localhost.example/"}, "but offline is set"),
    ],
)
def test_an_endpoint_must_be_configured_and_allowed(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        RemoteVae(Settings(offline=True, **settings), SPACE)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_this_machine_is_no_network(host: str) -> None:
    url = f"http://{host}:8000/"
    assert RemoteVae(Settings(offline=True, remote_vae_url=url), SPACE)._url == url


def test_the_network_is_allowed_unless_forbidden() -> None:
    url = "https://host.example/"
    assert RemoteVae(Settings(offline=False, remote_vae_url=url), SPACE)._url == url
