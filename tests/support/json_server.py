"""A server on loopback that speaks JSON."""

import json
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Silent(Exception):
    """A request that is not answered: the connection is closed."""


class JsonServer:
    """Answers with the status, value and headers that ``reply(method, path, headers, body)`` returns.

    A value of bytes is sent as it is. The body of a GET is None. ``reply`` may raise Silent.
    """

    def __init__(
        self, reply: Callable[[str, str, Message, Any], tuple[int, Any, dict[str, str]]]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = self.headers["Content-Length"]
                body = json.loads(self.rfile.read(int(length))) if length else None
                try:
                    status, value, more = reply(self.command, self.path, self.headers, body)
                except Silent:
                    self.close_connection = True
                    return
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in {"Content-Length": str(len(content)), **more}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_GET  # noqa: N815  # names of http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
