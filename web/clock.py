"""Time zones, and the current date in one of them: views use no other clock."""

import zoneinfo
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

# Only from the package tzdata, because systems differ in the names they know
zoneinfo.reset_tzpath(to=())

# IANA names, without the one that means that nobody has chosen a zone yet
ZONES = frozenset(zoneinfo.available_timezones() - {"Factory"})


def parse_zone(name: str) -> ZoneInfo:
    """The time zone called ``name`` by IANA, such as Europe/Berlin. Raises LookupError."""
    if name not in ZONES:
        raise LookupError(name)
    return ZoneInfo(name)


def today(zone: ZoneInfo) -> date:
    """The calendar day at this moment in ``zone``."""
    return now().astimezone(zone).date()


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
