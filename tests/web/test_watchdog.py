import socket
import time

import pytest

from web.watchdog import Watchdog


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_it_hangs_up_on_who_waits_too_long(pair):
    ours, _ = pair
    began = time.monotonic()
    watchdog = Watchdog(0.1)
    watchdog.begin(ours.fileno())
    assert ours.recv(1) == b""  # would wait for ever
    watchdog.end(ours.fileno())
    assert time.monotonic() - began < 10


def test_it_leaves_alone_who_is_done(pair):
    ours, theirs = pair
    watchdog = Watchdog(0.1)
    for _ in range(3):
        watchdog.begin(ours.fileno())
        watchdog.end(ours.fileno())
    time.sleep(0.6)
    theirs.send(b"x")
    assert ours.recv(1) == b"x"


def test_it_goes_on_after_a_socket_that_is_gone(pair):
    ours, _ = pair
    watchdog = Watchdog(0.1)
    gone = socket.socket()
    descriptor = gone.fileno()
    watchdog.begin(descriptor)
    gone.close()
    time.sleep(0.6)
    watchdog.end(descriptor)
    ours.settimeout(10)
    watchdog.begin(ours.fileno())
    assert ours.recv(1) == b""
    watchdog.end(ours.fileno())
