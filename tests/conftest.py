"""Fixtures for all tests: a real PostgreSQL, and the application on it."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings
from sqlalchemy import make_url

from tests.factories import PersonFactory
from tests.support import groups
from tests.support.database import drop, refuse_unless_test
from tests.support.groups import pytest_xdist_make_scheduler  # noqa: F401  # a hook, by its name
from tests.support.needs import refuse, why_no_docker
from tools.postgres import Server, ensure_database
from web import create_app
from web.storage import db

# Tests call servers on this machine, which no proxy can reach
for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
    os.environ.pop(name, None)

# The same examples in every run, and no deadline: these machines are shared
settings.register_profile("tests", derandomize=True, deadline=None, database=None)
settings.load_profile("tests")


def pytest_collection_modifyitems(items):
    """Coverage is measured where web/ is tested, and slows what it does not measure.

    215 tests of deploy/ took 46.6 s with it, and 28.4 s without (`make ci`, 27 November 2026).
    """
    groups.sort(items)
    for item in items:
        if not item.nodeid.startswith("tests/web/"):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder that users other than root can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="service-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # with an embedded server, it has been deleted


@pytest.fixture(scope="session")
def database_url(home: Path, worker_id: str) -> Iterator[str]:
    """The URL of an empty database for this worker alone, embedded unless TEST_DATABASE_URL."""
    name = f"app_{worker_id}_test"
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        url = make_url(refuse_unless_test(given)).set(drivername="postgresql")
        name = f"{(url.database or '').removesuffix('_test')}_{worker_id}_test"
        maintenance = url.set(database="postgres").render_as_string(hide_password=False)
        drop(maintenance, name)
        ensure_database(maintenance, name)
        yield url.set(database=name).render_as_string(hide_password=False)
        drop(maintenance, name)
        return
    server = Server(home / "postgres", durable=False, temporary=home)
    server.start()
    ensure_database(server.url("postgres"), name)
    yield server.url(name)
    server.destroy()


@pytest.fixture(scope="session")
def env(database_url: str) -> dict[str, str]:
    """The environment variables of an application on the tests' database, and no others."""
    return {"DATABASE_URL": database_url}


@pytest.fixture(scope="session")
def app(env: dict[str, str]) -> Iterator[Flask]:
    """The application on a migrated database."""
    application = create_app(env)
    wsgi_app = application.wsgi_app

    def respond(*arguments: Any) -> Any:
        """As on a server: Flask would let requests share the context, and with it the session and
        its transaction, that ``context`` opens for a test.
        """
        with application.app_context():
            return wsgi_app(*arguments)

    application.wsgi_app = respond  # type: ignore[method-assign]
    with application.app_context():
        flask_migrate.upgrade()
    yield application
    with application.app_context():
        db.engine.dispose()


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    """An application context, with an empty database."""
    with app.app_context():
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()
        yield
        db.session.remove()


@pytest.fixture
def client(app: Flask, context: None) -> FlaskClient:
    """A client of the application."""
    return app.test_client()


@pytest.fixture
def person(context: None) -> type[PersonFactory]:
    """Creates users in the database."""
    return PersonFactory


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    """Sets the current date of the application."""
    return lambda day: monkeypatch.setattr("web.clock.today", lambda zone: day)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Reads the lines that were logged since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(scope="session")
def engine() -> None:
    """For tests that need a Docker engine."""
    if reason := why_no_docker():
        refuse(reason, "DOCKER")
