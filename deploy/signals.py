"""Signals that ask for the end: an exception, so that locks are given back and reports are sent."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deploy.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    deferring = 0
    pending = False


def install() -> None:
    """Raise Interrupted for the first signal. Those after it are ignored, for the end is near."""
    _State.deferring, _State.pending = 0, False
    for number in SIGNALS:
        signal.signal(number, _handle)


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal that comes meanwhile wait until this, which must be short, has ended."""
    _State.deferring += 1
    try:
        yield
    finally:
        _State.deferring -= 1
    if _State.pending and not _State.deferring:
        _State.pending = False
        raise Interrupted


def _handle(number: int, frame: FrameType | None) -> None:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    if _State.deferring:
        _State.pending = True
    else:
        raise Interrupted
