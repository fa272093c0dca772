"""The real application on a real socket, in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from tests.helpers.service import until

from framepack.service.app import create_app
from framepack.service.listen import address_of, bind
from framepack.service.service import Service

__all__ = ["serving"]


@contextmanager
def serving(service: Service, *, port: int = 0) -> Iterator[str]:
    """The address of a service that is answered for while the block runs."""
    listener = bind("127.0.0.1", port)
    config = uvicorn.Config(
        create_app(service), log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield address_of(listener)
    finally:
        service.changes.end()
        server.should_exit = True
        thread.join(20)
        listener.close()
