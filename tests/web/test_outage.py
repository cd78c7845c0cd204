import threading
import time

import pytest

from web.outage import Outage, Unavailable, Use


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns; seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def begin(known):
    use = Use()
    known.admit(use)
    return use


def fail(known, clock, seconds, reason="it is away"):
    use = begin(known)
    clock[0] += seconds
    use.failure = Unavailable(reason)
    known.end(use)


def succeed(known):
    """Whether the one that succeeds was the one request that tries a slow database."""
    use = begin(known)
    known.end(use)
    return use.is_trial


def test_after_a_slow_failure_one_request_at_a_time_tries(clock):
    known = Outage()
    assert not succeed(known)
    fail(known, clock, 3)
    trying = begin(known)
    assert trying.is_trial
    with pytest.raises(Unavailable, match="another request is trying"):
        begin(known)
    known.admit(trying)  # its second connection
    known.end(trying)
    assert not succeed(known)


def test_a_slow_database_stays_slow_until_one_request_succeeds(clock):
    known = Outage()
    fail(known, clock, 3)
    fail(known, clock, 0.01)
    assert succeed(known)
    assert not succeed(known)


def test_after_quick_failures_every_request_tries(clock):
    known = Outage()
    fail(known, clock, 0.01)
    assert not begin(known).is_trial
    assert not begin(known).is_trial


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
            use = begin(known)
            use.failure = Unavailable("away")
            known.end(use)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.records) == 1
