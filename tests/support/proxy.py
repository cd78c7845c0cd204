"""A proxy in front of PostgreSQL that freezes at a chosen message, as a frozen server would."""

import socket
import ssl
import struct
import threading
from contextlib import suppress
from typing import Self

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Proxy:
    """Forwards connections to ``server`` (host and port), and counts the messages of its answers.

    The answer to a request for TLS and the handshake count as one message each. Before message
    number ``freeze_at`` of all the messages of all connections, it stops until ``thaw()``.

    While ``delivering`` is cleared, it keeps what clients send, as a slow pooler does; it delivers
    that later even if they have left.
    """

    def __init__(
        self,
        server: tuple[str, int],
        tls: ssl.SSLContext | None = None,
        freeze_at: int | None = None,
    ) -> None:
        self._server = server
        self._tls = tls
        self._going = threading.Event()
        self._going.set()
        self.delivering = threading.Event()
        self.delivering.set()
        self._sockets: list[socket.socket] = []
        self._counting = threading.Lock()
        self.freeze_at = freeze_at
        self.messages = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.delivering.set()
        for open_socket in (self._listener, *self._sockets):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    @property
    def frozen(self) -> bool:
        """Whether it has stopped."""
        return not self._going.is_set()

    def thaw(self) -> None:
        """Continue, and never freeze again."""
        self.freeze_at = None
        self._going.set()

    def _pass(self) -> None:
        with self._counting:
            if self.messages == self.freeze_at:
                self._going.clear()
            self.messages += 1
        self._going.wait()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each answer waits
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls:
                if client.recv(8) != SSL_REQUEST:
                    return  # it has given up already
                self._pass()
                client.sendall(b"S")
                self._pass()
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            self._answer(server, client)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.delivering.wait()
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        answers = server.makefile("rb")
        while head := answers.read(5):
            message = head + answers.read(struct.unpack("!xi", head)[0] - 4)
            self._pass()
            client.sendall(message)
        client.shutdown(socket.SHUT_RDWR)
