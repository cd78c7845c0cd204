"""The release window: which times are in it, when it next opens, and invalid files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deploy.base.errors import InvalidConfig
from deploy.config import window
from deploy.config.window import DAYS, load

OFFICE = """
time_zone = "Europe/Berlin"
[[window]]
days = ["Monday", "Tuesday", "Wednesday", "Thursday"]
from = "09:00"
to = "16:00"
"""
NIGHT = OFFICE.replace('"09:00"', '"22:00"').replace('"16:00"', '"02:00"')
FREEZE = '[[freeze]]\nfirst = {}\nlast = {}\nreason = "Holidays"\n'


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-11-24T08:59:59+01:00", False),
        ("2026-11-24T09:00:00+01:00", True),
        ("2026-11-24T15:59:59+01:00", True),
        ("2026-11-24T16:00:00+01:00", False),
        ("2026-11-27T12:00:00+01:00", False),  # a Friday
        ("2026-11-24T08:30:00+00:00", True),  # the same moment in another zone
        ("2026-07-21T07:00:00+00:00", True),  # in summer, the clock is two hours ahead of UTC
        ("2026-07-21T06:59:00+00:00", False),
    ],
)
def test_a_window_is_open_on_its_days_between_its_times(text, is_open):
    assert load(OFFICE).is_open(at(text)) is is_open


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-11-23T01:00+01:00", False),  # Monday; there is no window on Sunday evening
        ("2026-11-23T22:00+01:00", True),
        ("2026-11-24T01:59+01:00", True),
        ("2026-11-24T02:00+01:00", False),
        ("2026-11-27T01:59+01:00", True),  # Friday, but still in Thursday's window
        ("2026-11-27T23:00+01:00", False),
    ],
)
def test_a_window_that_crosses_midnight_belongs_to_the_day_on_which_it_begins(text, is_open):
    assert load(NIGHT).is_open(at(text)) is is_open


def test_a_window_that_begins_on_sunday_ends_on_monday():
    calendar = load(NIGHT.replace('"Monday", "Tuesday", "Wednesday", "Thursday"', '"Sunday"'))
    assert calendar.is_open(at("2026-11-23T01:00+01:00"))
    assert not calendar.is_open(at("2026-11-24T01:00+01:00"))


def test_a_window_may_last_until_the_end_of_the_day():
    calendar = load(OFFICE.replace('"16:00"', '"24:00"'))
    assert calendar.is_open(at("2026-11-24T23:59+01:00"))
    assert not calendar.is_open(at("2026-11-25T00:00+01:00"))


def test_a_freeze_may_cross_the_end_of_the_year():
    calendar = load(OFFICE + FREEZE.format("2026-12-21", "2027-01-03"))
    assert calendar.is_open(at("2026-12-17T15:59+01:00"))
    for day in ("2026-12-21", "2026-12-31", "2027-01-01"):
        assert not calendar.is_open(at(f"{day}T12:00+01:00"))
    explained = calendar.explain(at("2026-12-29T12:00+01:00"))
    assert "nothing is released until 2027-01-03: Holidays" in explained
    assert "It opens Monday 2027-01-04 09:00 in Europe/Berlin." in explained


@pytest.mark.parametrize(
    ("zone", "offset"), [("Europe/Berlin", "+01:00"), ("Asia/Kathmandu", "+05:45")]
)
def test_a_window_opens_when_a_freeze_ends_during_it(zone, offset):
    text = NIGHT.replace("Europe/Berlin", zone) + FREEZE.format("2026-11-23", "2026-11-23")
    calendar = load(text)
    assert calendar.next_opening(at(f"2026-11-23T23:00{offset}")) == at(f"2026-11-24T00:00{offset}")
    assert calendar.schedule() == "cron(0 0,22 ? * MON,TUE,WED,THU,FRI *)"


def test_a_window_in_the_skipped_hour_of_spring_opens_after_it():
    """On 29 March 2026, clocks in Berlin go from 02:00 to 03:00."""
    calendar = load(
        OFFICE.replace('"Monday", "Tuesday", "Wednesday", "Thursday"', '"Sunday"')
        .replace('"09:00"', '"02:30"')
        .replace('"16:00"', '"04:00"')
    )
    assert calendar.next_opening(at("2026-03-28T12:00+01:00")) == at("2026-03-29T03:00+02:00")
    assert not calendar.is_open(at("2026-03-29T01:59+01:00"))
    assert not calendar.is_open(at("2026-03-29T04:00+02:00"))


def test_a_window_in_the_repeated_hour_of_autumn_opens_twice():
    """On 25 October 2026, clocks in Berlin go from 03:00 back to 02:00."""
    calendar = load(
        OFFICE.replace('"Monday", "Tuesday", "Wednesday", "Thursday"', '"Sunday"')
        .replace('"09:00"', '"02:30"')
        .replace('"16:00"', '"02:45"')
    )
    assert calendar.is_open(at("2026-10-25T02:35+02:00"))
    assert not calendar.is_open(at("2026-10-25T02:50+02:00"))
    assert calendar.is_open(at("2026-10-25T02:35+01:00"))
    assert calendar.next_opening(at("2026-10-25T02:45+02:00")) == at("2026-10-25T02:30+01:00")


def test_a_window_that_never_opens_is_reported():
    calendar = load(OFFICE + FREEZE.format("2026-01-01", "2099-12-31"))
    assert calendar.next_opening(at("2026-11-24T12:00+01:00")) is None
    assert "It does not open within the next 400 days." in calendar.explain(
        at("2026-11-24T12:00+01:00")
    )


moments = st.integers(1_735_689_600, 1_861_920_000).map(  # 2025 to 2028
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)


@given(moments)
def test_the_next_opening_is_open_and_the_minute_before_is_not(moment):
    calendar = load(NIGHT + FREEZE.format("2026-12-18", "2027-01-03"))
    opening = calendar.next_opening(moment)
    assert opening >= moment
    assert calendar.is_open(opening)
    if opening > moment:
        assert not calendar.is_open(opening - timedelta(minutes=1))


@given(st.lists(st.sampled_from(DAYS), min_size=1, unique=True), moments)
def test_the_schedule_fires_when_the_window_opens(days, moment):
    names = ", ".join(f'"{day}"' for day in days)
    text = NIGHT.replace('"Monday", "Tuesday", "Wednesday", "Thursday"', names)
    calendar = load(text + FREEZE.format("2026-12-18", "2027-01-03"))
    assume(not calendar.is_open(moment))
    opening = calendar.next_opening(moment).astimezone(calendar.zone)
    minute, hours, *_, weekdays, _ = calendar.schedule()[5:-1].split()
    assert minute == str(opening.minute) == "0"
    assert str(opening.hour) in hours.split(",")
    assert DAYS[opening.weekday()][:3].upper() in weekdays.split(",")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"Europe/Berlin"', '"Berlin"', "expected a name such as Europe/Berlin"),
        ('"Europe/Berlin"', "1", "expected a name such as"),
        ('from = "09:00"\n', "", "window 1: from is missing: expected a time"),
        ('to = "16:00"', 'to = "16:00"\ncolour = 1', "window 1: colour: unknown key"),
        ('"Monday", ', '"monday", ', "expected a list of Monday, Tuesday"),
        ('["Monday", "Tuesday", "Wednesday", "Thursday"]', "[]", "expected a list of Monday"),
        ('"09:00"', '"9:00"', "expected a time such as '09:00', in quotes"),
        ('"09:00"', "09:00:00", "in quotes"),
        ('"16:00"', '"24:01"', "expected a time"),
        ('"16:00"', '"15:60"', "expected a time"),
        ('"09:00"', '"24:00"', "00:00 of the following day"),
        ('"16:00"', '"09:00"', "a whole day is from 00:00 to 24:00"),
        ("[[window]]", "[window]", r"expected tables that begin with \[\[window\]\]"),
        ("time_zone", "?", "invalid TOML"),
    ],
)
def test_an_invalid_file_is_refused(old, new, what):
    assert old in OFFICE
    with pytest.raises(InvalidConfig, match=what):
        load(OFFICE.replace(old, new))


@pytest.mark.parametrize(
    ("freeze", "what"),
    [
        (FREEZE.format("2026-12-24", "2026-12-23"), "it ends on 2026-12-23, before it begins"),
        (FREEZE.format('"2026-12-24"', "2026-12-25"), "expected a date such as 2026-12-24"),
        (FREEZE.format("2026-12-24T10:00:00", "2026-12-25"), "expected a date"),
        (FREEZE.format("2026-12-24", "2026-12-25").replace("Holidays", " "), "expected a sentence"),
    ],
)
def test_an_invalid_freeze_is_refused(freeze, what):
    with pytest.raises(InvalidConfig, match=what):
        load(OFFICE + freeze)


def test_a_file_without_a_window_is_refused():
    with pytest.raises(InvalidConfig, match="1 or more"):
        load('time_zone = "UTC"\nwindow = []\n')


def test_the_command_shows_whether_the_window_is_open(project, command):
    (project / "devops/release_window.toml").write_text(OFFICE)
    assert command("window", "--at", "2026-11-24T12:00+01:00") == (
        0,
        "The release window is open: it is Tuesday 2026-11-24 12:00 in Europe/Berlin.\n",
    )
    code, printed = command("window", "--at", "2026-11-27T12:00+01:00")
    assert code == 1
    assert "It opens Monday 2026-11-30 09:00 in Europe/Berlin." in printed
    assert command("window")[0] in (0, 1)


@pytest.mark.parametrize("moment", ["noon", "2026-11-24T12:00"])
def test_an_invalid_time_is_refused(command, moment):
    code, printed = command("window", "--at", moment)
    assert code == 2
    assert "expected a time such as" in printed


def test_an_invalid_file_is_not_a_closed_window(project, command):
    (project / "devops/release_window.toml").write_text(OFFICE.replace("09:00", "9"))
    code, printed = command("window")
    assert code == 2
    assert "devops/release_window.toml: window 1: from '9'" in printed
    assert command("check")[0] == 1


def test_the_schedule_is_a_cron_expression_of_aws():
    assert load(OFFICE).schedule() == "cron(0 9 ? * MON,TUE,WED,THU *)"


def test_the_projects_file_is_valid():
    assert window.read(Path()).windows
