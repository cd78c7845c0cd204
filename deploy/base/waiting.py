"""Waiting for AWS, in one place: what is asked again, what is shown, and what ends it."""

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from deploy.base.context import Run
from deploy.base.errors import AwsFailure

T = TypeVar("T")


class Pending(NamedTuple):
    """What is waited for is not there yet: its present state, and details for display."""

    state: str
    detail: str = ""


def wait_until(
    run: Run, name: str, look: Callable[[], T | Pending], patience: float
) -> T | Pending:
    """The first result of ``look`` that is not Pending; after ``patience`` seconds a Pending.

    Looks every POLL_SECONDS, and shows the state of ``name``. While AWS does not answer, or limits
    the number of requests, looks again until HEALTH_TIMEOUT, and then raises AwsFailure. Whatever
    else ``look`` raises ends the wait at once.
    """
    show = run.console.waiting(name)
    deadline = time.monotonic() + patience
    silent_until = time.monotonic() + run.settings.health_timeout
    while True:
        try:
            found = look()
        except AwsFailure as failure:
            if not failure.transient or time.monotonic() >= min(deadline, silent_until):
                raise
            show("unknown", failure.what)
        else:
            if not isinstance(found, Pending) or time.monotonic() >= deadline:
                return found
            silent_until = time.monotonic() + run.settings.health_timeout
            show(*found)
        time.sleep(run.settings.poll)


def persist(run: Run, name: str, ask: Callable[[], T]) -> T:
    """The result of ``ask``, which is asked again while AWS does not answer, as above."""
    found = wait_until(run, name, ask, run.settings.health_timeout)
    assert not isinstance(found, Pending)  # noqa: S101  # there is nothing to wait for
    return found
