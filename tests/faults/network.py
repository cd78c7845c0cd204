"""A network of its own, in which packets and answers of the name server can be withheld."""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.support.needs import lacks

CLONE_NEWNET = 0x40000000
NAME = "database.test"
ANSWER = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x7f\0\0\x01"  # 127.0.0.1, for a second


def isolated(work):
    """Call ``work`` where only the loopback of a new network exists; its children are there too.

    In a thread, because a network belongs to a thread, and nobody can leave a new one.
    """
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("iptables")):
        lacks("permission to make a network (root), ip and iptables")

    def there():
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(there).result()


@contextmanager
def dropped(port):
    """Packets to ``port`` are lost, and those from it arrive."""
    rule = ["OUTPUT", "--protocol", "tcp", "--dport", str(port), "--jump", "DROP"]
    subprocess.run(["iptables", "--append", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "--delete", *rule], check=True)


class NameServer:
    """Knows one name, NAME, and is silent until ``answering`` is set."""

    def __init__(self):
        self.answering = threading.Event()
        self.asked = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        """Stop."""
        self._socket.close()

    def _serve(self):
        while True:
            try:
                query, client = self._socket.recvfrom(512)
            except OSError:
                return
            self.asked.set()
            if self.answering.is_set():
                question = query[12 : query.index(b"\0", 12) + 5]
                is_ipv4 = question.endswith(b"\0\x01\0\x01")
                counts = b"\0\x01\0\x01\0\0\0\0" if is_ipv4 else b"\0\x01\0\0\0\0\0\0"
                answer = ANSWER if is_ipv4 else b""
                self._socket.sendto(query[:2] + b"\x81\x80" + counts + question + answer, client)
