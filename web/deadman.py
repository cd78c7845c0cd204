"""Ends a worker that hangs, or whose server is gone, so that it can be replaced."""

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LIMIT = 60  # seconds without progress; nothing that a request waits for may take so long
STANDARD_ERROR = 2  # the descriptor of standard error, because sys.stderr may be None


class DeadMan:
    """WSGI middleware for a worker with ``threads`` threads, which must see them make progress.

    They make progress when a request ends or while one of them is free, which is looked at every
    ``look`` seconds. If they make none for ``limit`` seconds, the process writes a traceback of
    each thread to standard error, and exits; the server starts another one. The timer is
    faulthandler's, which needs neither Python code nor the interpreter's lock, and a thread keeps
    resetting it, so it also ends a process in which no Python code can run any more.

    A pause of the whole process counts as well: if a machine stands still for longer than
    ``limit``, its workers are replaced when it continues, and the requests in them are lost.

    A worker whose server was killed stops as if by SIGTERM; otherwise it would keep the port.
    """

    def __init__(
        self, wsgi_app: WSGIApplication, threads: int, limit: float = LIMIT, look: float = 1
    ) -> None:
        self._wsgi_app, self._threads = wsgi_app, threads
        self._limit, self._look = limit, look
        self._running: dict[int, float] = {}  # by thread: when its request began
        signal.signal(signal.SIGUSR1, lambda *_: None)
        threading.Thread(target=self._watch, name="deadman", daemon=True).start()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
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
                faulthandler.dump_traceback_later(self._limit, exit=True, file=STANDARD_ERROR)
            before = running
            # A signal that arrives just before Python's main thread begins to wait is only handled
            # when the next signal wakes that thread: of 400 stops just after the start, 41 (25
            # November 2026, without the next line)
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
            time.sleep(self._look)
        os.kill(os.getpid(), signal.SIGTERM)
