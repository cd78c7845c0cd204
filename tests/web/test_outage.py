import threading
import time

import pytest

from web import outage
from web.outage import Outage, Unavailable


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns; seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def fail(known, clock, seconds, reason="it is away"):
    def attempt():
        with known.attempt():
            clock[0] += seconds
            raise Unavailable(reason)

    with pytest.raises(Unavailable):
        attempt()


def succeed(known):
    with known.attempt() as patience:
        return patience


def test_after_a_slow_failure_one_request_at_a_time_tries(clock):
    known = Outage()
    assert succeed(known) == outage.PATIENCE
    fail(known, clock, 3)
    with known.attempt() as patience:
        assert patience == 0  # it must not wait for a connection that another one may hold
        with pytest.raises(Unavailable, match="another request is trying"):
            succeed(known)
    assert succeed(known) == outage.PATIENCE


def test_a_slow_database_stays_slow_until_one_request_succeeds(clock):
    known = Outage()
    fail(known, clock, 3)
    fail(known, clock, 0.01)
    assert succeed(known) == 0
    assert succeed(known) == outage.PATIENCE


def test_after_quick_failures_every_request_tries(clock):
    known = Outage()
    fail(known, clock, 0.01)
    with known.attempt(), known.attempt():
        pass


def test_an_error_other_than_an_outage_ends_the_attempt(clock):
    known = Outage()
    fail(known, clock, 3)
    with pytest.raises(ValueError, match="mine"), known.attempt():
        raise ValueError("mine")
    assert succeed(known) == 0  # somebody may try again


def test_each_change_is_logged_and_once_a_minute_between(clock, caplog):
    known = Outage()
    for _ in range(150):
        fail(known, clock, 1)
    succeed(known)
    succeed(known)
    fail(known, clock, 0)
    messages = [record.message for record in caplog.records]
    assert messages == [
        "the database is unavailable",
        "the database is unavailable",
        "the database is unavailable",
        "the database is available again",
        "the database is unavailable",
    ]
    assert caplog.records[0].fields == {"reason": "it is away", "exception": None, "sqlstate": None}


def test_of_many_threads_one_logs_a_change(caplog):
    known = Outage()
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(50):
            with pytest.raises(Unavailable), known.attempt():
                raise Unavailable("away")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.records) == 1
