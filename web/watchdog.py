"""An end to waiting for a server that has frozen.

libpq waits for an answer without limit, and ``statement_timeout`` needs a server that runs.
A thread therefore hangs up on connections whose answer is overdue.
"""

import os
import socket
import threading
import time
from contextlib import suppress

TICK = 0.25  # seconds between two looks


class Watchdog:
    """Hangs up on sockets that stay in use for longer than ``limit`` seconds."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: dict[int, float] = {}  # by file descriptor: when its use began
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, descriptor: int) -> None:
        """Allow the use of the socket ``descriptor``, until end(), for ``limit`` seconds.

        After that the socket is shut down: whoever waits for it is told that the other side
        has hung up, at most TICK later.
        """
        if self._thread is None:
            self._start()
        self._since[descriptor] = time.monotonic()

    def end(self, descriptor: int) -> None:
        """The use of the socket ``descriptor`` has ended; it will not be shut down any more."""
        with self._lock:
            del self._since[descriptor]

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            with self._lock:
                overdue = time.monotonic() - self._limit
                for descriptor in [fd for fd, since in [*self._since.items()] if since < overdue]:
                    _hang_up(descriptor)


def _hang_up(descriptor: int) -> None:
    with (
        suppress(OSError),  # it has been hung up on already
        socket.socket(fileno=os.dup(descriptor)) as connection,
    ):
        connection.shutdown(socket.SHUT_RDWR)
