"""The recipients of notifications: an HTTP receiver in which each address and each channel has a path."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.rehearsal.aws.cloudwatch import as_mail


class Receiver:
    """Receives what SNS posts; also imitates the two services that only ``bootstrap`` calls."""

    def __init__(self):
        self.messages = []  # (path, subject, text)
        self.connection = "PENDING"
        self.workspaces = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(receiver.take(self.path, self.headers, body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        if headers.get("X-Amz-Target", "").endswith(".GetConnection"):
            return {"Connection": {"ConnectionStatus": self.connection}}
        if path == "/describe-slack-workspaces":
            return {
                "SlackWorkspaces": [
                    {"SlackTeamId": one, "SlackTeamName": "Somebody"} for one in self.workspaces
                ]
            }
        if body.get("Type") == "Notification":
            text = as_mail(body["Message"]) if path.startswith("/email/") else body["Message"]
            self.messages.append((path, body.get("Subject") or "", text))
        return {}

    def told(self, path):
        """The messages sent to an address or a channel."""
        return [f"{subject}\n{text}" for to, subject, text in list(self.messages) if to == path]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
