"""Lines of JSON with the job that they are about, and an audit that does not grow forever."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framepack.service.logs import AuditLog, about_job, about_request, configure_logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged, with the logging of the tests put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    configure_logs(text)
    yield text
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_it_is_about(stream: io.StringIO) -> None:
    logger = logging.getLogger("framepack.test")
    with about_request("req_1"), about_job("video_1"):
        logger.info("section %d", 3)
    logger.warning("after")

    first, second = lines(stream)
    assert first["message"] == "section 3"
    assert (first["job"], first["request"]) == ("video_1", "req_1")
    assert (first["level"], first["logger"]) == ("info", "framepack.test")
    assert "job" not in second
    assert "request" not in second


def test_tasks_of_one_loop_keep_their_jobs_apart(stream: io.StringIO) -> None:
    logger = logging.getLogger("framepack.test")

    async def work(name: str) -> None:
        with about_job(name):
            for _ in range(3):
                await asyncio.sleep(0)
                logger.info(name)

    async def both() -> None:
        await asyncio.gather(work("video_1"), work("video_2"))

    asyncio.run(both())

    assert len(lines(stream)) == 6
    assert all(line["job"] == line["message"] for line in lines(stream))


def test_a_message_stays_on_its_line(stream: io.StringIO) -> None:
    logging.getLogger("framepack.test").info('one\n{"level": "forged"}\r\u2028two')

    assert len(stream.getvalue().strip("\n").split("\n")) == 1
    assert lines(stream)[0]["level"] == "info"


def test_an_error_brings_its_trace(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("framepack.test").exception("failed")

    assert "ValueError: broken" in lines(stream)[0]["error"]


def test_addresses_of_requests_are_not_logged(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info("GET /x?signature=secret")
    logging.getLogger("uvicorn.error").info("started")

    assert [line["message"] for line in lines(stream)] == ["started"]


def test_the_audit_is_rotated(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "audit.jsonl", most_bytes=1000)
    for number in range(200):
        audit.write(id=number, path="/v1/videos")
    audit.close()

    files = sorted(tmp_path.glob("audit.jsonl*"))
    assert len(files) == 6
    assert all(path.stat().st_size <= 1000 for path in files)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])["id"] == 199


def test_a_job_that_a_message_names_is_its_job(stream: io.StringIO) -> None:
    job = "video_0123456789abcdef01234567"
    logging.getLogger("framepack.test").info("%s goes on", job)
    logging.getLogger("framepack.test").info("video_1 is none")

    assert [line.get("job") for line in lines(stream)] == [job, None]
