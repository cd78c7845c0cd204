"""Output for people: progress and failures on standard error, results on standard output."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from deploy.base.errors import Failure

PREFIX = "deploy: "


class Console:
    """Writes human-readable output; on a terminal, progress is a single line that is updated."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._live = False
        self.quiet = False  # whether commands are not written
        self.has_changed = False  # whether this run has changed anything, which a failure says

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr

    def say(self, text: str, next: str = "") -> None:  # noqa: A002
        """Write a sentence, and what to do ``next``."""
        self._clear()
        more = f"\n{PREFIX}  next: {next}" if next else ""
        print(f"{PREFIX}{text}{more}", file=self._stream, flush=True)

    def command(self, line: str) -> None:
        """Write a command that changes something, in a form that can be pasted into a shell."""
        if self.quiet:
            return
        self._clear()
        print(f"+ {line}", file=self._stream, flush=True)

    def result(self, text: str) -> None:
        """Write to standard output, for programs to read."""
        self._clear()
        print(text, flush=True)

    def screen(self, text: str) -> None:
        """Write to standard output; if it is a terminal, replace the previous output."""
        self._clear()
        print("\x1b[H\x1b[2J" if sys.stdout.isatty() else "", text, sep="", flush=True)

    def failure(self, failure: Failure) -> None:
        """Write what happened, the current state, and what to do."""
        now, remedy = "nothing was changed", "see the reason above, then run it again"
        if self.has_changed:
            now = "this run made no further changes"
            remedy += "; it continues where it stopped"
        self.say(f"FAILED: {failure.what}")
        self.say(f"  now: {failure.now or now}")
        self.say(f"  next: {failure.next or remedy}")

    def waiting(self, name: str) -> Callable[[str, str], None]:
        """A function that shows the state of ``name`` and its last event.

        On a terminal each call replaces one line, which also shows the time since the first call;
        anywhere else, as in a log of CI, a line is written when the state has changed.
        """
        began, shown = time.monotonic(), ""

        def show(state: str, event: str = "") -> None:
            nonlocal shown
            text = f"{name} is {state}{f': {event}' if event else ''}"
            elapsed = duration(time.monotonic() - began)
            if self._stream.isatty():
                width = shutil.get_terminal_size().columns - 1
                line = f"{PREFIX}{elapsed}, {text}"[:width]
                print(f"\r\x1b[K{line}", end="", file=self._stream, flush=True)
                self._live = True
            elif text != shown:
                self.say(f"{text} ({elapsed})" if shown else text)
            shown = text

        return show

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._live = False


def duration(seconds: float) -> str:
    """``seconds`` in minutes and seconds, such as "3 min 20 s"."""
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
