"""Waiting: what is asked again, and what ends a wait."""

import pytest

from deploy.base.errors import AwsFailure
from deploy.base.waiting import Pending, wait_until

SILENT = AwsFailure("AWS did not answer", "check the network", transient=True)


@pytest.fixture
def wait(run, clock):
    """Waits for what ``answers`` say one after the other, the last of them permanently; returns the result and the number of questions."""

    def wait(*answers, patience=1000):
        left = list(answers)
        asked = 0

        def look():
            nonlocal asked
            asked += 1
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return wait_until(run, "it", look, patience), asked

    return wait


def test_a_pending_result_is_polled_until_it_is_there(wait, clock, capfd):
    assert wait(Pending("young", "1 %"), Pending("old", "90 %"), "there") == ("there", 3)
    assert clock.slept == [10, 10]
    said = capfd.readouterr().err
    assert said == "deploy: it is young: 1 %\ndeploy: it is old: 90 % (0 min 10 s)\n"


@pytest.mark.parametrize("result", [None, "", 0])
def test_a_result_may_be_empty(wait, result):
    assert wait(result) == (result, 1)


def test_after_the_time_limit_the_pending_state_is_returned(wait, clock):
    assert wait(Pending("young"), patience=30) == (Pending("young"), 4)
    assert clock.at == 30
    assert wait(Pending("young"), patience=0) == (Pending("young"), 1)


def test_a_query_without_a_response_is_repeated(wait, capfd):
    assert wait(SILENT, Pending("young"), SILENT, SILENT, "there") == ("there", 5)
    assert "it is unknown: AWS did not answer" in capfd.readouterr().err


def test_no_response_within_health_timeout_ends_a_wait(wait, clock):
    with pytest.raises(AwsFailure, match="did not answer"):
        wait(Pending("young"), SILENT, patience=10_000)
    assert clock.at == 300


def test_each_response_restarts_the_health_timeout(wait, clock):
    answers = [SILENT, Pending("young")] * 100
    assert wait(*answers, "there", patience=10_000) == ("there", 201)


def test_missing_responses_do_not_extend_the_time_limit(wait, clock):
    with pytest.raises(AwsFailure, match="did not answer"):
        wait(SILENT, patience=30)
    assert clock.at == 30


def test_a_permanent_error_ends_a_wait_at_once(wait, clock):
    with pytest.raises(AwsFailure, match="expired"):
        wait(Pending("young"), AwsFailure("expired", "log in", "ExpiredToken"))
    assert clock.at == 10
