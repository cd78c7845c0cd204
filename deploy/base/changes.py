"""All changes go through this module: each is shown, and made unless this is a dry run."""

from collections.abc import Callable
from typing import TypeVar

from deploy.base.console import Console

T = TypeVar("T")


class Changes:
    """Makes changes, or only shows them."""

    def __init__(self, console: Console, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._console = console

    def make(self, command: str, act: Callable[[], T], otherwise: T) -> T:
        """The result of ``act``, or ``otherwise`` in a dry run. Shows ``command``."""
        self._console.command(command)
        return otherwise if self.dry_run else act()

    def done(self, text: str) -> None:
        """Report that a change was made; does nothing in a dry run."""
        if not self.dry_run:
            self._console.say(text)

    def quietly(self, act: Callable[[], None]) -> None:
        """Run a step that has no command, such as verifying a change; does nothing in a dry run."""
        if not self.dry_run:
            act()
