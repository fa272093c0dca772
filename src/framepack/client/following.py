"""A stream of events, over as many connections as it takes."""

import json
from typing import Any

import httpx2

from framepack.client.errors import BadAnswer
from framepack.client.exchange import error_of
from framepack.client.records import VideoEvent

__all__ = ["EventLog"]

_NO_MORE = 204


class EventLog:
    """What has come of a video's log, and what is to be asked for next.

    A server that goes away in the middle is asked again, from the last event that came, so every
    event comes once and in order.

    Args:
        after: number of the last event that is known already.
    """

    def __init__(self, after: int = 0) -> None:
        self._last = after
        self._has_ended = False

    def headers(self) -> dict[str, str]:
        """What is asked for now."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last:
            headers["Last-Event-ID"] = str(self._last)
        return headers

    def take(self, sent: httpx2.ServerSentEvent) -> VideoEvent | None:
        """The event that came, or None if it is known already or no event of the log.

        Raises:
            BadAnswer: it cannot be read.
        """
        if not sent.data or not sent.id:
            return None
        try:
            values: Any = json.loads(sent.data)
            seq = int(sent.id)
        except ValueError as error:
            raise BadAnswer(f"the server sent the event {sent.data[:80]!r}, no JSON") from error
        if seq <= self._last:
            return None
        self._last = seq
        event = _event(seq, sent.event, values)
        self._has_ended = event.ends
        return event

    def has_body(self, answer: httpx2.Response) -> bool:
        """Whether events come with an answer.

        Raises:
            ClientError: it is an error, whose body must have been read.
        """
        if not answer.is_success:
            raise error_of(answer)
        return answer.status_code != _NO_MORE

    def is_over(self, answer: httpx2.Response) -> bool:
        """Whether an answer that has come to its end needs no other: the video has ended."""
        return self._has_ended or answer.status_code == _NO_MORE


def _event(seq: int, kind: str, values: Any) -> VideoEvent:
    if not isinstance(values, dict):
        raise BadAnswer(f"the server sent the event {values!r:.80} where an object was needed")
    if isinstance(values.get("data"), dict):  # an envelope around the event's own fields
        at = values.get("at")
        return VideoEvent(seq, str(values.get("kind", kind)), at, values["data"])
    data = {name: value for name, value in values.items() if name not in ("event", "at")}
    return VideoEvent(seq, kind, values.get("at"), data)
