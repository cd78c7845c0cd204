"""Ends a worker that hangs, or whose server is gone, so that it can be replaced."""

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

LIMIT = 60  # seconds without progress; nothing that a request waits for may take so long
LOOK = 1  # seconds between two checks
STANDARD_ERROR = 2  # its descriptor: there may be no sys.stderr


class DeadMan:
    """WSGI middleware for a worker with ``threads`` threads, which must see them make progress.

    They do when a request ends, and when one of them is free. If they have not for LIMIT
    seconds, the process writes to standard error where each thread is, and exits; the server
    starts another one. The timer is faulthandler's, which needs neither Python code nor the
    interpreter's lock, and a thread puts it off: so it also ends a process in which no Python
    code can run any more.

    A worker whose server was killed stops as at SIGTERM, or it would keep the port permanently.
    """

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]], threads: int) -> None:
        self._wsgi_app = wsgi_app
        self._threads = threads
        self._running: dict[int, float] = {}  # by thread: when its request began
        signal.signal(signal.SIGUSR1, lambda *_: None)
        threading.Thread(target=self._watch, name="deadman", daemon=True).start()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request as PEP 3333 says."""
        thread = threading.get_ident()
        self._running[thread] = time.monotonic()
        try:
            return self._wsgi_app(environ, start_response)
        finally:
            del self._running[thread]

    def _watch(self) -> None:
        server, main = multiprocessing.parent_process(), threading.main_thread()
        before: list[float] = []
        while server is None or os.getppid() == server.pid:
            running = sorted(self._running.values())
            if len(running) < self._threads or running != before:
                faulthandler.dump_traceback_later(LIMIT, exit=True, file=STANDARD_ERROR)
            before = running
            # A signal for which Python has no time before its main thread begins to wait is only
            # handled when the next one wakes that thread: one stop in ten, just after the start
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
            time.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)
