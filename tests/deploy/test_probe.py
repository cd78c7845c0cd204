"""The probe: made once DNS leads to the environment, in its own region, and never in the way of the rest."""

import re

import pytest

from tests.support.account import made
from tests.support.aws import PROD, REGION, STAGING
from tests.support.owner import OWNER

ELSEWHERE, PUBLIC = "us-east-1", "hello.example.com"
PROBE = f"{ELSEWHERE}/{PROD}-probe"
SCRIPT = "scripts/build_and_deploy.sh"
NOT_PROBED = f"no alarm fires if nobody gets to https://{PUBLIC}; once DNS leads to it"


@pytest.fixture
def prod(aws, staging, certificate):
    """Production with a certificate and a public name."""
    for short in ("staging", "prod"):
        made(aws, f"{short}-operations")
    aws.stacks[PROD]["outputs"] |= {"PublicName": PUBLIC, "Certificate": certificate}
    return aws


@pytest.fixture
def probed(prod, command):
    """The same with its probe."""
    code, output = command("create", "prod")
    assert code == 0, output
    return prod


def test_it_is_made_when_dns_leads_to_the_environment(prod, command, tested):
    tested.detour = "there is no way to it yet"
    code, output = command("create", "prod")
    assert code == 0, output
    assert PROBE not in prod.stacks
    assert f"  then: {SCRIPT} create prod\n" in output
    assert f"nobody asks {PUBLIC} from outside before DNS leads to it" in output
    tested.detour = ""
    code, output = command("create", "prod")
    assert code == 0, output
    assert prod.stacks[PROBE]["parameters"] == {
        "Environment": PROD,
        "PublicName": PUBLIC,
        "OperationsEmail": OWNER["email"],
        "EscalationEmail": OWNER["escalation"],
        "Pager": "",
        "PagerProtocol": "https",
        "Repository": OWNER["repository"],
    }
    assert f"the stack {PROD}-probe is up to date" in command("create", "prod")[1]


def test_a_deployment_that_dns_does_not_lead_to_is_followed_by_a_smoke_test(prod, command, tested):
    tested.detour = "there is no way to it yet"
    assert f"  then: {SCRIPT} smoke prod\n" in command("deploy", "prod", "--version", "new")[1]


def test_the_channel_of_the_team_gets_its_topic(prod, command):
    prod.workspaces = [OWNER["slack"]["workspace"]]
    command("create", "prod")
    [team] = [
        one["SnsTopicArns"]
        for one in prod.channels.values()
        if one["SlackChannelId"] == OWNER["slack"]["channel"]
    ]
    assert team[1:] == [prod.stacks[PROBE]["outputs"]["Topic"]]


def test_others_than_production_wake_nobody(prod, command, project):
    path = project / "devops/environments.toml"
    text = path.read_text()
    beginning, rest = text.split("[staging.stack]")
    for name in ("Certificate", "PublicName"):
        value = text.split(f"\n{name} = ")[2].partition("\n")[0]
        rest = rest.replace(f'{name} = ""', f"{name} = {value}", 1)
    path.write_text(f"{beginning}[staging.stack]{rest}")
    assert command("create", "staging")[0] == 0
    given = prod.stacks[f"{ELSEWHERE}/{STAGING}-probe"]["parameters"]
    assert (given["EscalationEmail"], given["Pager"]) == ("", "")


def test_one_that_exists_is_changed_wherever_dns_leads(probed, command, tested, project):
    """It reports just that; but another name is not asked before DNS leads there."""
    tested.detour = "another service answers there, with 404"
    path = project / "devops/owner.json"
    path.write_text(path.read_text().replace(OWNER["email"], "others@greetings.test"))
    command("create", "prod")
    assert probed.stacks[PROBE]["parameters"]["OperationsEmail"] == "others@greetings.test"
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace(PUBLIC, "hi.example.com"))
    command("create", "prod")
    assert probed.stacks[PROBE]["parameters"]["PublicName"] == PUBLIC
    assert "NOT PROBED" in command("status", "prod")[1]


def test_without_a_public_name_there_is_none(probed, command, project):
    path = project / "devops/environments.toml"
    text = path.read_text().replace(PUBLIC, "").replace("PlainHttp = false", "PlainHttp = true")
    path.write_text(text.replace(f"arn:aws:acm:{REGION}:123456789012:certificate/1", ""))
    command("create", "prod")
    assert PROBE not in probed.stacks
    assert "NOT PROBED" not in command("status", "prod")[1]


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_nothing_depends_on_its_region(prod, command, code):
    prod.fail("cloudformation:DescribeStacks", code, when=lambda _: prod.region == ELSEWHERE)
    exit_code, output = command("create", "prod")
    assert exit_code == 0, output
    assert "the probe is unchanged: " in output
    assert "; this command can be repeated" in output


def test_a_dry_run_shows_what_would_change(probed, command, project):
    path = project / "devops/owner.json"
    path.write_text(path.read_text().replace(OWNER["email"], "others@greetings.test"))
    _, output = command("create", "prod", "--dry-run")
    line = next(one for one in output.splitlines() if f"--stack-name {PROD}-probe" in one)
    assert f"--region {ELSEWHERE}" in line
    assert probed.stacks[PROBE]["parameters"]["OperationsEmail"] == OWNER["email"]


def test_in_the_region_of_a_recovery_it_is_the_same_one(probed, command, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    probed.region = "eu-central-1"
    probed.add_environment("prod", "old")
    assert "NOT PROBED" not in command("status", "prod")[1]


# --- What says that there is none, or what it found ----------------------------------------------


def test_status_and_doctor_say_that_there_is_none(prod, command):
    assert f"NOT PROBED   {NOT_PROBED}: {SCRIPT} create prod\n" in command("status", "prod")[1]
    _, output = command("doctor", "prod")
    assert f"  NOT READY  probe          no alarm fires if nobody gets to {PUBLIC}" in output
    assert f"next: once DNS leads to it: {SCRIPT} create prod\n" in output
    command("create", "prod")
    assert "NOT PROBED" not in command("status", "prod")[1]
    assert f"  ready      probe          {PUBLIC} is asked from outside" in command("doctor")[1]
    assert "NOT PROBED" not in command("status", "staging")[1]


def test_in_its_own_region_its_alarm_is_shown_once(probed, command, monkeypatch):
    monkeypatch.setenv("AWS_REGION", ELSEWHERE)
    probed.region = ELSEWHERE
    probed.add_environment("prod", "old")
    topic = [f"arn:aws:sns:{ELSEWHERE}:123456789012:one"]
    alarm = ("MetricAlarm", "ALARM", "Unreachable: x. What to do: y", topic)
    probed.at(ELSEWHERE, "alarms")[f"{PROD}-unreachable"] = alarm
    assert command("status", "prod")[1].count(f"{PROD}-unreachable") == 1


def test_its_alarm_is_shown_with_the_environment(probed, command):
    """And no other of that region, which may have environments of its own."""
    topic = [f"arn:aws:sns:{ELSEWHERE}:123456789012:one"]
    there = probed.at(ELSEWHERE, "alarms")
    there[f"{PROD}-unreachable"] = ("MetricAlarm", "ALARM", "Unreachable: x. What to do: y", topic)
    there[f"{PROD}-users-wait"] = ("MetricAlarm", "ALARM", "Slow.", topic)
    _, output = command("status", "prod")
    assert f"ALARM        {PROD}-unreachable for " in output
    assert f"{PROD}-users-wait" not in output


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_what_its_region_does_not_answer_is_unknown(probed, command, code):
    def elsewhere(_):
        return probed.region == ELSEWHERE

    for action in ("cloudwatch:DescribeAlarms", "cloudformation:DescribeStacks"):
        probed.fail(action, code, when=elsewhere)
    exit_code, output = command("status", "prod")
    assert exit_code == 1
    for what in ("probe", "who gets messages", f"alarms in {ELSEWHERE}"):
        assert re.search(rf"{what}: (AWS|the permission) ", output)
    assert "none firing" not in output
    assert "NOT PROBED" not in output
    assert "NO MESSAGES" not in output


def test_an_address_that_did_not_confirm_it_is_named(probed, command):
    """At the end of `create`, which makes the topic, and by status."""
    topic = f"arn:aws:sns:{ELSEWHERE}:123456789012:{PROD}-probe-Topic-1"
    usual = probed.sns_list_subscriptions_by_topic

    def pending(TopicArn, **more):
        answer = usual(TopicArn, **more)
        for one in answer["Subscriptions"] if TopicArn == topic else ():
            one["SubscriptionArn"] = "PendingConfirmation"
        return answer

    probed.sns_list_subscriptions_by_topic = pending
    for arguments in (("create", "prod"), ("status",)):
        _, output = command(*arguments)
        assert f"has not confirmed the topic of {PROD}-probe" in output
        assert f"--topic-arn {topic} " in output
        assert f"--notification-endpoint {OWNER['email']} --region {ELSEWHERE}" in output
