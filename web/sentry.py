"""Reports unhandled exceptions to Sentry if SENTRY_DSN is set. No personal data is sent.

Paths include names, and the texts of exceptions quote rows. So the SDK's integrations are off, and
all that is not named here is removed from an event before it is sent.
"""

from collections.abc import Iterable, Mapping
from multiprocessing.util import Finalize
from typing import Any

from flask import Flask, got_request_exception, request

from web import log

# The allowed keys of an event besides its exceptions, of each exception, and of each frame
KEPT = (
    "event_id",
    "timestamp",
    "platform",
    "level",
    "release",
    "environment",
    "transaction",
    "tags",
)
KEPT_OF_EXCEPTIONS = ("type", "module", "stacktrace")
KEPT_OF_FRAMES = ("filename", "function", "module", "lineno", "in_app")
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
        include_source_context=False,
        in_app_include=["web"],
        max_breadcrumbs=0,
        shutdown_timeout=FLUSH,
    )
    got_request_exception.connect(_report, app)
    # A worker is a forked process, which runs no atexit handlers
    Finalize(None, sentry_sdk.flush, args=(FLUSH,), exitpriority=10)


def _report(app: Flask, exception: BaseException, **_: Any) -> None:
    """Queue an event, which a thread of the SDK sends. If the queue is full, it is dropped."""
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        scope.set_transaction_name(str(request.url_rule or ""))
        method = log.method(request.environ)
        scope.set_tags({"request_id": log.request_id(), "method": method, "status": "500"})
        scope.capture_exception(exception)


def _strip(event: Any, _: Any) -> Any:
    for raised in event["exception"]["values"]:
        frames = raised["stacktrace"]["frames"]
        raised["stacktrace"] = {"frames": [_only(KEPT_OF_FRAMES, frame) for frame in frames]}
    values = [_only(KEPT_OF_EXCEPTIONS, raised) for raised in event["exception"]["values"]]
    return _only(KEPT, event) | {"exception": {"values": values}}


def _only(names: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}
