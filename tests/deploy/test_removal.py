"""The removal of an environment: what goes, in which order, what stays, and what ends it early."""

import copy
from datetime import UTC, datetime

import pytest

from tests.support.account import DESTINATIONS
from tests.support.aws import APPLICATION, PROD, REGION, STAGING, FakeAws, records
from tests.support.removable import RemovableAws, changes

FIRST, SECOND = DESTINATIONS
PROBE, TOPIC = f"us-east-1/{PROD}-probe", f"arn:aws:sns:us-east-1:123456789012:{PROD}-probe-1"
MEANT = ("remove", "prod", "--protected", "--confirm", PROD)
SECRETS = [f"{PROD}/{kind}" for kind in ("database", "application", "smoke-test")]


@pytest.fixture
def aws():
    return RemovableAws()


def test_production_is_removed_in_order(running, command):
    code, output = command(*MEANT)
    assert code == 0, output
    found = changes(running)
    assert [one for one in found if one[0] != "DeleteObjects"] == [
        ("PutObject", f"locks/{PROD}"),
        ("DeleteStack", f"{PROD}-probe"),
        ("DeleteStack", f"{PROD}-operations"),
        ("DeleteStack", f"{PROD}-backups"),
        ("ModifyDBInstance", PROD),
        ("TerminateEnvironment", PROD),
        ("DeleteSecret", SECRETS[0]),
        ("RemoveRegionsFromReplication", SECRETS[1]),
        ("DeleteSecret", SECRETS[1]),
        ("RemoveRegionsFromReplication", SECRETS[2]),
        ("DeleteSecret", SECRETS[2]),
        ("DeleteStack", PROD),
        ("DeleteObject", f"locks/{PROD}"),
    ]
    assert f"{PROD} is removed" in output
    assert set(running.environments) == {STAGING}
    left = {name for name in running.stacks if PROD in name}
    assert left == {f"{PROD}-vault", *(f"{one}/{PROD}-vault" for one in DESTINATIONS)}
    assert not running.replicas


def test_what_remains_is_named_with_its_expiry_and_command(running, command):
    output = command(*MEANT)[1]
    before, after = output.split(f"{PROD} is removed")
    for region in (REGION, *DESTINATIONS):
        vault = f"the vault {PROD}-{region}, with the stack {PROD}-vault in {region}, locked: 1 backups, the last expires on"
        for text in (before, after):
            assert f"{vault} 2026-12-31" in text
        assert f"the records of 1 deployments of {PROD} in {region}: a recovery" in after
    [snapshot] = [name for region, name in running.kept]
    assert f"aws rds delete-db-snapshot --db-snapshot-identifier {snapshot} --region" in after
    assert f"(Database of {PROD}), about 1 USD a month, as it is needed for {snapshot}" in after
    assert f"RDS's own backups of {PROD}" in after
    assert f"1 log groups, /aws/rds/instance/{PROD}/*" in after
    for name in SECRETS:
        assert f"restore-secret --secret-id {name} --region {REGION}" in after
    assert "costmanagement" in after


def test_removing_one_environment_changes_nothing_else(running, command):
    before = running.state()
    assert command("remove", "staging", "--confirm", STAGING)[0] == 0
    after = running.state()
    gone = {one for one in before[1] if one not in after[1]}
    assert gone == {STAGING, f"{STAGING}-operations"}
    assert set(before[0][REGION, "objects"]) - set(after[0][REGION, "objects"]) == {
        f"databases/{STAGING}",
        f"deployments/{STAGING}/20260101T000000000000Z deploy old",
    }
    assert after[0][REGION, "versions"] == before[0][REGION, "versions"]
    assert running.bundles
    assert after[-1] == before[-1]
    for region in DESTINATIONS:
        assert after[0][region, "objects"] == before[0][region, "objects"]


def test_the_topic_of_the_probe_goes_from_slack(running, command):
    arn = "arn:aws:chatbot::123456789012:chat-configuration/slack-channel/one"
    running.channels[arn] = {
        "ChatConfigurationArn": arn,
        "SlackChannelId": "CABCDEF12",
        "SlackTeamName": "Greeters",
        "SlackTeamId": "TABCDEF12",
        "IamRoleArn": "arn:aws:iam::123456789012:role/slack",
        "ConfigurationName": "by-hand",
        "SlackChannelName": "one",
        "SnsTopicArns": [TOPIC, "arn:aws:sns:eu-west-1:123456789012:another"],
    }
    command(*MEANT)
    assert running.channels[arn]["SnsTopicArns"] == ["arn:aws:sns:eu-west-1:123456789012:another"]
    assert changes(running)[1][0] == "UpdateSlackChannelConfiguration"


def test_a_second_run_finds_nothing(running, command):
    command(*MEANT)
    with running.unchanged():
        code, output = command("remove", "prod")
    assert code == 0
    where = ", ".join((REGION, *DESTINATIONS))
    assert f"nothing of {PROD} is left to remove in {where}" in output
    assert (
        f"the vault {PROD}-{FIRST}, with the stack {PROD}-vault in {FIRST}, locked: 1 backups"
        in output
    )


def test_after_the_backups_and_snapshots_only_logs_remain(running, command):
    command(*MEANT)
    running.vaults.clear()  # when they have expired, by the break-glass role
    running.kept.clear()
    code, output = command(*MEANT)
    assert code == 0, output
    assert not [name for name in running.stacks if PROD in name]
    states = {one["Description"]: one["state"] for one in running.keys.values()}
    assert states.pop(f"Database of {STAGING}") == "Enabled"
    assert set(states.values()) == {"PendingDeletion"}
    for region in (REGION, *DESTINATIONS):
        assert not [one for one in running.at(region, "objects") if PROD in one]
        assert f"(Backups of {PROD} in {region}), until 2026-12-01" in output


def test_an_empty_vault_is_named(running, command):
    running.vaults[f"{PROD}-{FIRST}"].clear()
    output = command(*MEANT)[1]
    assert (
        f"the vault {PROD}-{FIRST}, with the stack {PROD}-vault in {FIRST}, which is empty: only the role"
        in output
    )
    assert f"{FIRST}/{PROD}-vault" in running.stacks


def test_an_interrupted_removal_is_continued(running, command):
    """By Ctrl-C, as soon as a change has taken effect."""
    beginning = copy.deepcopy(vars(running))
    assert command(*MEANT)[0] == 0
    whole, count = running.state(), running.changes
    assert count > 12
    for number in range(1, count + 1):
        vars(running).update(copy.deepcopy(beginning))
        running.interrupted, running.changes = number, 0
        code, output = command(*MEANT)
        assert code == 130, (number, output)
        assert f"locks/{PROD}" not in running.objects
        running.interrupted = None
        code, output = command(*MEANT)
        assert code == 0, (number, output)
        assert running.state() == whole, number


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_a_refused_or_lost_request_never_counts_as_removed(running, command, monkeypatch, code):
    """Some is not needed, such as events for display, and the release of the lock."""
    monkeypatch.setenv("HEALTH_TIMEOUT", "1")
    beginning, failed = copy.deepcopy(vars(running)), []
    assert command(*MEANT)[0] == 0
    whole = running.state()
    for action in dict.fromkeys(action for action, _ in running.calls):
        vars(running).update(copy.deepcopy(beginning))
        running.fail(action, code)
        ended, output = command(*MEANT)
        running.objects.pop(f"locks/{PROD}", None)
        if ended == 0:
            assert running.state() == whole, action
            continue
        failed.append(action)
        assert output.count("FAILED: ") == 1
        assert "nothing is left" not in output
        assert "is removed" not in output
    assert len(failed) > 20


@pytest.mark.parametrize("short", ["prod", "before"])
def test_a_protected_environment_needs_the_option_protected(running, fails, command, short):
    name = f"{APPLICATION}-{short}"
    if short == "before":
        running.add_environment("before", "old")
    running.protected = {PROD, name}
    with running.unchanged():
        output = fails("remove", short, "--confirm", name)
    assert "to remove it, add --protected" in output
    assert "now: nothing was changed" in output
    assert command("remove", short, "--protected", "--confirm", name)[0] == 0


@pytest.mark.parametrize("given", [[], ["--confirm", "staging"], ["--confirm", PROD]])
def test_without_the_confirmed_name_nothing_is_removed(running, fails, monkeypatch, given):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with running.unchanged():
        output = fails("remove", "staging", *given)
    assert f"--confirm {STAGING}" in output


@pytest.mark.parametrize(("typed", "code"), [(STAGING, 0), ("staging", 1), ("", 1), ("yes", 1)])
def test_on_a_terminal_the_name_must_be_typed(running, command, monkeypatch, typed, code):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: typed)
    assert command("remove", "staging")[0] == code
    assert (STAGING in running.environments) is bool(code)


def test_a_dry_run_shows_everything_and_changes_nothing(running, command):
    with running.unchanged():
        code, output = command("remove", "prod", "--dry-run")
    assert code == 0, output
    assert not running.changes
    for line in (
        f"cloudformation delete-stack --stack-name {PROD}-operations",
        f"rds modify-db-instance --db-instance-identifier {PROD} --no-deletion-protection",
        f"elasticbeanstalk terminate-environment --environment-name {PROD}",
        f"secretsmanager delete-secret --secret-id {PROD}/database",
    ):
        assert f"+ aws {line}" in output
    assert "is removed" not in output


def test_removal_is_refused_during_a_deployment(running, fails):
    running.time = datetime.now(UTC)
    running.s3_put_object(records(), f"locks/{STAGING}", b"somebody else")
    with running.unchanged():
        output = fails("remove", "staging", "--confirm", STAGING)
    assert f"another run is working on {STAGING}: somebody else" in output


def test_removal_waits_for_an_operation_in_progress(running, command):
    environment, looks = running.environments[STAGING], []
    environment["status"] = "Updating"

    def describe(**given):
        looks.append(given)
        if len(looks) > 8:
            environment["status"] = "Ready"
            del running.elasticbeanstalk_describe_environments
        return RemovableAws.elasticbeanstalk_describe_environments(running, **given)

    running.elasticbeanstalk_describe_environments = describe
    assert command("remove", "staging", "--confirm", STAGING)[0] == 0
    assert STAGING not in running.environments


def test_a_failed_termination_is_reported(running, fails):
    """What remains of it is Ready for AWS."""
    terminate = running.elasticbeanstalk_terminate_environment

    def protect_again(**given):
        running.protected.add(STAGING)
        return terminate(**given)

    running.elasticbeanstalk_terminate_environment = protect_again
    output = fails("remove", "staging", "--confirm", STAGING)
    assert f"{STAGING} could not be terminated: Deleting Database failed" in output
    assert f"now: {STAGING} is no longer complete" in output
    assert STAGING in running.stacks


def test_an_object_that_cannot_be_deleted_is_a_failure(running, fails):
    running.undeletable = {f"databases/{STAGING}"}
    output = fails("remove", "staging", "--confirm", STAGING)
    assert f"such as databases/{STAGING}: AccessDenied" in output


def test_an_environment_of_the_same_name_in_another_region_is_kept(running, command, monkeypatch):
    """As after a recovery: production runs in both regions."""
    running.region = FIRST
    running.add_environment("prod", "old")
    running.replicas.clear()
    for region in DESTINATIONS:
        running.vaults[f"{PROD}-{region}"].clear()
    running.stacks[f"{FIRST}/{PROD}"] = {"status": "CREATE_COMPLETE", "outputs": {}}
    there = running.at(FIRST, "secrets").copy(), running.at(FIRST, "objects").copy()
    output = command(*MEANT)[1]
    assert f"the records of 1 deployments of {PROD} in {FIRST}: {PROD} is there" in output
    assert PROD in running.at(FIRST, "environments")
    assert (running.at(FIRST, "secrets"), running.at(FIRST, "objects")) == there
    assert f"{FIRST}/{PROD}" in running.stacks
    assert PROBE in running.stacks
    assert f"the probe of its public name: {PROD} is also in {FIRST}" in output
    monkeypatch.setenv("AWS_REGION", FIRST)
    assert command(*MEANT)[0] == 0
    assert PROD not in running.at(FIRST, "environments")
    assert not {f"{FIRST}/{PROD}", PROBE} & set(running.stacks)


def test_a_database_without_its_environment_is_reported(running, fails):
    del running.environments[STAGING]
    running.rds_describe_db_instances = lambda **given: FakeAws.rds_describe_db_instances(
        running, given["DBInstanceIdentifier"]
    )
    output = fails("remove", "staging", "--confirm", STAGING)
    assert f"the database {STAGING} exists without its environment" in output
    assert "--final-db-snapshot-identifier" in output


def test_the_dns_record_of_the_public_name_is_mentioned(running, command):
    running.stacks[STAGING]["outputs"]["PublicName"] = "hello.greetings.test"
    output = command("remove", "staging", "--confirm", STAGING)[1]
    assert "the record of hello.greetings.test in DNS: remove it first" in output


def test_unknown_names_are_reported_and_those_of_shared_stacks_refused(running, command, fails):
    output = command("remove", "stagin", "--confirm", f"{APPLICATION}-stagin")[1]
    assert "has no stagin: it belongs to an exercise, or is mistyped" in output
    assert "is left to remove in" in output
    for short in ("foundation", "pipeline", "replication", "budget"):
        assert "is the name of a stack that environments share" in fails("remove", short)
    assert "lower-case letters or digits" in fails("remove", "x")
