"""The log of an environment: its last lines, those of one request, or as they are written."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from deploy.base.context import Run
from deploy.base.errors import Interrupted, NotFound
from deploy.base.waiting import Pending, wait_until
from deploy.config.environments import Environment
from deploy.resources import beanstalk, logs
from deploy.resources.logs import Line

LOOK_BACK = timedelta(days=1)  # unless it is said
LINES = 100  # the same
# Both are in JSON; docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
ERRORS = '{ $.status >= 500 || $.level = "warning" || $.level = "error" || $.level = "critical" }'
# How much later than another instance's lines those of an instance may arrive and still be shown
DELAY = timedelta(seconds=30)
# How long ago the last look may have been by AWS's clock, from which this machine's may differ by
# 5 min (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html)
SKEW = timedelta(minutes=6)


@dataclass(frozen=True)
class Wish:
    """Which lines: of which ``file`` below /var/log, or of those that have requests."""

    since: datetime | None = None
    count: int | None = None  # of the last lines
    request: str | None = None
    errors: bool = False
    file: str | None = None

    @property
    def files(self) -> list[str]:
        """Those that have them."""
        if self.file:
            return [self.file]
        return [logs.APPLICATION, logs.PROXY] if self.request else [logs.APPLICATION]

    @property
    def pattern(self) -> str:
        """What CloudWatch filters by; empty for all lines."""
        return f'"{self.request}"' if self.request else ERRORS if self.errors else ""

    @property
    def last(self) -> int | None:
        """The number of last lines; None for all of them."""
        return self.count or (None if self.since or self.request else LINES)


def show(run: Run, environment: Environment, wish: Wish, follow: bool) -> None:
    """Print the lines, also those that are written until a signal comes, if asked to ``follow``.

    Raises NotFound if there is no such log, and AwsFailure.
    """
    now = datetime.now(UTC)
    reader = _Reader(run, _find_groups(run, environment, wish.files), wish.pattern)
    since = wish.since or now - LOOK_BACK
    reader.show(since, wish.last)
    if follow:
        _follow(run, environment, reader, since)
    elif reader.first is None:
        run.console.say(
            f"no such lines since {since:%Y-%m-%d %H:%M} UTC in {', '.join(reader.groups)}",
            "look further back, such as with --since 30d",
        )


class _Reader:
    """Reads ``groups``, and remembers what it printed."""

    def __init__(self, run: Run, groups: list[str], pattern: str) -> None:
        self._run, self.groups, self._pattern = run, groups, pattern
        self._recent: dict[str, int] = {}  # the lines that a next look may find again
        self.first: int | None = None  # the time of the first line

    def show(self, since: datetime, last: int | None = None) -> None:
        """Print the lines after ``since``, or the ``last`` of them, but none twice."""
        edge = logs.to_milliseconds(datetime.now(UTC) - SKEW)
        each = [logs.read(self._run, one, self._pattern, since, last) for one in self.groups]
        lines: Iterator[Line] = heapq.merge(*each, key=lambda line: line.at, reverse=bool(last))
        for line in reversed(list(islice(lines, last))) if last else lines:
            if line.id not in self._recent:
                self._run.console.result(line.text)
            if line.at >= edge:
                self._recent[line.id] = line.at
            self.first = line.at if self.first is None else self.first

    def show_more(self, since: datetime) -> None:
        """Print the lines that were written since the last look, or at least ``since``."""
        begin = max(since, datetime.now(UTC) - SKEW)
        if self._recent:
            newest = datetime.fromtimestamp(max(self._recent.values()) / 1000, UTC)
            begin = max(begin, newest - DELAY)
        edge = logs.to_milliseconds(begin)
        self._recent = {one: at for one, at in self._recent.items() if at >= edge}
        self.show(begin)


def _follow(run: Run, environment: Environment, reader: _Reader, since: datetime) -> None:
    if reader.first is not None:  # what precedes the last lines is not wanted
        since = datetime.fromtimestamp(reader.first / 1000, UTC)

    def look() -> Pending:
        reader.show_more(since)
        return Pending("followed until Ctrl-C")

    try:
        wait_until(run, f"the log of {environment.name}", look, math.inf)
    except Interrupted:
        run.console.say("no longer followed; nothing was changed")


def _find_groups(run: Run, environment: Environment, files: list[str]) -> list[str]:
    """The log groups of ``files``, without those that do not exist. Raises NotFound."""
    wanted = [logs.name(environment.name, one) for one in files]
    there = logs.find_groups(run, logs.name(environment.name, ""))
    found = [one for one in wanted if one in there]
    if not found:
        raise _missing(run, environment, wanted[0], there)
    for one in wanted:
        if one not in there:
            run.console.say(f"there is no {one} yet, so it was not searched")
    return found


def _missing(run: Run, environment: Environment, group: str, there: set[str]) -> NotFound:
    """Why there is no ``group``, and what to do."""
    what, settings = f"there is no log group {group} in {run.settings.region}", run.settings
    folder = logs.name(environment.name, "")
    others = sorted(one.removeprefix(folder) for one in there)
    if others:
        return NotFound(what, next=f"name one that exists with --file: {', '.join(others)}")
    state = beanstalk.find(run, environment.name)
    if state is None:
        what += f", because there is no environment {environment.name}, and there never was one"
        return NotFound(what, next=settings.elsewhere(f"create {environment.short}"))
    return NotFound(
        f"{what} yet: {environment.name} is {state.status}, and AWS creates the group when its "
        "first instance sends lines",
        next=f"see whether it gets that far: {settings.eb(f'events {environment.name}')}",
    )
