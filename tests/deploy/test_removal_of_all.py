"""The removal of everything: what the commands have made is gone, in this order, but for what is named."""

import copy
from datetime import UTC, datetime

import pytest

from tests.support.account import DESTINATIONS, made
from tests.support.aws import APPLICATION, OUTPUTS, PROD, REGION, STAGING, records
from tests.support.removable import RemovableAws, changes

MEANT = ("remove", "--all", "--protected", "--confirm", APPLICATION)
LOGS = {f"/{APPLICATION}/pipeline", f"/{APPLICATION}/pull-requests"}
TOPICS = OUTPUTS[f"{APPLICATION}-foundation"]


@pytest.fixture
def aws():
    return RemovableAws()


@pytest.fixture
def whole(running):
    """All stacks of the service, what they keep, and what is not ours."""
    made(running, "pipeline")
    for stack in (
        f"{APPLICATION}-replication",
        f"us-east-1/{APPLICATION}-budget",
        "slack-notifications",
    ):
        running.stacks[stack] = {"status": "CREATE_COMPLETE", "outputs": {}}
    running.stacks["birthdays-of-others"] = {"status": "CREATE_COMPLETE", "outputs": {}}
    running.foreign = {"birthdays-of-others"}
    running.logs |= dict.fromkeys(LOGS, 365)
    running.repositories = {REGION, *DESTINATIONS}
    running.buckets = {f"{APPLICATION}-pipeline-artifacts-abc": {"cache": {}}, "another": {}}
    for number, topic in enumerate((TOPICS["OperationsTopic"], TOPICS["DeploymentsTopic"])):
        channel = f"CABCDEF{number}"
        arn = f"arn:aws:chatbot::123456789012:chat-configuration/slack-channel/{channel}"
        running.channels[arn] = {
            "ChatConfigurationArn": arn,
            "SlackChannelId": channel,
            "SlackTeamName": "Greeters",
            "SlackTeamId": "TABCDEF12",
            "IamRoleArn": "arn:aws:iam::123456789012:role/slack",
            "ConfigurationName": f"notifications-{channel}",
            "SlackChannelName": "one",
            "SnsTopicArns": [topic, "arn:aws:sns:eu-west-1:123456789012:another"],
        }
    return running


def test_everything_is_removed_in_order(whole, command):
    code, output = command(*MEANT)
    assert code == 0, output
    found = [one for one in changes(whole) if "Object" not in one[0]]
    stacks = [name for kind, name in found if kind == "DeleteStack"]
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    assert stacks == [
        f"{APPLICATION}-pipeline",
        f"{PROD}-probe",
        f"{PROD}-operations",
        f"{PROD}-backups",
        PROD,
        f"{STAGING}-operations",
        STAGING,
        f"{APPLICATION}-replication",
        *[f"{APPLICATION}-foundation"] * 3,
        f"{APPLICATION}-budget",
    ]
    assert kinds.index("TerminateEnvironment") < kinds.index("UpdateSlackChannelConfiguration")
    assert kinds[-2:] == ["DeleteApplication", "DeleteRepository"]
    vaults = {f"{PROD}-vault", *(f"{one}/{PROD}-vault" for one in DESTINATIONS)}
    assert set(whole.stacks) == {*vaults, "slack-notifications", "birthdays-of-others"}
    assert not whole.environments
    assert not whole.applications
    assert not whole.versions
    assert not whole.bundles
    assert not whole.repositories
    assert set(whole.buckets) == {"another"}
    assert not LOGS & set(whole.logs)
    for region in (REGION, *DESTINATIONS):
        assert not whole.at(region, "objects")
    assert not whole.replicas
    for one in whole.channels.values():
        assert one["SnsTopicArns"] == ["arn:aws:sns:eu-west-1:123456789012:another"]


def test_everything_that_remains_is_named(whole, command):
    whole.secrets[f"{APPLICATION}/sentry"] = {}
    output = command(*MEANT)[1].split(f"{APPLICATION} is removed")[1]
    for region, name in whole.kept:
        assert f"the snapshot {name} in {region}" in output
    for where, one in whole.keys.items():
        assert one["state"] == "PendingDeletion" or f"the key {where[1]} in {where[0]}" in output
    for vault in whole.vaults:
        assert f"the vault {vault}, with the stack" in output
    for region, name in whole.deleted:
        assert f"the secret {name} in {region}, 30 days" in output
    assert set(whole.secrets) == {name for _, name in whole.deleted} | {f"{APPLICATION}/sentry"}
    assert f"the secret {APPLICATION}/sentry: aws secretsmanager delete-secret" in output
    for name in whole.logs:
        assert f"log groups, {name.rpartition('/')[0]}/*" in output
    assert "the stack slack-notifications" in output
    assert "Beanstalk's buckets" in output


def test_a_second_run_finds_nothing(whole, command):
    command(*MEANT)
    with whole.unchanged():
        code, output = command("remove", "--all")
    assert code == 0
    assert f"nothing of {APPLICATION} is left to remove in" in output
    assert f"the vault {PROD}-{REGION}" in output


# What the removal of an environment does not do; tests/deploy/test_removal.py has the rest
OWN = {
    "DeleteBucket",
    "DeleteLogGroup",
    "DeleteApplicationVersion",
    "DeleteApplication",
    "DeleteRepository",
    "UpdateSlackChannelConfiguration",
}


def test_an_interrupted_removal_is_continued(whole, command):
    """After the first change of each kind, and after the first foundation."""
    beginning = copy.deepcopy(vars(whole))
    assert command(*MEANT)[0] == 0
    end, done = whole.state(), changes(whole)
    kinds = [kind if kind in OWN else name for kind, name in done]
    firsts = [kinds.index(one) + 1 for one in (*sorted(OWN), f"{APPLICATION}-foundation")]
    for number in firsts:
        vars(whole).update(copy.deepcopy(beginning))
        whole.interrupted, whole.changes = number, 0
        assert command(*MEANT)[0] == 130, number
        whole.interrupted = None
        code, output = command(*MEANT)
        assert code == 0, (number, output)
        assert whole.state() == end, number


def test_a_refused_or_lost_request_never_counts_as_removed(whole, command, monkeypatch):
    monkeypatch.setenv("HEALTH_TIMEOUT", "1")
    beginning = copy.deepcopy(vars(whole))
    command(*MEANT)
    actions = dict.fromkeys(action for action, _ in whole.calls)
    queries = ("ListBuckets", "ListObjectVersions", "DescribeApplications", "DescribeRepositories")
    chosen = [one for one in actions if one.partition(":")[2] in {*OWN, *queries}]
    assert len(chosen) == len(OWN) + len(queries)
    for number, action in enumerate(chosen):
        vars(whole).update(copy.deepcopy(beginning))
        whole.fail(action, (None, "AccessDenied")[number % 2])
        ended, output = command(*MEANT)
        assert ended == 1, (action, output)
        assert "nothing is left" not in output
        assert f"{APPLICATION} is removed" not in output


def test_removal_is_refused_during_a_deployment(whole, fails):
    whole.time = datetime.now(UTC)
    whole.s3_put_object(records(), f"locks/{STAGING}", b"somebody else")
    with whole.unchanged():
        assert f"another run is working on {STAGING}" in fails(*MEANT)


def test_production_needs_the_option_protected(whole, fails):
    output = fails("remove", "--all", "--confirm", APPLICATION)
    assert f"{PROD} is production" in output
    assert f"{STAGING} is production" not in output


def test_a_dry_run_changes_nothing(whole, command):
    with whole.unchanged():
        code, output = command("remove", "--all", "--dry-run")
    assert code == 0, output
    assert not whole.changes
    assert f"+ aws ecr delete-repository --repository-name {APPLICATION} --force" in output


def test_a_probe_that_is_left_of_an_environment_is_removed(whole, command):
    """Nothing else is there, neither in environments.toml nor in a region that it names."""
    left = f"us-east-1/{APPLICATION}-home-probe"
    whole.stacks[left] = {"status": "CREATE_COMPLETE", "outputs": {}}
    assert command(*MEANT)[0] == 0
    assert left not in whole.stacks


def test_remains_of_an_exercise_are_named(whole, command):
    """Also when its environment and its stacks are gone."""
    there, name = DESTINATIONS[1], f"{APPLICATION}-exercise"
    whole.kept[there, "final"] = name, None
    whole.logs["/aws/elasticbeanstalk/another-service/web"] = 90
    whole.logs[f"/aws/rds/instance/{APPLICATION}-before/log"] = 0
    output = command(*MEANT)[1]
    assert f"the snapshot final in {there}" in output
    assert f"1 log groups, /aws/rds/instance/{APPLICATION}-before/*" in output
    assert "another-service" not in output


def test_an_environment_that_is_not_in_the_file_is_removed_too(whole, command):
    """Of an exercise, in another region."""
    there = DESTINATIONS[1]
    whole.region = there
    whole.add_environment("exercise", "old")
    name = f"{APPLICATION}-exercise"
    whole.stacks[f"{there}/{name}"] = {"status": "CREATE_COMPLETE", "outputs": {}}
    assert command(*MEANT)[0] == 0
    assert not whole.at(there, "environments")
    assert f"{there}/{name}" not in whole.stacks


@pytest.mark.parametrize("arguments", [[], ["staging", "--all"]])
def test_an_environment_and_all_exclude_each_other(whole, command, arguments):
    code, output = command("remove", *arguments)
    assert code == 2
    assert "name an ENV, or --all" in output
    assert not whole.calls
