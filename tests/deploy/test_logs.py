"""The log of an environment: the last lines, one request, errors, and what is written from now on."""

import json
import re
from pathlib import Path

import pytest

from deploy.base import answers
from deploy.base.errors import Interrupted
from deploy.resources import logs
from tests.support.aws import PROD, REGION, STAGING

APPLICATION, PROXY = (logs.name(PROD, one) for one in (logs.APPLICATION, logs.PROXY))
SCRIPT = "scripts/build_and_deploy.sh"
ID = "1-67891233-abcdef012345678912345678"
FILTER = "logs:FilterLogEvents"


@pytest.fixture
def written(aws, staging):
    """Lines of different ages: three of the application, the first of them of last week, and two of nginx."""
    aws.add_line(APPLICATION, "last week", ago=7 * 86_400)
    aws.add_line(APPLICATION, request(200, ID), ago=3600)
    aws.add_line(APPLICATION, request(503), ago=60)
    aws.add_line(PROXY, request(200, ID, by="nginx"), ago=3601)
    aws.add_line(PROXY, request(502, by="nginx"), ago=30)


def request(status, identity="0123456789abcdef", by="web", level="info"):
    return json.dumps({"by": by, "level": level, "status": status, "request_id": identity})


def shown(output):
    """The lines that were printed to standard output."""
    return [line for line in output.splitlines() if not line.startswith("deploy: ")]


def test_lines_of_the_last_day_are_shown_oldest_first(written, command):
    assert command("logs", "prod") == (0, f"{request(200, ID)}\n{request(503)}\n")


def test_only_the_last_lines_are_read(aws, written, command):
    for number in range(300):
        aws.add_line(APPLICATION, f"line {number}")
    assert shown(command("logs", "prod")[1]) == [f"line {number}" for number in range(200, 300)]
    aws.calls.clear()
    assert shown(command("logs", "prod", "--lines", "3")[1]) == ["line 297", "line 298", "line 299"]
    assert len(aws.asked(FILTER)) == 3  # pages of two, and an empty one
    assert {one["limit"] for one in aws.asked(FILTER)} == {3}


@pytest.mark.parametrize("since", ["8d", "2020-01-01T00:00Z", "9999d", "1969-12-31T00:00Z"])
def test_since_shows_all_lines_after_a_time(aws, written, command, since):
    for number in range(300):
        aws.add_line(APPLICATION, f"line {number}")
    lines = shown(command("logs", "prod", "--since", since)[1])
    assert lines[0] == "last week"
    assert len(lines) == 303


def test_since_and_lines_can_be_combined(written, command):
    lines = shown(command("logs", "prod", "--since", "8d", "--lines", "2")[1])
    assert lines == [request(200, ID), request(503)]


def test_one_request_is_found_in_both_logs(written, command):
    code, output = command("logs", "prod", "--request", ID)
    assert (code, shown(output)) == (0, [request(200, ID, by="nginx"), request(200, ID)])


def test_errors_shows_only_errors(aws, written, command):
    for level in ("warning", "error", "critical"):
        aws.add_line(APPLICATION, json.dumps({"level": level}))
    aws.add_line(APPLICATION, "no JSON")
    lines = shown(command("logs", "prod", "--errors")[1])
    assert [json.loads(one).get("status", "") for one in lines] == [503, "", "", ""]
    assert shown(command("logs", "prod", "--errors", "--file", "nginx/access.log")[1]) == [
        request(502, by="nginx")
    ]


def test_an_empty_result_is_reported(written, command):
    code, output = command("logs", "prod", "--request", "f" * 32)
    assert code == 0
    assert re.search(
        rf"no such lines since \S+ \S+ UTC in {APPLICATION}, {PROXY}\n.*next: look further", output
    )


# --- What is not an empty log --------------------------------------------------------------------


@pytest.mark.parametrize("action", [FILTER, "logs:DescribeLogGroups"])
@pytest.mark.parametrize("code", ["AccessDeniedException", None])
def test_a_query_without_an_answer_is_a_failure(aws, written, fails, action, code):
    aws.fail(action, code)
    output = fails("logs", "prod")
    assert action in output
    assert "no such lines" not in output


def test_throttled_pages_are_requested_again(aws, written, command):
    aws.fail(FILTER, "ThrottlingException", times=3, when=lambda one: "nextToken" in one)
    code, output = command("logs", "prod", "--since", "8d")
    assert code == 0
    assert shown(output) == ["last week", request(200, ID), request(503)]
    assert "AWS limits the number of requests" in output


def test_the_log_of_an_environment_that_never_existed_is_a_failure(aws, fails):
    output = fails("logs", "prod")
    assert f"there is no log group {APPLICATION} in {REGION}, because there is no env" in output
    assert f"next: {SCRIPT} create prod\n" in output


def test_the_log_of_a_removed_environment_is_shown(aws, written, command):
    del aws.environments[PROD]
    assert shown(command("logs", "prod")[1]) == [request(200, ID), request(503)]


def test_the_log_of_an_environment_that_is_being_created_is_a_failure(aws, staging, fails):
    aws.environments[STAGING]["status"] = "Launching"
    output = fails("logs", "staging")
    assert f"yet: {STAGING} is Launching" in output
    assert f"eb events {STAGING} --region {REGION}" in output


def test_a_file_that_is_not_streamed_is_refused(aws, written, fails):
    output = fails("logs", "prod", "--file", "eb-hook.log")
    assert "next: name one that exists with --file: eb-docker/" in output
    assert f"{logs.APPLICATION}, {logs.PROXY}\n" in output


def test_a_log_that_does_not_exist_yet_is_reported_as_not_searched(aws, written, command):
    del aws.logs[PROXY]
    code, output = command("logs", "prod", "--request", ID)
    assert (code, shown(output)) == (0, [request(200, ID)])
    assert f"there is no {PROXY} yet, so it was not searched" in output


# --- What is written from now on -----------------------------------------------------------------


class Writer:
    """Adds lines while somebody waits for them, and ends the waiting with Ctrl-C."""

    def __init__(self, aws, clock, monkeypatch):
        self._aws, self._clock, self.steps = aws, clock, []
        monkeypatch.setattr("deploy.base.waiting.time.sleep", self._sleep)

    def _sleep(self, seconds):
        self._clock.at += seconds
        if not self.steps:
            raise Interrupted
        for text, ago in self.steps.pop(0):
            self._aws.add_line(APPLICATION, text, ago)


@pytest.fixture
def writer(aws, clock, monkeypatch):
    return Writer(aws, clock, monkeypatch)


def test_follow_shows_new_lines_until_ctrl_c(written, writer, command):
    writer.steps = [[("one", 0)], [], [("two", 0), ("three", 0)]]
    code, output = command("logs", "prod", "--follow", "--lines", "1")
    assert code == 0
    assert shown(output) == [request(503), "one", "two", "three"]
    assert output.count("is followed until Ctrl-C") == 1
    assert output.count("deploy: ") == 2
    assert "deploy: no longer followed; nothing was changed\n" in output


def test_a_late_line_of_another_instance_is_shown_once(written, writer, command):
    writer.steps = [[("one", 0)], [("late", 20)], []]
    lines = shown(command("logs", "prod", "--follow")[1])
    assert lines[-2:] == ["one", "late"]


def test_following_survives_throttling_and_silence(aws, written, writer, command):
    writer.steps = [[("one", 0)]] + [[]] * 8 + [[("two", 0)]]
    looked = []

    def is_unlucky(_):
        looked.append(True)
        return 5 < len(looked) < 10

    aws.fail(FILTER, "ThrottlingException", when=is_unlucky)
    code, output = command("logs", "prod", "--follow")
    assert code == 0
    assert shown(output)[-2:] == ["one", "two"]
    assert "AWS limits the number of requests" in output


def test_following_ends_when_aws_refuses(aws, written, fails):
    aws.fail(FILTER, "ExpiredTokenException", when=lambda one: one.get("startFromHead") is None)
    assert "AWS does not accept the credentials" in fails("logs", "prod", "--follow")


def test_following_an_empty_log_does_not_repeat_the_first_search(aws, written, writer, command):
    writer.steps = [[], [(request(500), 0)]]
    output = command("logs", "prod", "--follow", "--since", "10s", "--errors")[1]
    assert shown(output) == [request(500)]
    assert "no such lines" not in output
    first, last = aws.asked(FILTER)[0], aws.asked(FILTER)[-1]
    assert last["startTime"] >= first["startTime"]
    command("logs", "prod", "--follow", "--since", "2h", "--request", "f" * 32)
    assert aws.asked(FILTER)[-1]["startTime"] - first["startTime"] > -7 * 60_000


# --- Usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--since", "yesterday"], "'yesterday': expected 30s, 10m, 2h or 3d, or a time such as"),
        (["--since", "2026-11-24"], "expected 30s, 10m"),
        (["--request", 'x" "y'], "expected the X-Request-ID of an answer"),
        (["--lines", "0"], "0 is not in the range"),
        (["--request", ID, "--errors"], "--request and --errors do not go together"),
    ],
)
def test_invalid_combinations_of_arguments_are_refused(aws, command, arguments, what):
    code, output = command("logs", "prod", *arguments)
    assert code == 2
    assert what in output
    assert not aws.calls


def test_the_documented_permissions_are_those_that_it_uses(aws, written, command):
    command("logs", "prod", "--request", ID)
    aws.logs.clear()
    command("logs", "prod")
    text = Path("docs/permissions.md").read_text()
    [documented] = re.findall(r"^`logs` needs (.*?)\.$", text, re.MULTILINE | re.DOTALL)
    asked = {answers.PERMISSIONS.get(name, name) for name, _ in aws.calls}
    assert set(re.findall(r"`(\w+:\w+)`", documented)) == asked
