"""Failures: what happened, how things are now, and what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager


class Failure(Exception):
    """An expected failure. ``commands.cli.main`` prints its three sentences and exits with code 1.

    ``now`` may be left empty where it is raised. It is then whether the run has changed anything,
    unless a caller that knows more fills it in, with ``state``.
    """

    def __init__(self, what: str, now: str = "", next: str = "") -> None:  # noqa: A002
        super().__init__(what)
        self.what, self.now, self.next = what, now, next


class AwsFailure(Failure):
    """AWS refused or did not answer; ``code`` is AWS's own, and empty without an answer.

    If it is ``transient``, the same request may succeed a moment later, or may already have taken
    effect.
    """

    def __init__(
        self,
        what: str,
        next: str,  # noqa: A002
        code: str = "",
        reason: str = "",
        transient: bool = False,
    ) -> None:
        super().__init__(what, next=next)
        self.code, self.reason, self.transient = code, reason, transient


class NotFound(Failure):
    """AWS reported that a named resource does not exist."""


class InvalidConfig(Failure):
    """A file of this checkout has an invalid value."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}", next=f"correct {file}")


class Locked(Failure):
    """Another run holds the lock."""


class Unhealthy(Failure):
    """An environment does not run the expected version, or does not work."""


class Interrupted(BaseException):
    """A signal requested termination.

    Not an Exception, so that nothing mistakes it for a failure.
    """


@contextmanager
def state(now: str) -> Iterator[None]:
    """A context in which ``now`` is added to a failure that does not give the current state."""
    try:
        yield
    except Failure as failure:
        failure.now = failure.now or now
        raise
