"""One JSON line for each request, on standard output, without anybody's name or date of birth."""

import json
import logging
import logging.config
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from flask import Flask, request

_REQUEST_ID = re.compile(r"[A-Za-z0-9._=/+-]{1,128}")
_TRACE_ID = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24})")
_ID_KEY = "web.request_id"  # in the environ of a request

_requests = logging.getLogger("web.requests")


class Application(Flask):
    """A Flask application without asynchronous views, and without paths in its log."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """``func`` itself. To ask each function anew whether it is asynchronous takes its time."""
        return func

    def log_exception(self, exc_info: Any) -> None:
        """Log that a request failed, but not its path: a name is in it."""
        fields = {"request_id": request.environ[_ID_KEY]}
        self.logger.error("unhandled exception", exc_info=exc_info, extra={"fields": fields})


class Formatter(logging.Formatter):
    """A record as one line of JSON.

    Of exceptions it shows class and place, never the message: the database's messages quote
    the row that they are about.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line for ``record``, without a line break."""
        line = {
            "time": _now(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line |= _exception(*record.exc_info)
        return json.dumps(line, default=str)


class RequestLog:
    """WSGI middleware: gives a request its id and a response its headers, and logs both.

    It writes its lines without the help of ``logging``, which takes longer than all the rest
    of a request but the database.
    """

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]]) -> None:
        self._wsgi_app = wsgi_app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request as PEP 3333 says."""
        started = time.perf_counter()
        request_id = environ[_ID_KEY] = _request_id(environ)
        route = status = None

        def respond(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal route, status
            rule = environ["werkzeug.request"].url_rule
            route, status = rule and rule.rule, line[:3]
            headers.append(("X-Request-ID", request_id))
            headers.append(("X-Content-Type-Options", "nosniff"))
            if not any(name == "Cache-Control" for name, _ in headers):
                headers.append(("Cache-Control", "no-store"))
            return start_response(line, headers, *exc_info)

        body = self._wsgi_app(environ, respond)
        if _requests.isEnabledFor(logging.INFO):
            sys.stdout.write(
                f'{{"time": "{_now()}", "level": "info", "logger": "web.requests", '
                f'"message": "request", "method": {json.dumps(environ["REQUEST_METHOD"])}, '
                f'"route": {json.dumps(route)}, "status": {status}, '
                f'"duration_ms": {(time.perf_counter() - started) * 1000:.2f}, '
                f'"request_id": "{request_id}"}}\n'
            )
            sys.stdout.flush()
        return body


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
    """Log every request of ``app``."""
    logging.config.dictConfig(configuration(app.config["LOG_LEVEL"]))
    app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's docs say


def _request_id(environ: dict[str, Any]) -> str:
    """The id that the caller or the load balancer gave, if it looks like one, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    if given and _REQUEST_ID.fullmatch(given):
        return str(given)
    trace = _TRACE_ID.search(environ.get("HTTP_X_AMZN_TRACE_ID", ""))
    return trace[1] if trace else os.urandom(16).hex()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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
