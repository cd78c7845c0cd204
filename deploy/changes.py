"""What changes something passes here: it is shown, and in a dry run that is all."""

from collections.abc import Callable
from typing import TypeVar

from deploy.console import Console

T = TypeVar("T")


class Changes:
    """Makes changes, or only shows them."""

    def __init__(self, console: Console, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._console = console

    def make(self, command: str, act: Callable[[], T], otherwise: T) -> T:
        """What ``act`` returns, or ``otherwise`` in a dry run. Shows ``command``."""
        self._console.command(command)
        return otherwise if self.dry_run else act()

    def done(self, text: str) -> None:
        """Say that a change was made, which is not so in a dry run."""
        if not self.dry_run:
            self._console.say(text)

    def quietly(self, act: Callable[[], None]) -> None:
        """Do what no command stands for: verify a change, write a file here. Not in a dry run."""
        if not self.dry_run:
            act()
