"""The date of the next birthday, and the greeting for it: pure functions of dates."""

from calendar import isleap
from datetime import date


def next_birthday(born: date, today: date) -> date:
    """The first birthday of someone born on ``born`` that is not before ``today``.

    ``today`` itself counts. In common years, a birthday on 29 February is celebrated on 1 March:
    English law lets a person reach an age at the start of the anniversary (Family Law Reform Act
    1969, s. 9), and where February has no 29th, that moment is the start of 1 March.

    Raises ValueError when the birthday would fall after the year 9999, where dates end.
    """
    this_year = _birthday_in(today.year, born)
    return this_year if this_year >= today else _birthday_in(today.year + 1, born)


def days_until_birthday(born: date, today: date) -> int:
    """Whole days from ``today`` to the next birthday: 0 (it is today) to 365."""
    return (next_birthday(born, today) - today).days


def greeting(name: str, born: date, today: date) -> str:
    """The greeting for ``name``: congratulations on the day, otherwise the number of days left."""
    days = days_until_birthday(born, today)
    if days == 0:
        return f"Hello, {name}! Happy birthday!"
    return f"Hello, {name}! Your birthday is in {days} day(s)"


def _birthday_in(year: int, born: date) -> date:
    if (born.month, born.day) == (2, 29) and not isleap(year):
        return date(year, 3, 1)
    return born.replace(year=year)
