from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.birthday import days_until_birthday, greeting, next_birthday

CYCLE = 146_097  # days of 400 years, after which the calendar repeats


def is_birthday(born: date, day: date) -> bool:
    if (born.month, born.day) == (2, 29):
        leap_day_exists = (date(day.year, 3, 1) - timedelta(1)).day == 29
        return (day.month, day.day) == ((2, 29) if leap_day_exists else (3, 1))
    return (born.month, born.day) == (day.month, day.day)


def count_days(born: date, today: date) -> int:
    """The oracle: tries one day after the other."""
    days = 0
    while not is_birthday(born, today + timedelta(days)):
        days += 1
    return days


@pytest.mark.parametrize(
    ("born", "today", "days"),
    [
        ("1990-05-17", "2026-05-17", 0),
        ("1990-05-17", "2026-05-16", 1),
        ("1990-05-17", "2026-05-18", 364),
        ("1990-05-17", "2027-05-18", 365),  # over 29 February 2028
        ("1990-12-31", "2026-01-01", 364),
        ("1990-01-01", "2026-12-31", 1),
        ("2000-02-29", "2024-02-29", 0),
        ("2000-02-29", "2023-02-28", 1),
        ("2000-02-29", "2023-03-01", 0),
        ("2000-02-29", "2023-03-02", 364),
        ("2000-02-29", "2024-03-01", 365),
        ("1896-02-29", "1900-03-01", 0),  # 1900 was no leap year
        ("1896-02-29", "2000-02-29", 0),  # 2000 was one
        ("0001-01-01", "2026-11-23", 39),
    ],
)
def test_days_until_birthday(born: str, today: str, days: int) -> None:
    assert days_until_birthday(date.fromisoformat(born), date.fromisoformat(today)) == days


@pytest.mark.parametrize("born", [date(1996, 2, 29), date(1995, 3, 1), date(1995, 2, 28)])
def test_a_whole_cycle_of_400_years_agrees_with_the_calendar(born: date) -> None:
    expected = None
    for offset in range(CYCLE, -1, -1):  # backwards, so that each day follows from the next
        today = date(2000, 1, 1) + timedelta(offset)
        if is_birthday(born, today):
            expected = 0
        elif expected is None:
            expected = count_days(born, today)
        else:
            expected += 1
        assert days_until_birthday(born, today) == expected


@given(st.dates(), st.dates(max_value=date(9998, 12, 31)))
def test_any_two_dates_agree_with_the_calendar(born: date, today: date) -> None:
    assert days_until_birthday(born, today) == count_days(born, today)


@given(st.dates(), st.dates(max_value=date(9998, 12, 31)))
def test_the_next_birthday_is_within_a_year(born: date, today: date) -> None:
    assert timedelta(0) <= next_birthday(born, today) - today <= timedelta(365)


def test_there_is_no_birthday_after_the_year_9999() -> None:
    assert days_until_birthday(date(1990, 12, 31), date(9999, 12, 31)) == 0
    with pytest.raises(ValueError, match="year 10000"):
        next_birthday(date(1990, 1, 1), date(9999, 12, 31))


def test_greeting() -> None:
    born = date(1990, 5, 17)
    assert greeting("John", born, date(2026, 5, 17)) == "Hello, John! Happy birthday!"
    assert greeting("John", born, date(2026, 5, 16)) == "Hello, John! Your birthday is in 1 day(s)"
