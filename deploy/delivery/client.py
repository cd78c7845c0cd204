"""An HTTP client of one environment: at its own host, by its public name, with a test user."""

import random
import socket
import ssl
import string
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

LETTERS = 16  # random characters in the name of the user, so that nobody else has it
TIMEOUT = 10  # seconds for one answer


class Answer(NamedTuple):
    """Status (0 if there was none), media type and body of a response, and what was asked."""

    status: int
    kind: str
    body: str
    request: str = ""

    def __str__(self) -> str:
        """A message for a wrong response."""
        return f"{self.request} answered {self.status} {self.body[:200]!r}"


class Place(NamedTuple):
    """Where an environment serves."""

    url: str  # its public address
    host: str  # its own, to which DNS points the name in the URL; empty if the URL has it already

    @property
    def name(self) -> str:
        """The host in the URL."""
        return urllib.parse.urlsplit(self.url).netloc

    def remedy(self, detour: str) -> str:
        """What to change in DNS because of the ``detour`` that it makes."""
        return f"point {self.name} to {self.host}: {detour}"


class _Named(ssl.SSLContext):
    """Expects the certificate to be for ``name``, whatever host is connected to."""

    name: str

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> ssl.SSLSocket:
        """As the original, but for the name."""
        return super().wrap_socket(sock, server_hostname=self.name)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are answers: urllib would send the key along, to any host."""

    def redirect_request(self, *_: Any) -> None:
        """No further request."""


class Client:
    """A client of one service, with an API key if there is one, and a test user."""

    def __init__(self, url: str, key: str = "", host: str = "") -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        parts = urllib.parse.urlsplit(self.url)
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        self._at = self.url
        if host:
            self._headers["Host"] = parts.netloc
            port = f":{parts.port}" if parts.port else ""
            self._at = parts._replace(netloc=f"{host}{port}").geturl()
            context = _Named(ssl.PROTOCOL_TLS_CLIENT)
            context.load_default_certs()
            context.name = parts.hostname or ""
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self.user = "SmokeTest" + "".join(random.choices(string.ascii_letters, k=LETTERS))  # noqa: S311  # it need only be unlikely that a user has this name
        self.has_saved = False  # or may have: a PUT without an answer counts

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """The answer to a request; status 0 and the reason when there is none within TIMEOUT."""
        asked = f"{method} {path}"
        request = urllib.request.Request(self._at + path, body, self._headers, method=method)  # noqa: S310  # the operator's own
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                kind = response.headers.get_content_type()
                return Answer(response.status, kind, response.read().decode(), asked)
        except urllib.error.HTTPError as error:
            with error:
                kind = error.headers.get_content_type()
                return Answer(error.code, kind, error.read().decode("utf-8", "replace"), asked)
        except (OSError, ValueError) as error:
            return Answer(0, "", str(error), asked)

    def ask_about_user(self, method: str, body: bytes | None = None) -> Answer:
        """The response to a request about the test user, whom a PUT may have saved."""
        had_saved, self.has_saved = self.has_saved, self.has_saved or method == "PUT"
        answer = self.ask(method, f"/hello/{self.user}", body)
        if method == "PUT" and 400 <= answer.status < 500:  # refused
            self.has_saved = had_saved
        if method == "DELETE" and answer.status == 204:
            self.has_saved = False
        return answer
