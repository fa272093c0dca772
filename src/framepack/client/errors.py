"""What can go wrong between a client and its server, each as one line for people."""
# ruff: noqa: N818 - the names say what is wrong, as those of `domain.errors` do

from typing import TYPE_CHECKING

from framepack.domain.errors import FramePackError

if TYPE_CHECKING:
    from framepack.client.records import Video

__all__ = [
    "AccessDenied",
    "BadAnswer",
    "ClientError",
    "DownloadFailed",
    "NotFound",
    "RequestRefused",
    "ServerBusy",
    "ServerFailed",
    "ServerUnreachable",
    "StillWorking",
    "VideoNotMade",
    "WrongMoment",
]


class ClientError(FramePackError):
    """Base of all errors of the client.

    Attributes:
        status: the HTTP status; None where there was no answer.
        code: the server's word for it, for programs.
        param: the field at fault, if the server named one.
        retry_after_s: seconds after which the server wants to be asked again, or None.
        was_sent: whether the server may have had the request.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        was_sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.was_sent = was_sent


class ServerUnreachable(ClientError):
    """Nobody answers, or the connection broke."""


class RequestRefused(ClientError):
    """What was asked is not possible; the message says what to change."""

    exit_code = 2


class AccessDenied(ClientError):
    """The server wants another key, or the key may not do this."""


class NotFound(ClientError):
    """The server has no such thing, or it is somebody else's."""


class WrongMoment(ClientError):
    """The video's state does not allow what was asked."""


class ServerBusy(ClientError):
    """The server takes no more for now."""


class ServerFailed(ClientError):
    """The server made a mistake; its log says more."""


class BadAnswer(ClientError):
    """The answer is none of a FramePack server."""


class StillWorking(ClientError):
    """The video is not finished after the time that was given."""


class DownloadFailed(ClientError):
    """A file did not come whole; what came is kept, and the next try goes on from there."""


class VideoNotMade(ClientError):
    """The video failed or was cancelled.

    Attributes:
        video: as the server has it.
    """

    def __init__(self, video: "Video") -> None:
        error = video.error
        reason = error.message if error is not None else "the server does not say why"
        way_on = "; `framepack jobs` shows it" if video.state == "failed" else ""
        super().__init__(
            f"{video.id} is {video.state}: {reason}{way_on}",
            code=error.code if error is not None else None,
        )
        self.video = video
