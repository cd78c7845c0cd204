"""The least that a greeting from PostgreSQL can cost: one SELECT by psycopg2, without rules."""

import os
import threading

import psycopg2
from flask import Flask
from psycopg2.extensions import connection

app = Flask(__name__)
_local = threading.local()


@app.get("/hello/<username>")
def hello(username: str) -> dict[str, str]:
    """A greeting with the date in the database, read on this thread's own connection."""
    with _connection().cursor() as cursor:
        cursor.execute("SELECT date_of_birth FROM person WHERE username = %s", (username,))
        row = cursor.fetchone()
    return {"message": f"Hello, {username}! You were born on {row and row[0]}"}


def _connection() -> connection:
    if not hasattr(_local, "connection"):
        _local.connection = psycopg2.connect(os.environ["DATABASE_URL"])
        _local.connection.autocommit = True
    found: connection = _local.connection
    return found
