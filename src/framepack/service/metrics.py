"""Figures of a server for Prometheus."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from framepack.service.records import STATES
from framepack.service.service import Service

__all__ = ["Metrics"]

_METHODS = {"GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS", "WEBSOCKET"}


class Metrics:
    """Counts requests, and reads the rest from the store when it is asked.

    Args:
        service: whose figures they are.

    Attributes:
        began: when counting began, as ``time.monotonic`` has it.
    """

    def __init__(self, service: Service) -> None:
        self.began = time.monotonic()
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "framepack_http_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "framepack_http_answer_seconds",
            "Time until an answer began.",
            ("method", "route"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
            registry=self._registry,
        )
        self._registry.register(_Jobs(service))

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in _METHODS else "OTHER"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    """What the store and the executor know at this moment."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        yield from self._of_jobs()
        yield from self._of_work()
        yield from _of_worker(self._service.executor.facts() if self._service.executor else {})

    def _of_jobs(self) -> Iterator[Metric]:
        counts = self._service.store.counts()
        jobs = GaugeMetricFamily("framepack_jobs", "Jobs by state.", labels=("state",))
        for state in STATES:
            jobs.add_metric((state,), counts.get(state, 0))
        yield jobs
        yield GaugeMetricFamily(
            "framepack_queue_length", "Jobs that wait for their turn.", counts.get("queued", 0)
        )
        yield GaugeMetricFamily(
            "framepack_queue_paused",
            "1 while no job is begun.",
            float(self._service.store.is_paused),
        )
        failures = GaugeMetricFamily(
            "framepack_failed_jobs", "Jobs that failed, by kind.", labels=("code",)
        )
        with self._service.database.reading() as connection:
            rows = connection.execute(
                "SELECT json_extract(error, '$.code') AS code, COUNT(*) AS number FROM jobs "
                "WHERE state = 'failed' GROUP BY code"
            ).fetchall()
        for row in rows:
            failures.add_metric((str(row["code"]),), row["number"])
        yield failures

    def _of_work(self) -> Iterator[Metric]:
        with self._service.database.reading() as connection:
            row = connection.execute(
                "SELECT IFNULL(SUM(json_extract(output, '$.num_frames')), 0) AS frames, "
                "IFNULL(SUM(json_extract(output, '$.stats.total_s')), 0) AS seconds, "
                "IFNULL(SUM(attempts), 0) AS attempts FROM jobs"
            ).fetchone()
            last = connection.execute(
                "SELECT json_extract(output, '$.stats.total_s') / "
                "json_extract(output, '$.num_frames') FROM jobs WHERE state = 'completed' "
                "ORDER BY finished_at DESC LIMIT 1"
            ).fetchone()
        yield CounterMetricFamily(
            "framepack_frames", "Frames of the videos that are kept.", row["frames"]
        )
        yield CounterMetricFamily(
            "framepack_render_seconds", "Time that they took.", row["seconds"]
        )
        yield CounterMetricFamily(
            "framepack_failed_attempts", "Tries that ended badly.", row["attempts"]
        )
        if last is not None and last[0] is not None:
            yield GaugeMetricFamily(
                "framepack_seconds_per_frame", "Of the video that was finished last.", last[0]
            )


def _of_worker(facts: Mapping[str, Any]) -> Iterator[Metric]:
    for name, help_text in (("alive", "1 while there is one."), ("busy", "1 while it works.")):
        yield GaugeMetricFamily(
            f"framepack_worker_{name}", f"Worker: {help_text}", float(bool(facts.get(name)))
        )
    memory = facts.get("device_memory_gb")
    if memory is not None:
        family = GaugeMetricFamily(
            "framepack_device_memory_bytes", "Memory in use on the device.", labels=("device",)
        )
        family.add_metric((str(facts.get("device", "")),), float(memory) * 10**9)
        yield family
