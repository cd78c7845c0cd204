"""A collector in place of Sentry, which receives and decodes the SDK's envelopes.

Usage: python sentry.py PORT      prints each event as a line of JSON, for a container
"""

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY, PROJECT = "0123456789abcdef", "7"


class Collector:
    """Listens on ``host``; ``mode`` is how it answers: "normal", "full" (429), or "silent" (not at all)."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.mode = "normal"
        self.received: list[tuple[str, Any]] = []
        self.raw: list[str] = []
        self.asked = 0  # requests, answered or not
        self._changed = threading.Condition()
        self._released = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.dsn = f"http://{KEY}@{host}:{self._server.server_port}/{PROJECT}"
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def take(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer a request."""
        assert handler.path == f"/api/{PROJECT}/envelope/"
        assert f"sentry_key={KEY}" in handler.headers["X-Sentry-Auth"]
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with self._changed:
            self.asked += 1
            if self.mode == "normal":
                self.raw.append(f"{handler.headers}{body.decode()}")
                self.received += decode(body)
            self._changed.notify_all()
        if self.mode == "silent":
            self._released.wait(60)
        handler.send_response(429 if self.mode == "full" else 200)
        if self.mode == "full":
            handler.send_header("X-Sentry-Rate-Limits", "60:error:key")
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    def events(self, count: int = 1, seconds: float | None = 30) -> list[Any]:
        """Wait until there are ``count`` events, and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._events()) >= count, seconds), (
                self.received
            )
            return self._events()

    def wait_until_asked(self, count: int = 1, seconds: float = 30) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked >= count, seconds)

    def _events(self) -> list[Any]:
        return [content for kind, content in self.received if kind == "event"]

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


def decode(envelope: bytes) -> list[tuple[str, Any]]:
    """The items of an envelope: type, content."""
    _, _, rest = envelope.partition(b"\n")
    found = []
    while rest:
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        length = header.get("length")
        content, rest = (rest[:length], rest[length:]) if length else rest.split(b"\n", 1)
        found.append((header["type"], json.loads(content)))
        rest = rest.lstrip(b"\n")
    return found


def main() -> None:
    """Collect until somebody ends it."""
    collector = Collector("0.0.0.0", int(sys.argv[1]))
    shown = 0
    while True:
        for event in collector.events(shown + 1, seconds=None)[shown:]:
            print(json.dumps(event), flush=True)  # noqa: T201
            shown += 1


if __name__ == "__main__":
    main()
