"""The release window: when versions go to production without a manual approval.

It is configured in devops/release_window.toml, whose comments explain the format.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from deploy.base.errors import InvalidConfig
from deploy.base.settings import read_text
from deploy.base.tables import Rule, check, kind, parse_toml, tables, text

NAME = "devops/release_window.toml"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HORIZON = 400  # days to search ahead for the next opening
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"


def _is_zone(name: Any) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ValueError, OSError, LookupError, TypeError, AttributeError):
        return False


def _are_days(found: Any) -> bool:
    return isinstance(found, list) and all(one in DAYS for one in found) and bool(found)


KEYS = {
    "time_zone": Rule("expected a name such as Europe/Berlin", _is_zone),
    "window": tables("window", least=1),
    "freeze": tables("freeze"),
}
WINDOW = {
    "days": Rule(f"expected a list of {', '.join(DAYS)}", _are_days),
    "from": text(
        TIME, "a time such as '09:00', in quotes; after 23:59 comes 00:00 of the following day"
    ),
    "to": text(rf"{TIME}|24:00", "a time such as '09:00', in quotes, up to '24:00'"),
}
DATE = kind(date, "a date such as 2026-12-24")
FREEZE = {
    "first": DATE,
    "last": DATE,
    "reason": text(r"(?s).*\S.*", "a sentence that says why"),
}


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
        # A window opens when it begins, when a freeze ends, or when the clocks change: at these
        # minutes of a quarter of an hour, as all time zones differ from UTC by quarters
        minutes = sorted({0, *(window.begin % 15 for window in self.windows)})
        hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        later = (
            hour + timedelta(minutes=15 * quarter + minute)
            for quarter in range(HORIZON * 96)
            for minute in minutes
        )
        found = itertools.chain([moment], later)
        return next((one for one in found if one >= moment and self.is_open(one)), None)

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


def load(document: str) -> Calendar:
    """The calendar that the TOML ``document`` describes. Raises InvalidConfig."""
    found = parse_toml(NAME, document)
    check(NAME, "", found, KEYS, optional=("freeze",))
    windows = tuple(_window(one, number) for number, one in enumerate(found["window"], 1))
    freezes = tuple(_freeze(one, number) for number, one in enumerate(found.get("freeze", []), 1))
    return Calendar(ZoneInfo(found["time_zone"]), windows, freezes)


def read(root: Path) -> Calendar:
    """The calendar in the checkout ``root``. Raises InvalidConfig."""
    return load(read_text(root, NAME))


def parse_moment(text: str) -> datetime:
    """A moment such as 2026-11-24T09:30+01:00. Raises ValueError, also if it has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def _window(table: dict[str, Any], number: int) -> Window:
    check(NAME, f"window {number}: ", table, WINDOW)
    begin, end = (int(table[key][:2]) * 60 + int(table[key][3:]) for key in ("from", "to"))
    if begin == end:
        raise InvalidConfig(
            NAME, f"window {number}: it is empty; a whole day is from 00:00 to 24:00"
        )
    return Window(frozenset(DAYS.index(day) for day in table["days"]), begin, end)


def _freeze(table: dict[str, Any], number: int) -> Freeze:
    check(NAME, f"freeze {number}: ", table, FREEZE)
    if table["last"] < table["first"]:
        raise InvalidConfig(NAME, f"freeze {number}: it ends on {table['last']}, before it begins")
    return Freeze(table["first"], table["last"], table["reason"].strip())
