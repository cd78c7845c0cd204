"""The tests' database on a server that somebody named: which one it may be, and its end."""

import psycopg2
import pytest
from sqlalchemy import make_url


def refuse_unless_test(url: str) -> str:
    """``url``, if what it names may be emptied: a database called something_test."""
    name = make_url(url).database
    if not (name or "").endswith("_test"):
        raise pytest.UsageError(
            f"TEST_DATABASE_URL names the database {name!r}, and tests empty theirs. "
            "Name one that ends in _test."
        )
    return url


def drop(url: str, name: str) -> None:
    """Drop a database, and end its sessions. ``url`` is of another one on that server."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    connection.close()
