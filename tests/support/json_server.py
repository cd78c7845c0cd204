"""A server on loopback that speaks JSON."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class JsonServer:
    """Answers each POST with the status and the value that ``reply(path, headers, body)`` returns.

    ``more`` are headers of each answer.
    """

    def __init__(self, reply, more=None):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, value = reply(self.path, self.headers, body)
                content = json.dumps(value).encode()
                self.send_response(status)
                headers = {"Content-Length": str(len(content))} | (more or {})
                for name, text in headers.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
