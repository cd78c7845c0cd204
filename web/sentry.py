"""Reports unhandled exceptions to Sentry if SENTRY_DSN is set. No personal data is sent.

Events are built here, from data that cannot identify a user. The data that the SDK would collect
contains paths, which include names, and the texts of exceptions, which quote rows; so its
integrations are off, and everything it adds to an event is removed before the event is sent.
"""

import traceback
from collections.abc import Iterator
from multiprocessing.util import Finalize
from typing import Any

from flask import Flask, got_request_exception, request

from web import log

# The allowed keys of an event. `exception` and `tags` are built here, from types, frames and ids
# only
KEPT = (
    "event_id",
    "timestamp",
    "platform",
    "level",
    "release",
    "environment",
    "transaction",
    "exception",
    "tags",
)
FLUSH = 2  # seconds to send the remaining events when a worker ends


def init_app(app: Flask) -> None:
    """Report the unhandled exceptions of ``app``; without SENTRY_DSN, load nothing and do nothing.

    It does not run for successful requests or for a lost database: Flask sends this signal only for
    exceptions that lead to a 500.
    """
    dsn = app.config["SENTRY_DSN"]
    if not dsn:
        return
    import sentry_sdk  # imported here and not at the top, because it is not always needed

    sentry_sdk.init(
        dsn=dsn,
        release=app.config["APP_VERSION"],
        environment=app.config["SENTRY_ENVIRONMENT"],
        before_send=_strip,
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        shutdown_timeout=FLUSH,
    )
    got_request_exception.connect(_report, app)
    # A worker is a forked process, which runs no atexit handlers
    Finalize(None, sentry_sdk.flush, args=(FLUSH,), exitpriority=10)


def _report(app: Flask, exception: BaseException, **_: Any) -> None:
    """Queue an event, which a thread of the SDK sends. If the queue is full, it is dropped."""
    import sentry_sdk

    sentry_sdk.capture_event(
        {
            "level": "error",
            "transaction": str(request.url_rule or ""),
            "tags": {
                "request_id": log.request_id(),
                "method": log.method(request.environ),
                "status": "500",
            },
            "exception": {"values": list(_described(exception))[::-1]},  # the cause comes first
        }
    )


def _strip(event: Any, _: Any) -> Any:
    return {name: event[name] for name in KEPT if name in event}


def _described(failed: BaseException) -> Iterator[dict[str, Any]]:
    """An exception and the chain of its causes, without their messages."""
    for error in log.causes(failed):
        frames = [
            {
                "filename": frame.f_code.co_filename,
                "function": frame.f_code.co_name,
                "module": frame.f_globals.get("__name__"),
                "lineno": line,
                "in_app": str(frame.f_globals.get("__name__")).startswith("web"),
            }
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
        yield {
            "type": type(error).__qualname__,
            "module": type(error).__module__,
            "stacktrace": {"frames": frames},
        }
