"""Sends a server what its own description allows, and what it does not, and counts the answers."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from framepack.service.service import Service

__all__ = ["Fuzz", "fuzz", "stocked"]

_CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)
_STREAMS = ("/events", "/stream")
_BATCH = 100
_TIMEOUT_S = 60.0


@dataclass
class Fuzz:
    """What came of it.

    Attributes:
        num_requests: sent.
        statuses: answers by status.
        failures: answers from 500 on, requests without an answer, and errors of another shape.
        deviations: answers that the server's description does not have.
    """

    num_requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    deviations: Counter[str] = field(default_factory=Counter)


def fuzz(
    address: str,
    *,
    num_requests: int,
    ids: Callable[[], list[str]] = list,
    seed: int = 0,
    deadline_s: float = float("inf"),
) -> Fuzz:
    """Fuzz every route of a server in turn, until enough requests were sent.

    Args:
        address: of the server.
        num_requests: at least so many.
        ids: of videos that are there; half of the requests for a video are for one of them.
        seed: of what is drawn.
        deadline_s: stop after so long.
    """
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    rng, ends = random.Random(seed), time.monotonic() + deadline_s
    sender = _Sender(rng, ids)
    found = sender.found
    hopeless: set[tuple[str, str]] = set()
    per_turn = max(1, min(_BATCH, num_requests // (2 * len(operations))))
    while found.num_requests < num_requests and time.monotonic() < ends:
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                name = (operation.label, mode.value)
                if name in hopeless or time.monotonic() > ends:
                    continue
                strategy = operation.as_strategy(generation_mode=mode)
                try:
                    _draw(strategy, per_turn, rng, sender.send)
                except Unsatisfiable:  # nothing of it can be wrong
                    hopeless.add(name)
                except ValueError as error:  # schemathesis breaks over some wrong files of forms
                    if "Unsupported type" not in str(error):
                        raise
    sender.session.close()
    return found


def stocked(service: Service, number: int = 6) -> Callable[[], list[str]]:
    """Ids of a service's videos, of which there are always some; the fuzzer deletes them too."""

    def ids() -> list[str]:
        there = [job.id for job in service.store.page(limit=50).jobs]
        fields = {"prompt": "a red ball", "model": "tiny", "duration_s": 1}
        return there + [service.submit(fields).id for _ in range(number - len(there))]

    return ids


def _draw(strategy: Any, count: int, rng: random.Random, send: Callable[[Any], None]) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=strategy)
    def run(case: Any) -> None:
        send(case)

    run._hypothesis_internal_use_seed = rng.getrandbits(64)  # type: ignore[attr-defined]
    run()


@dataclass
class _Sender:
    rng: random.Random
    ids: Callable[[], list[str]]
    found: Fuzz = field(default_factory=Fuzz)
    session: requests.Session = field(default_factory=requests.Session)

    def send(self, case: Any) -> None:
        """Send a request, for a video that is there every other time, and judge the answer."""
        there = self.ids()
        if there and "video_id" in (case.path_parameters or {}) and self.rng.random() < 0.5:
            case.path_parameters["video_id"] = self.rng.choice(there)
        label = f"{case.method} {case.path}"
        self.found.num_requests += 1
        try:
            if label.endswith(_STREAMS):
                self._send_briefly(case, label)
            else:
                self._judge(case, label, case.call(session=self.session, timeout=_TIMEOUT_S))
        except requests.RequestException as error:
            self.found.failures.append(f"{label}: {error!r:.200}")

    def _judge(self, case: Any, label: str, answer: Any) -> None:
        status = answer.status_code
        self.found.statuses[status] += 1
        if status >= 500 or (status >= 400 and not _has_shape(answer)):
            said = f"{label}: {status} {answer.text[:200]} to {case.body!r:.300}"
            self.found.failures.append(said)
            return
        for check in _CHECKS:
            try:
                case.validate_response(answer, checks=[check])
            except FailureGroup as error:
                text = " ".join(str(each) for each in error.exceptions)
                self.found.deviations[f"{label}: {status}: {text[:160]}"] += 1

    def _send_briefly(self, case: Any, label: str) -> None:
        """Send a request whose answer need not end."""
        sent = case.as_transport_kwargs(base_url=case.operation.base_url)
        with self.session.request(**sent, stream=True, timeout=_TIMEOUT_S) as answer:
            self.found.statuses[answer.status_code] += 1
            if answer.status_code >= 500:
                self.found.failures.append(f"{label}: {answer.status_code} {answer.text[:200]}")


def _has_shape(answer: Any) -> bool:
    """Whether an error is an object as clients expect it."""
    if not answer.content:
        return bool(answer.request.method == "HEAD")
    try:
        error = answer.json()["error"]
        return isinstance(error["message"], str) and isinstance(error["type"], str)
    except (ValueError, KeyError, TypeError):
        return False
