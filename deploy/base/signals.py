"""Turns termination signals into an exception, so that locks are released and reports are sent."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deploy.base.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    deferring = 0
    pending = False


def install() -> None:
    """Raise Interrupted for the first signal. Later ones are ignored: the program is ending."""
    _State.deferring, _State.pending = 0, False
    for number in SIGNALS:
        signal.signal(number, _handle)


@contextmanager
def deferred() -> Iterator[None]:
    """Defer signals until the end of this block, which must be short."""
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
