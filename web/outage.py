"""Fail fast while the database is slow or unavailable, and log the cause."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 0.5  # seconds to wait for a free connection; a failure that takes longer counts as slow
REMINDER = 60  # seconds between two log lines about the same outage

logger = logging.getLogger("web.database")


class Unavailable(Exception):
    """The database refused, failed or did not answer in time; trying again later may help.

    The message is for the log, and contains nothing from a row or a request.
    """


class Outage:
    """The state of the database, as one process knows it.

    A database that is frozen or locked costs every request that uses it seconds, and soon all
    threads wait for it, including those that could answer /livez. So after a slow failure one
    request at a time tries the database, and the others fail at once, until one succeeds. A
    database that refuses connections is not slow: each request tries it.
    """

    def __init__(self) -> None:
        self._slow = False
        self._trying = threading.Lock()
        self._changing = threading.Lock()
        self._reachable = True
        self._logged = 0.0  # a time.monotonic() value

    @contextmanager
    def attempt(self) -> Iterator[float]:
        """Use the database within this context, which yields the time to wait for a connection.

        That is PATIENCE, in seconds, or 0 for the one request that tries a slow
        database. Raises Unavailable where another request is trying. Unavailable raised within it
        counts as a failure, leaving it without an exception as a success.
        """
        slow = self._slow
        if slow and not self._trying.acquire(blocking=False):
            raise Unavailable("the database is slow, and another request is trying it")
        began = time.monotonic()
        try:
            yield 0 if slow else PATIENCE
        except Unavailable as failure:
            self._slow = self._slow or time.monotonic() - began >= PATIENCE
            self._log_failure(failure)
            raise
        else:
            self._slow = False
            if not self._reachable:
                self._log_success()
        finally:
            if slow:
                self._trying.release()

    def _log_failure(self, failure: Unavailable) -> None:
        with self._changing:
            now = time.monotonic()
            if not self._reachable and now - self._logged < REMINDER:
                return
            self._reachable, self._logged = False, now
        cause = failure.__cause__
        fields = {
            "reason": str(failure),
            "exception": cause and f"{type(cause).__module__}.{type(cause).__qualname__}",
            "sqlstate": getattr(cause, "pgcode", None),
        }
        logger.error("the database is unavailable", extra={"fields": fields})

    def _log_success(self) -> None:
        with self._changing:
            if self._reachable:
                return
            self._reachable = True
        logger.warning("the database is available again")
