"""A service behind a real socket, in a thread of the test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn

from framepack.media.codecs import h264_format
from framepack.media.writer import VideoWriter
from framepack.service.app import create_app
from framepack.service.listen import address_of, bind
from framepack.service.service import Service

__all__ = ["a_video", "serving"]


@contextmanager
def serving(service: Service, *, port: int = 0) -> Iterator[str]:
    """The address of a service that answers while the block runs."""
    listener = bind("127.0.0.1", port)
    config = uvicorn.Config(
        create_app(service), log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    ends = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server ended while it started"
        assert time.monotonic() < ends, "the server did not start"
        time.sleep(0.01)
    try:
        yield address_of(listener)
    finally:
        service.changes.end()
        server.should_exit = True
        thread.join(30)
        listener.close()


def a_video(path: Path, *, num_frames: int = 24, size: tuple[int, int] = (64, 64)) -> bytes:
    """Write a short video of a moving gradient, and return its bytes."""
    x = np.arange(size[0], dtype=np.uint8)
    index = np.arange(num_frames, dtype=np.uint8)
    pixels = (x[None, None, :, None] * 3 + index[:, None, None, None] * 9).astype(np.uint8)
    frames = np.broadcast_to(pixels, (num_frames, size[1], size[0], 3))
    with VideoWriter(
        path, width=size[0], height=size[1], fps=24, video_format=h264_format(16, "fast")
    ) as writer:
        writer.write(np.ascontiguousarray(frames))
    return path.read_bytes()
