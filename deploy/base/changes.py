"""All changes go through this module: each is shown, and made unless this is a dry run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from deploy.base.console import Console
from deploy.base.errors import AwsFailure

T = TypeVar("T")


class Changes:
    """Makes changes, or only shows them."""

    def __init__(self, console: Console, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._console = console

    def make(self, command: str, act: Callable[[], T], otherwise: T) -> T:
        """The result of ``act``, or ``otherwise`` in a dry run. Shows ``command``.

        Unless AWS refuses it, this run has changed something from then on.
        """
        self._console.command(command)
        if self.dry_run:
            return otherwise
        try:
            made = act()
        except AwsFailure as failure:
            self._console.has_changed |= failure.transient
            raise
        except BaseException:  # such as a signal, in the middle of it
            self._console.has_changed = True
            raise
        self._console.has_changed = True
        return made

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """A context whose changes leave nothing behind, such as a lock that is released."""
        before = self._console.has_changed
        try:
            yield
        finally:
            self._console.has_changed = before

    def done(self, text: str) -> None:
        """Report that a change was made; does nothing in a dry run."""
        if not self.dry_run:
            self._console.say(text)

    def quietly(self, act: Callable[[], None]) -> None:
        """Run a step that has no command, such as verifying a change; does nothing in a dry run."""
        if not self.dry_run:
            act()
