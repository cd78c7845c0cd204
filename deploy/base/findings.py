"""What a check found: ready, not ready with what to do, or unknown for lack of an answer."""

from collections.abc import Callable
from dataclasses import dataclass

from deploy.base.errors import AwsFailure

READY, NOT_READY, UNKNOWN = "ready", "NOT READY", "unknown"
LATER = "later"  # nobody can know it yet; it counts as neither


@dataclass(frozen=True)
class Finding:
    """One line of a check, and the command that makes it ready."""

    state: str
    what: str
    next: str = ""

    @property
    def is_open(self) -> bool:
        """Whether somebody has to do something about it, or to ask again."""
        return self.state in (NOT_READY, UNKNOWN)


def ready(what: str) -> list[Finding]:
    """The findings of a check that has only this one, as for the next two."""
    return [Finding(READY, what)]


def not_ready(what: str, remedy: str) -> list[Finding]:
    """``remedy`` is a command, or what else to do."""
    return [Finding(NOT_READY, what, remedy)]


def later(what: str, remedy: str = "") -> list[Finding]:
    """``remedy`` is for the day on which it turns out."""
    return [Finding(LATER, what, remedy)]


def answered(check: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of ``check``: unknown if AWS refused or did not answer a query, never ready."""
    try:
        return check()
    except AwsFailure as failure:
        return [Finding(UNKNOWN, failure.what, failure.next)]
