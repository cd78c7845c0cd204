"""The release window: when versions go to production without a manual approval.

It is configured in devops/release_window.toml, whose comments explain the format.
"""

import heapq
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from deploy.base.errors import InvalidConfig
from deploy.base.settings import read_text

NAME = "devops/release_window.toml"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MIDNIGHT = 24 * 60  # minutes
HORIZON = 400  # days to search ahead for the next opening


@dataclass(frozen=True)
class Window:
    """Minutes of the day, ``begin`` inclusive to ``end`` exclusive, on ``days`` (0 is Monday).

    If ``end`` is not after ``begin``, it is on the following day.
    """

    days: frozenset[int]
    begin: int
    end: int

    def covers(self, day: int, minute: int) -> bool:
        """Whether ``minute`` of the weekday ``day`` is in it."""
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        if minute >= self.begin:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days


@dataclass(frozen=True)
class Freeze:
    """The days from ``first`` to ``last``, both included, on which nothing is released."""

    first: date
    last: date
    reason: str


@dataclass(frozen=True)
class Calendar:
    """When versions go to production without a manual approval."""

    zone: ZoneInfo
    windows: tuple[Window, ...]
    freezes: tuple[Freeze, ...]

    def is_open(self, moment: datetime) -> bool:
        """Whether the window is open at ``moment``, which is timezone-aware.

        Local wall-clock time counts: when clocks go back, the repeated hour counts both times.
        """
        local = moment.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return not self.freeze(moment) and any(
            window.covers(local.weekday(), minute) for window in self.windows
        )

    def freeze(self, moment: datetime) -> Freeze | None:
        """The freeze at ``moment``, if there is one."""
        day = moment.astimezone(self.zone).date()
        return next((one for one in self.freezes if one.first <= day <= one.last), None)

    def next_opening(self, moment: datetime) -> datetime | None:
        """The first minute at or after ``moment`` at which it is open, within 400 days."""
        later = (one for one in self._candidates(moment) if one >= moment)
        return next((one for one in later if self.is_open(one)), None)

    def explain(self, moment: datetime) -> str:
        """Text that says whether the window is open at ``moment``, why, and when it next opens."""
        if self.is_open(moment):
            return f"The release window is open: it is {self._show(moment)}."
        frozen = self.freeze(moment)
        opening = self.next_opening(moment)
        return (
            f"The release window is closed: it is {self._show(moment)}"
            + (f", and nothing is released until {frozen.last}: {frozen.reason}" if frozen else "")
            + ". "
            + (
                f"It opens {self._show(opening)}."
                if opening
                else f"It does not open within the next {HORIZON} days."
            )
        )

    def explain_now(self) -> str:
        """The same for the present moment."""
        return self.explain(datetime.now(UTC))

    def schedule(self) -> str:
        """An AWS cron expression that fires at least at each opening, in the window's time zone."""
        begins = {window.begin for window in self.windows}
        days = set().union(*(window.days for window in self.windows))
        if any(window.end <= window.begin for window in self.windows):
            # If a freeze ends in the middle of a window, the window opens at midnight
            begins |= {0}
            days |= {(day + 1) % 7 for day in days}
        minutes = ",".join(str(one) for one in sorted({begin % 60 for begin in begins}))
        hours = ",".join(str(one) for one in sorted({begin // 60 for begin in begins}))
        names = ",".join(DAYS[day][:3].upper() for day in sorted(days))
        return f"cron({minutes} {hours} ? * {names} *)"

    def _show(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone)
        return f"{DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} in {self.zone.key}"

    def _candidates(self, moment: datetime) -> Iterator[datetime]:
        """In their order, and lazily: the next opening is usually among the first of 20,000."""
        # A window opens when it begins, when a freeze ends at midnight, or when the clocks go
        # forward into it, which happens on the hour or half-hour
        half_hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        half_hours = (half_hour + timedelta(minutes=30 * one) for one in range(1, HORIZON * 48))
        today = moment.astimezone(self.zone).date()
        begins = (self._begins(window, today, fold) for window in self.windows for fold in (0, 1))
        return heapq.merge([moment], half_hours, *begins)

    def _begins(self, window: Window, today: date, fold: int) -> Iterator[datetime]:
        clock = time(window.begin // 60, window.begin % 60, fold=fold)
        for day in range(HORIZON):
            begin = datetime.combine(today + timedelta(days=day), clock, self.zone)
            yield begin.astimezone(UTC)


def load(text: str) -> Calendar:
    """The calendar that the TOML document ``text`` describes. Raises InvalidConfig."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(NAME, f"invalid TOML: {error}") from error
    _expect_keys(document, "the file", {"time_zone", "window"}, {"freeze"})
    try:
        zone = ZoneInfo(document["time_zone"])
    except (ValueError, OSError, LookupError, TypeError):
        raise InvalidConfig(
            NAME,
            f"time_zone {document['time_zone']!r}: expected a name such as Europe/Berlin",
        ) from None
    windows = tuple(_window(one, number) for number, one in _tables(document, "window"))
    freezes = tuple(_freeze(one, number) for number, one in _tables(document, "freeze"))
    if not windows:
        raise InvalidConfig(NAME, "there is no [[window]]: expected at least one")
    return Calendar(zone, windows, freezes)


def read(root: Path) -> Calendar:
    """The calendar in the checkout ``root``. Raises InvalidConfig."""
    return load(read_text(root, NAME))


def parse_moment(text: str) -> datetime:
    """A moment such as 2026-11-24T09:30+01:00. Raises ValueError, also if it has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def _tables(document: dict[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    tables = document.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise InvalidConfig(NAME, f"{name}: expected tables that begin with [[{name}]]")
    yield from enumerate(tables, 1)


def _window(table: dict[str, Any], number: int) -> Window:
    where = f"window {number}"
    _expect_keys(table, where, {"days", "from", "to"})
    days = table["days"]
    if not (isinstance(days, list) and days and all(day in DAYS for day in days)):
        raise InvalidConfig(NAME, f"{where}: days {days!r}: expected a list of {', '.join(DAYS)}")
    begin, end = (_minute(table[key], f"{where}: {key}") for key in ("from", "to"))
    if begin == MIDNIGHT:
        raise InvalidConfig(NAME, f"{where}: from '24:00': expected 00:00 of the following day")
    if begin == end:
        raise InvalidConfig(NAME, f"{where}: it is empty; a whole day is from 00:00 to 24:00")
    return Window(frozenset(DAYS.index(day) for day in days), begin, end)


def _freeze(table: dict[str, Any], number: int) -> Freeze:
    where = f"freeze {number}"
    _expect_keys(table, where, {"first", "last", "reason"})
    for key in ("first", "last"):
        if not isinstance(table[key], date) or isinstance(table[key], datetime):
            raise InvalidConfig(
                NAME, f"{where}: {key} {table[key]!r}: expected a date such as 2026-12-24"
            )
    if table["last"] < table["first"]:
        raise InvalidConfig(NAME, f"{where}: it ends on {table['last']}, before it begins")
    if not (isinstance(table["reason"], str) and table["reason"].strip()):
        raise InvalidConfig(NAME, f"{where}: reason: expected a sentence for those who wait")
    return Freeze(table["first"], table["last"], table["reason"].strip())


def _minute(text: Any, where: str) -> int:
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2})", text) if isinstance(text, str) else None
    minute = int(match[1]) * 60 + int(match[2]) if match else -1
    if not match or int(match[2]) > 59 or minute > MIDNIGHT:
        raise InvalidConfig(NAME, f"{where} {text!r}: expected a time such as '09:00', in quotes")
    return minute


def _expect_keys(
    table: dict[str, Any],
    where: str,
    needed: set[str],
    optional: frozenset[str] | set[str] = frozenset(),
) -> None:
    for key in sorted(needed - set(table)):
        raise InvalidConfig(NAME, f"{where}: {key!r} is missing")
    for key in sorted(set(table) - needed - optional):
        raise InvalidConfig(
            NAME, f"{where}: unknown key {key!r}; expected {', '.join(sorted(needed | optional))}"
        )
