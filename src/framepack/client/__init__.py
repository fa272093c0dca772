"""Have videos made by a FramePack server, from Python.

    from framepack.client import Client

    with Client("http://127.0.0.1:7860") as client:
        video = client.create(prompt="the camera pans left", image="photo.jpg")
        client.wait(video.id, on_change=print)
        client.download(video.id, "out.mp4")

``AsyncClient`` has the same methods, to be awaited. Without arguments the server and the key are
those of ``FRAMEPACK_URL`` and ``FRAMEPACK_API_KEY``. Importing this takes no torch.
"""

from framepack.client.aio import AsyncClient
from framepack.client.errors import (
    AccessDenied,
    BadAnswer,
    ClientError,
    DownloadFailed,
    NotFound,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    ServerUnreachable,
    StillWorking,
    VideoNotMade,
    WrongMoment,
)
from framepack.client.records import (
    Health,
    Model,
    Page,
    Upload,
    Video,
    VideoError,
    VideoEvent,
    VideoProgress,
)
from framepack.client.sync import Client

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "BadAnswer",
    "Client",
    "ClientError",
    "DownloadFailed",
    "Health",
    "Model",
    "NotFound",
    "Page",
    "RequestRefused",
    "ServerBusy",
    "ServerFailed",
    "ServerUnreachable",
    "StillWorking",
    "Upload",
    "Video",
    "VideoError",
    "VideoEvent",
    "VideoNotMade",
    "VideoProgress",
    "WrongMoment",
]
