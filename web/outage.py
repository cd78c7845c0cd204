"""Fail fast while the database is slow or unavailable, and log the cause."""

import logging
import threading
import time

from flask import has_request_context, request

PATIENCE = 0.5  # seconds to wait for a free connection; a failure that takes longer counts as slow
REMINDER = 60  # seconds between two log lines about the same outage

_KEY = "web.database"  # key of a request's Use in its WSGI environ

logger = logging.getLogger("web.database")


class Unavailable(Exception):
    """The database refused, failed or did not answer in time; trying again later may help.

    The message is for the log, and contains nothing from a row or a request.
    """


class Locked(Unavailable):
    """Another session has locked the row. The database is well."""


class Use:
    """One request's use of the database, from its first connection until the request ends."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.failure: Unavailable | None = None
        self.outage: Outage | None = None  # that has admitted it
        self.is_trial = False


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

    def admit(self, use: Use) -> None:
        """Let a request use the database; ``end`` must follow.

        Raises Unavailable where the database is slow and another request is trying it. The one
        request that tries must not wait for a connection: ``use.is_trial`` is true for it.
        """
        if use.outage is not None:  # its second connection
            return
        if self._slow:
            if not self._trying.acquire(blocking=False):
                raise Unavailable("the database is slow, and another request is trying it")
            use.is_trial = True
        use.outage = self

    def end(self, use: Use) -> None:
        """Learn from what became of an admitted request."""
        if use.failure is None:
            self._slow = False
            if not self._reachable:
                self._log_success()
        else:
            self._slow = self._slow or time.monotonic() - use.began >= PATIENCE
            self._log_failure(use.failure)
        if use.is_trial:
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


def current() -> Use | None:
    """The current request's use of the database, which begins now if it has not yet."""
    if not has_request_context():
        return None
    use: Use | None = request.environ.get(_KEY)
    if use is None:
        use = request.environ[_KEY] = Use()
    return use


def note(failure: Unavailable) -> None:
    """Remember that the database failed the current request."""
    if isinstance(failure, Locked):
        logger.warning(str(failure))
    elif use := current():
        use.failure = failure


def end_request(_: BaseException | None) -> None:
    """End the current request's use of the database, if it has used it."""
    use: Use | None = request.environ.pop(_KEY, None)
    if use is not None and use.outage is not None:
        use.outage.end(use)
