"""One run at a time on one environment."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from deploy.base.errors import Interrupted, Locked
from deploy.resources import lock
from tests.support.aws import STAGING, records

KEY = f"locks/{STAGING}"


@pytest.fixture(autouse=True)
def now(aws, monkeypatch):
    """This machine's clock shows the time of AWS's."""

    class Clock(lock.datetime):
        @classmethod
        def now(cls, zone=None):
            return aws.time

    monkeypatch.setattr(lock, "datetime", Clock)


def hold(aws):
    """Let another run hold the lock."""
    aws.s3_put_object(records(), KEY, b"somebody@else, process 1")


def test_a_lock_of_another_run_is_respected(aws, staging, programs, fails):
    hold(aws)
    output = fails("deploy", "staging", "--version", "new")
    assert f"another run is working on {STAGING}: somebody@else, process 1" in output
    assert f"now: {STAGING} is unchanged" in output
    assert f"aws s3api delete-object --bucket {records()} --key {KEY} --region eu-west" in output
    assert aws.objects[KEY]["content"] == b"somebody@else, process 1"
    assert not programs.calls("eb deploy")


@pytest.mark.parametrize("patience", [(), ("--lock-wait", "10")])
def test_a_lock_that_is_too_old_is_not_waited_for(aws, staging, fails, clock, patience):
    hold(aws)
    aws.time += lock.OLD * 1.1
    output = fails("deploy", "staging", "--version", "new", *patience)
    assert "is 264 min 0 s old, which is longer than any run takes: somebody@else" in output
    assert f"aws s3api delete-object --bucket {records()} --key {KEY} --region eu-west" in output
    assert KEY in aws.objects
    assert not clock.slept


def test_the_second_of_two_runs_waits_until_the_first_has_ended(
    aws, fresh, run, clock, monkeypatch, capfd
):
    read, patient = aws.s3_get_object, replace(run, lock_wait=600)
    monkeypatch.setattr(lock.os, "getpid", iter((1, 2)).__next__)
    with ExitStack() as first:
        first.enter_context(lock.hold(run, STAGING))
        aws.time += timedelta(seconds=1)

        def answer(**asked):
            if clock.at >= 60:
                first.close()
            return read(**asked)

        aws.s3_get_object = answer
        with lock.hold(patient, STAGING):
            assert clock.at == 60
            assert b"process 2, " in aws.objects[KEY]["content"]
            said = capfd.readouterr().err
    assert KEY not in aws.objects
    assert said.count(f"the lock of {STAGING} is held by another run: ") == 1
    assert "process 1, since" in said
    assert said.count("put-object") == 3  # the first's, and the second's before and after it waited


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "staging", "--version", "new"),
        ("rollback", "staging"),
        ("create", "staging"),
        ("secrets", "set", "staging", "API_KEYS", "--previous"),
        ("secrets", "rotate", "staging"),
        ("writes", "stop", "staging"),
        ("writes", "allow", "staging"),
    ],
)
def test_the_wait_for_another_run_has_a_time_limit(aws, staging, fails, clock, arguments):
    hold(aws)
    output = fails(*arguments, "--lock-wait", "10")
    assert f"working on {STAGING}, still after 10 min 0 s: somebody@else, process 1" in output
    assert f"now: {STAGING} is unchanged" in output
    assert 600 <= clock.at < 800  # `create` waits for stacks first


def test_an_interrupted_wait_keeps_the_lock_of_the_other_run(aws, fresh, run, monkeypatch, capfd):
    def end(*_):
        raise Interrupted

    hold(aws)
    monkeypatch.setattr(run.console, "waiting", lambda _: end)
    with pytest.raises(Interrupted), lock.hold(replace(run, lock_wait=600), STAGING):
        raise AssertionError("it was not held")
    assert aws.objects[KEY]["content"] == b"somebody@else, process 1"
    assert "is held by another run now" not in capfd.readouterr().err


@pytest.mark.parametrize("operation", ["s3_put_object", "s3_delete_object"])
def test_a_lost_response_does_not_prevent_a_lock_or_its_release(aws, fresh, run, capfd, operation):
    """The client retries the request, and finds its own lock, or none."""
    once = getattr(aws, operation)

    def twice(**parameters):
        once(**parameters)
        once(**parameters)

    setattr(aws, operation, twice)
    with lock.hold(run, STAGING):
        assert KEY in aws.objects
    assert KEY not in aws.objects
    said = capfd.readouterr().err
    assert f"{STAGING}: unlocked" in said
    assert "could not be released" not in said


def test_a_lock_that_was_released_a_moment_ago_still_counts(aws, fresh, run):
    aws.fail("s3:PutObject", "ConditionalRequestConflict", times=1)
    with pytest.raises(Locked, match="ended a moment ago"), lock.hold(run, STAGING):
        raise AssertionError("it was not held")
    aws.fail("s3:PutObject", "ConditionalRequestConflict", times=1)
    with lock.hold(replace(run, lock_wait=60), STAGING):
        assert KEY in aws.objects


def test_a_lock_that_another_run_now_holds_is_not_released(aws, fresh, run, capfd):
    """Somebody removed our lock by hand, and started another run."""
    with lock.hold(run, STAGING):
        hold(aws)
    assert aws.objects[KEY]["content"] == b"somebody@else, process 1"
    assert f"the lock of {STAGING} is held by another run now: some" in capfd.readouterr().err


def test_a_lock_that_cannot_be_released_is_not_a_failure(aws, fresh, run, capfd):
    aws.fail("s3:DeleteObject")
    with lock.hold(run, STAGING):
        pass
    said = capfd.readouterr().err
    assert "the lock could not be released: the permission s3:DeleteObject is missing" in said
    assert f"next: aws s3api delete-object --bucket {records()} --key {KEY}" in said
