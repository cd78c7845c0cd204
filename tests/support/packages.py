"""A package index on loopback, whose packages are made when it starts."""

import base64
import contextlib
import hashlib
import io
import ssl
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Index:
    """Serves ``files`` by path. ``seen`` has the paths requested; one of ``stalled`` gets no answer.

    With ``login`` ("user:password") it requires that; with ``tls``, an SSLContext, it speaks TLS. A
    request to a proxy names the host in its path: it is answered like one to the index itself.
    """

    def __init__(self, login: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.stalled = ""
        self.requested = threading.Event()  # the one that is stalled
        self._released = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index._serve(self, login)

            do_HEAD = do_GET  # noqa: N815  # the framework's name

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.address = f"127.0.0.1:{self._server.server_port}"
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{login + '@' if login else ''}{self.address}/simple/"
        threading.Thread(target=self._serve_forever, daemon=True).start()

    def _serve_forever(self) -> None:
        try:
            self._server.serve_forever(0.01)
        except ssl.SSLError:  # a client without a certificate
            self._serve_forever()

    def _serve(self, handler: BaseHTTPRequestHandler, login: str) -> None:
        path = urlsplit(handler.path).path
        self.seen.append(handler.path)
        if self.stalled and self.stalled in path:
            self.requested.set()
            self._released.wait(60)
        wanted = "Basic " + base64.b64encode(login.encode()).decode()
        if login and handler.headers.get("Authorization") != wanted:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", "Basic")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = self.files.get(path)
        with contextlib.suppress(ConnectionError):  # of a client that was interrupted
            self._answer(handler, path, body)

    def _answer(self, handler: BaseHTTPRequestHandler, path: str, body: bytes | None) -> None:
        handler.send_response(404 if body is None else 200)
        handler.send_header(
            "Content-Type", "text/html" if path.endswith("/") else "application/zip"
        )
        handler.send_header("Content-Length", str(len(body or b"")))
        handler.end_headers()
        handler.wfile.write(b"" if handler.command == "HEAD" else body or b"")

    def offer(self, name: str, *files: tuple[str, bytes]) -> None:
        """Offer files (name and content) as those of the package ``name``."""
        links = []
        for file, content in files:
            self.files[f"/files/{file}"] = content
            links.append(f'<a href="/files/{file}#sha256={digest(content)}">{file}</a>')
        self.files[f"/simple/{name}/"] = "<br>".join(links).encode()

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


def digest(content: bytes) -> str:
    """The hash that a lock file has of a file."""
    return hashlib.sha256(content).hexdigest()


def wheel(name: str, version: str, **files: str) -> tuple[str, bytes]:
    """The name and content of a wheel; ``files`` are added to it, with "/" as "__" in their names."""
    info = f"{name}-{version}.dist-info"
    content = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{path.replace("__", "/"): text for path, text in files.items()},
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in content.items():
            entry = zipfile.ZipInfo(path)  # with a fixed date, so that the hash is fixed
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    return f"{name}-{version}-py3-none-any.whl", packed.getvalue()


def source(name: str, version: str) -> tuple[str, bytes]:
    """The name and content of a source distribution."""
    setup = f"import setuptools\nsetuptools.setup(name={name!r}, version={version!r})\n".encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(f"{name}-{version}/setup.py")
        entry.size = len(setup)
        archive.addfile(entry, io.BytesIO(setup))
    return f"{name}-{version}.tar.gz", packed.getvalue()
