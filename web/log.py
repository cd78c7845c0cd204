"""One JSON line for each request, on standard output, without personal data."""

import json
import logging
import logging.config
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, request

# Only ids that cannot be personal data: a UUID, 16 to 64 hexadecimal digits, a ULID, or a trace id
# of AWS. The same patterns are in .platform/nginx/nginx.conf
_REQUEST_ID = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|[0-9a-fA-F]{16,64}"
    r"|[0-7][0-9A-HJKMNP-TV-Z]{25}"
    r"|1-[0-9a-f]{8}-[0-9a-f]{24}"
)
_TRACE_ID = re.compile(r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24})")
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_ID_KEY = "web.request_id"  # key in the WSGI environ of a request

_requests = logging.getLogger("web.requests")


class Formatter(logging.Formatter):
    """A record as one line of JSON.

    For exceptions it has the class and the stack, never the message: the database's messages quote
    the row in question.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line for ``record``, without a line break."""
        line: dict[str, Any] = {
            "time": _now(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            _, error, trace = record.exc_info
            kinds = map(type, causes(error))
            line["exception"] = [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds]
            frames = traceback.extract_tb(trace)
            line["stack"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, default=str)


class Handler(logging.Handler):
    """Writes records to standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line for ``record``."""
        _write(f"{self.format(record)}\n")


class RequestLog:
    """WSGI middleware: gives each request an id and each response its headers, and logs both.

    Its line has the same keys as Formatter's, but is assembled by hand: with ``logging`` and hooks
    of Flask, it cost more than everything else in a request except the database (`make bench`,
    23 November 2026).
    """

    def __init__(self, wsgi_app: WSGIApplication, version: str) -> None:
        self._wsgi_app, self._version = wsgi_app, json.dumps(version)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request as PEP 3333 says."""
        began = time.perf_counter()
        identity = environ[_ID_KEY] = _request_id(environ)
        route = status = None

        def respond(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal route, status
            rule = environ["werkzeug.request"].url_rule  # Flask's request, put there by werkzeug
            route, status = rule and rule.rule, line[:3]
            headers.append(("X-Request-ID", identity))
            headers.append(("X-Content-Type-Options", "nosniff"))
            if not any(name == "Cache-Control" for name, _ in headers):
                headers.append(("Cache-Control", "no-store"))
            return start_response(line, headers, *exc_info)

        body = self._wsgi_app(environ, respond)
        if _requests.isEnabledFor(logging.INFO):
            _write(
                f'{{"time": "{_now()}", "level": "info", "logger": "web.requests", '
                f'"message": "request", "version": {self._version}, '
                f'"method": "{method(environ)}", '
                f'"route": {json.dumps(route)}, "status": {status}, '
                f'"duration_ms": {(time.perf_counter() - began) * 1000:.2f}, '
                f'"request_id": "{identity}"}}\n'
            )
        return body


def configuration(level: str) -> dict[str, Any]:
    """The set-up of ``logging`` for the application and its server: all to standard output."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": Formatter}},
        "handlers": {"stdout": {"()": Handler, "formatter": "json"}},
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            "web.database.Pool": {"level": "ERROR"},  # SQLAlchemy's, which quotes errors
            "_granian": {},
            "granian.access": {},
            "urllib3": {"level": "ERROR"},  # it warns of each failed attempt to reach Sentry
            "werkzeug": {"level": "WARNING"},  # the request lines of `make dev` contain the path
        },
    }


def init_app(app: Flask) -> None:
    """Log every request of ``app``."""
    logging.config.dictConfig(configuration(app.config["LOG_LEVEL"]))
    app.wsgi_app = RequestLog(app.wsgi_app, app.config["APP_VERSION"])  # type: ignore[method-assign]  # as Flask's docs say


def request_id() -> str:
    """The id of the current request."""
    return str(request.environ[_ID_KEY])


def method(environ: Mapping[str, Any]) -> str:
    """The method of a request, if it is one of HTTP's: a client can send any text."""
    name: str = environ["REQUEST_METHOD"]
    return name if name in _METHODS else "OTHER"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and its causes, each once, because such a chain can lead back to its beginning."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _write(line: str) -> None:
    """Write ``line`` to standard output, or lose it: a full disk must not fail a request."""
    with suppress(OSError, ValueError, AttributeError):  # failed, closed or missing
        sys.stdout.write(line)
        sys.stdout.flush()


def _request_id(environ: dict[str, Any]) -> str:
    """The id that the client or the load balancer sent, if it has a known format, or a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    if _REQUEST_ID.fullmatch(given):
        return str(given)
    trace = _TRACE_ID.search(environ.get("HTTP_X_AMZN_TRACE_ID", ""))
    return trace[1] if trace else os.urandom(16).hex()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
