"""One JSON line for each request, on standard output, without anybody's name or date of birth."""

import json
import logging
import logging.config
import re
import time
import traceback
import uuid
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from flask import Flask, Response, g, request

_REQUEST_ID = re.compile(r"[A-Za-z0-9._=/+-]{1,128}")
_TRACE_ID = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24})")

_requests = logging.getLogger("web.requests")


class Application(Flask):
    """A Flask application that does not log the path of a failed request: a name is in it."""

    def log_exception(self, exc_info: Any) -> None:
        """Log that a request failed; its route and id are in the line of the request."""
        self.logger.error("unhandled exception", exc_info=exc_info, extra=_fields(g.request_id))


class Formatter(logging.Formatter):
    """A record as one line of JSON.

    Of exceptions it shows class and place, never the message: the database's messages quote
    the row that they are about.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line for ``record``, without a line break."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line |= _exception(*record.exc_info)
        return json.dumps(line, default=str)


def configuration(level: str) -> dict[str, Any]:
    """The set-up of ``logging`` for the application and its server: all to standard output."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": Formatter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
            }
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {"_granian": {}, "granian.access": {}},
    }


def init_app(app: Flask) -> None:
    """Log every request of ``app`` and give every response its identity."""
    logging.config.dictConfig(configuration(app.config["LOG_LEVEL"]))
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.perf_counter()
    g.request_id = _request_id()


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    _requests.info(
        "request",
        extra=_fields(
            g.request_id,
            method=request.method,
            route=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
        ),
    )
    return response


def _request_id() -> str:
    """The id that the caller or the load balancer gave, if it looks like one, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    if _REQUEST_ID.fullmatch(given):
        return given
    trace = _TRACE_ID.search(request.headers.get("X-Amzn-Trace-Id", ""))
    return trace[1] if trace else uuid.uuid4().hex


def _fields(request_id: str, **fields: object) -> dict[str, Any]:
    return {"fields": {**fields, "request_id": request_id}}


def _exception(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> dict[str, Any]:
    causes = []
    while error is not None:
        causes.append(f"{type(error).__module__}.{type(error).__qualname__}")
        error = error.__cause__ or error.__context__
    frames = traceback.extract_tb(trace)
    return {
        "exception": causes,
        "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
