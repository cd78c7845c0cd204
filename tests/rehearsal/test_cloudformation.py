"""The rehearsal's CloudFormation keeps AWS's rules, and the deployment tool does its work with it."""

import functools
import json
import re
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from deploy.base import settings
from deploy.base.aws import Aws, open_session
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.resources import probe, slack, stacks
from tests.rehearsal.aws.cloudformation import CloudFormation
from tests.support.aws import ACCOUNT, APPLICATION, CREDENTIALS, REGION
from tests.support.cloudformation import load

ELSEWHERE, SECOND = "eu-central-1", "eu-north-1"
FOUNDATION = f"{APPLICATION}-foundation"
EXERCISE = f"{APPLICATION}-exercise"
VAULT = f"arn:aws:backup:{ELSEWHERE}:{ACCOUNT}:backup-vault:x"
# The parameters that templates require
GIVEN = {
    "Application": APPLICATION,
    "Environment": EXERCISE,
    "Foundation": FOUNDATION,
    "KeptDays": "35",
    "Repository": "a/b",
    "Vault": "x",
    "FirstVaultArn": VAULT,
    "SecondVaultArn": VAULT,
    "Connected": "true",
    "OperationsEmail": "team@greetings.test",
    "EscalationEmail": "chief@greetings.test",
    "First": ELSEWHERE,
    "Second": SECOND,
    "TokenStored": "true",
    "MonthlyBudget": "250",
    "PublicName": "hello.greetings.test",
}


@pytest.fixture
def imitation(monkeypatch):
    """CloudFormation in an empty account."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name.upper(), value)
    with mock_aws(), ExitStack() as ending:
        found = CloudFormation(SimpleNamespace(url="http://127.0.0.1:1"))
        for patch in found.patches():
            ending.enter_context(patch)
        yield found


@pytest.fixture
def client(imitation):
    """Clients of that account."""
    return functools.cache(lambda service, region=REGION: boto3.client(service, region))


@pytest.fixture
def run(imitation):
    """The context of the deployment tool in that account, without pauses."""
    console, loaded = Console(), settings.load({"POLL_SECONDS": "0"})
    changes = Changes(console)
    session = open_session(**CREDENTIALS)
    return Run(loaded, console, changes, Aws(loaded.region, changes, session), None)


def topic(name, **more):
    return {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name}} | more


def bucket(name="taken"):
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}


def change(client, resources, name="one", kind="CREATE"):
    """A change set, and the states that it passes through."""
    asked = {"StackName": name, "ChangeSetName": "change", "ChangeSetType": kind}
    template = json.dumps({"Resources": resources})
    made = client("cloudformation").create_change_set(**asked, TemplateBody=template)
    seen = []
    while not seen or seen[-1]["Status"] not in ("CREATE_COMPLETE", "FAILED"):
        seen.append(client("cloudformation").describe_change_set(ChangeSetName=made["Id"]))
    return made["Id"], seen


def follow(client, name="one"):
    """The states that a stack passes through, until it is gone or nothing is in progress any more."""
    seen = []
    while len(seen) < 2 or seen[-1].endswith("_IN_PROGRESS"):
        assert len(seen) < 10, seen
        try:
            [stack] = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError:
            return [*seen, "gone"]
        seen.append(stack["StackStatus"])
    return seen


def apply(client, resources, kind="CREATE"):
    """Make the stack, or change it; the states that it passes through."""
    identity, seen = change(client, resources, kind=kind)
    assert seen[-1]["Status"] == "CREATE_COMPLETE", seen[-1]
    client("cloudformation").execute_change_set(ChangeSetName=identity, ClientRequestToken="ours")
    return follow(client)


def events(client, name="one"):
    """Those of the last operation, the oldest first: resource, status, and the reason if there is one."""
    found = client("cloudformation").describe_stack_events(StackName=name)["StackEvents"][::-1]
    return [
        (
            one["LogicalResourceId"],
            one["ResourceStatus"],
            *filter(None, [one.get("ResourceStatusReason")]),
        )
        for one in found
        if one.get("ClientRequestToken") == "ours"
    ]


def topics(client):
    return [one["TopicArn"].rpartition(":")[2] for one in client("sns").list_topics()["Topics"]]


# --- States, events, rollback


def test_change_sets_and_stacks_pass_through_their_states(client):
    identity, seen = change(client, {"A": topic("a")})
    assert [one["Status"] for one in seen] == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    assert [len(one["Changes"]) for one in seen] == [0, 1]
    cloudformation = client("cloudformation")
    cloudformation.execute_change_set(ChangeSetName=identity)
    assert follow(client) == ["REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    assert apply(client, {"A": topic("a"), "B": topic("b")}, "UPDATE") == [
        "CREATE_COMPLETE",
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_COMPLETE",
    ]
    cloudformation.delete_stack(StackName="one")
    assert follow(client) == ["UPDATE_COMPLETE", "DELETE_IN_PROGRESS", "gone"]
    assert not topics(client)


TWO = {"A": topic("a"), "B": topic("b"), "C": topic("c", DependsOn="A")}
RENAMED = {"A": topic("a", Properties={"TopicName": "a", "DisplayName": "new"})}


def test_a_failed_creation_leaves_no_resources(imitation, client):
    imitation.stacks.fail(REGION, "one", "A", "no more topics", "CREATE")
    assert apply(client, TWO) == [
        "REVIEW_IN_PROGRESS",
        "CREATE_IN_PROGRESS",
        "ROLLBACK_IN_PROGRESS",
        "ROLLBACK_COMPLETE",
    ]
    assert events(client) == [
        ("one", "CREATE_IN_PROGRESS", "User Initiated"),
        ("A", "CREATE_IN_PROGRESS"),
        ("B", "CREATE_IN_PROGRESS"),
        ("A", "CREATE_FAILED", "no more topics"),
        ("B", "CREATE_FAILED", "Resource creation cancelled"),
        (
            "one",
            "ROLLBACK_IN_PROGRESS",
            "The following resource(s) failed to create: [A, B]. Rollback requested by user.",
        ),
        ("one", "ROLLBACK_COMPLETE"),
    ]
    assert not topics(client)


def test_a_failed_creation_removes_what_was_created_before_it(imitation, client):
    imitation.stacks.fail(REGION, "one", "C", "no more topics", "CREATE")
    kept = {"DeletionPolicy": "RetainExceptOnCreate"}
    apply(client, {"A": topic("a", **kept), "C": topic("c", DependsOn="A")})
    assert ("A", "DELETE_COMPLETE") in events(client)
    assert not topics(client)


@pytest.mark.parametrize(("resource", "verb"), [("C", "CREATE"), ("A", "UPDATE")])
def test_a_failed_update_changes_nothing(imitation, client, resource, verb):
    apply(client, {"A": topic("a"), "B": topic("b")})
    imitation.stacks.fail(REGION, "one", resource, "no more topics", verb)
    assert apply(client, TWO | RENAMED, "UPDATE") == [
        "CREATE_COMPLETE",
        "UPDATE_IN_PROGRESS",
        "UPDATE_ROLLBACK_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE",
    ]
    reason = f"The following resource(s) failed to {verb.lower()}: [{resource}]. "
    assert ("one", "UPDATE_ROLLBACK_IN_PROGRESS", reason) in events(client)
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:a"
    assert client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] == ""
    assert sorted(topics(client)) == ["a", "b"]
    assert apply(client, {"A": topic("a")}, "UPDATE")[-1] == "UPDATE_COMPLETE"
    assert topics(client) == ["a"]


def test_a_failed_rollback_can_be_continued(imitation, client):
    apply(client, {"A": topic("a"), "B": topic("b")})
    imitation.stacks.fail(REGION, "one", "C", "no more topics", "CREATE")
    imitation.stacks.fail(REGION, "one", "A", "it is busy", "ROLLBACK")
    assert apply(client, TWO | RENAMED, "UPDATE")[-1] == "UPDATE_ROLLBACK_FAILED"
    with pytest.raises(ClientError, match="is in UPDATE_ROLLBACK_FAILED state and can not be upd"):
        change(client, TWO, kind="UPDATE")
    imitation.stacks.repair()
    client("cloudformation").continue_update_rollback(StackName="one")
    assert follow(client)[-1] == "UPDATE_ROLLBACK_COMPLETE"
    assert sorted(topics(client)) == ["a", "b"]


def test_a_resource_that_cannot_be_deleted_fails_the_stack(imitation, client):
    imitation.stacks.fail(REGION, "one", "C", "no more topics", "CREATE")
    imitation.stacks.fail(REGION, "one", "A", "it is busy", "DELETE")
    assert apply(client, TWO)[-1] == "ROLLBACK_FAILED"
    client("cloudformation").delete_stack(StackName="one")
    assert follow(client)[-1] == "DELETE_FAILED"
    imitation.stacks.repair()
    client("cloudformation").delete_stack(StackName="one")
    assert follow(client)[-1] == "gone"


def test_retained_resources_outlive_the_stack(client):
    apply(client, {"A": topic("a", DeletionPolicy="RetainExceptOnCreate"), "B": topic("b")})
    client("cloudformation").delete_stack(StackName="one")
    follow(client)
    assert topics(client) == ["a"]


# --- Refusals


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("UPDATE", r"Stack:arn:\S+ is in ROLLBACK_COMPLETE state and can not be updated\."),
        ("CREATE", r"Stack \[one\] already exists and cannot be created again with the changeSet"),
    ],
)
def test_a_stack_whose_creation_failed_cannot_be_changed(imitation, client, kind, message):
    imitation.stacks.fail(REGION, "one", "A", "no more topics", "CREATE")
    apply(client, TWO)
    with pytest.raises(ClientError, match=f"ValidationError.*{message}"):
        change(client, TWO, kind=kind)


def test_a_change_set_is_executed_only_once_and_when_complete(client):
    made = client("cloudformation").create_change_set(
        StackName="one",
        ChangeSetName="change",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": TWO}),
    )
    with pytest.raises(ClientError, match="InvalidChangeSetStatus"):
        client("cloudformation").execute_change_set(ChangeSetName=made["Id"])
    apply(client, TWO)
    identity, _ = change(client, {"A": topic("a")}, kind="UPDATE")
    client("cloudformation").execute_change_set(ChangeSetName=identity)
    with pytest.raises(ClientError, match="InvalidChangeSetStatus"):
        client("cloudformation").execute_change_set(ChangeSetName=identity)


def test_a_type_that_the_region_lacks_is_refused(client):
    template = Path("devops/budget.yml").read_text()
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::Budgets::Budget\]"):
        client("cloudformation", "eu-north-1").create_change_set(
            StackName="one", ChangeSetName="change", ChangeSetType="CREATE", TemplateBody=template
        )


def test_an_existing_name_is_found_before_the_change_set_is_executed(client):
    """That of a bucket by anybody, in any region."""
    client("s3", "us-east-1").create_bucket(Bucket="taken")
    identity, seen = change(client, {"Bucket": bucket(), "A": topic("a")})
    assert seen[-1]["Status"] == "FAILED"
    assert "[AWS::EarlyValidation::ResourceExistenceCheck]" in seen[-1]["StatusReason"]
    [event] = client("cloudformation").describe_events(ChangeSetName=identity)["OperationEvents"]
    assert event["LogicalResourceId"] == "Bucket"
    assert event["ValidationStatusReason"] == (
        "Resource of type 'AWS::S3::Bucket' with identifier 'taken' already exists."
    )


def test_a_missing_export_is_found_before_the_change_set_is_executed(client):
    imported = topic("a", Properties={"TopicName": {"Fn::ImportValue": "nothing"}})
    _, seen = change(client, {"A": imported})
    assert (seen[-1]["Status"], seen[-1]["StatusReason"][:24]) == (
        "FAILED",
        "No export named nothing ",
    )


def subscription(address, **more):
    given = {"TopicArn": {"Ref": "A"}, "Protocol": "email", "Endpoint": address}
    return {"Type": "AWS::SNS::Subscription", "Properties": given | more}


SECRET = {
    "Secret": {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {"Name": "x", "SecretString": "{}"},
    }
}
BUDGET = {
    "Budget": {
        "Type": "AWS::Budgets::Budget",
        "Properties": {"Budget": {"BudgetName": "x", "BudgetType": "COST", "TimeUnit": "MONTHLY"}},
    }
}
TWICE = {
    "A": topic("a"),
    "B": subscription("b@greetings.test"),
    "C": subscription("b@greetings.test", FilterPolicy={"urgent": ["true"]}),
}


@pytest.mark.parametrize(
    ("resources", "prepare", "reason"),
    [
        (
            SECRET,
            lambda client: client("secretsmanager").create_secret(Name="x", SecretString="{}"),
            "The operation failed because the secret x already exists.",
        ),
        (
            SECRET,
            lambda client: [
                client("secretsmanager").create_secret(Name="x", SecretString="{}"),
                client("secretsmanager").delete_secret(SecretId="x"),
            ],
            "a secret with this name is already scheduled for deletion.",
        ),
        (TWICE, lambda client: None, "Subscription already exists with different attributes"),
        (BUDGET, lambda client: make_elsewhere(client, BUDGET), "the budget already exists."),
    ],
)
def test_other_existing_names_fail_the_stack(client, resources, prepare, reason):
    prepare(client)
    assert apply(client, resources)[-1] == "ROLLBACK_COMPLETE"
    [found] = [
        one[2] for one in events(client) if one[1] == "CREATE_FAILED" and "canc" not in one[2]
    ]
    assert reason in found
    assert not topics(client)


def make_elsewhere(client, resources):
    """A stack in another region, with the clients of that."""
    assert apply(lambda service: client(service, ELSEWHERE), resources)[-1] == "CREATE_COMPLETE"


def test_an_export_in_use_cannot_be_deleted(client, run):
    apply_all(run, "foundation", "environment")
    with pytest.raises(
        Failure, match=r"cannot be deleted: Export \S+ cannot be deleted as it is in use by"
    ):
        stacks.remove(run, FOUNDATION)
    assert stacks.find(run, FOUNDATION)["StackStatus"] == "CREATE_COMPLETE"


# --- The templates of this project, by the deployment tool

NAMES = {"environment": EXERCISE, "operations": f"{EXERCISE}-operations", "slack": slack.STACK}
SHARED = ("foundation", "replication", "slack", "pipeline")
OF_ENVIRONMENT = ("environment", "operations", "vault", "backups")


def name_of(template):
    return NAMES.get(template, f"{APPLICATION}-{template}")


def apply_all(run, *templates, **given):
    """Make or change their stacks; the parameters that they require get plausible values."""
    for template in templates:
        declared = load(f"devops/{template}.yml").get("Parameters", {})
        needed = {key: GIVEN.get(key, "1") for key, one in declared.items() if "Default" not in one}
        stacks.apply(run, name_of(template), f"devops/{template}.yml", needed | given)


@pytest.fixture
def everything(run, client):
    """All stacks of a region."""
    client("logs").create_log_group(logGroupName="1")
    apply_all(run, *SHARED, *OF_ENVIRONMENT)


def test_every_stack_can_be_changed_and_removed(everything, imitation, run, client, capsys):
    """What must not be lost stays, and a new foundation does not take it over."""
    apply_all(run, *SHARED, *OF_ENVIRONMENT)
    up_to_date = "up to date"
    assert capsys.readouterr().err.count(up_to_date) == len(SHARED) + len(OF_ENVIRONMENT)
    for template in reversed((*SHARED, *OF_ENVIRONMENT)):
        stacks.remove(run, name_of(template))
    assert {kind for kind, found in imitation.resources.items() if found} == {
        "AWS::Backup::BackupVault"
    }
    assert not client("sns").list_topics()["Topics"]
    assert not client("iam").list_roles()["Roles"]
    assert len(client("ec2").describe_vpcs()["Vpcs"]) == 1  # the default one
    with pytest.raises(Failure) as failure:
        apply_all(run, "foundation")
    for resource, name in (("Images", APPLICATION), ("Records", f"{APPLICATION}-records-")):
        assert re.search(
            rf"{resource}: Resource of type '\S+' with identifier '{name}", failure.value.what
        )
    assert failure.value.next.startswith("import it into the stack (")


def test_a_new_address_of_the_team_changes_the_budget(run, imitation):
    """AWS replaces a budget then, and refuses a second one of the same name:
    https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/365"""
    for address in ("team", "others"):
        apply_all(run, "budget", OperationsEmail=f"{address}@greetings.test")
    [made] = imitation.resources["AWS::Budgets::Budget"].values()
    assert "others@greetings.test" in json.dumps(made)


def test_a_probe_is_made_changed_and_removed(run, imitation, client):
    there = run.at(probe.REGION)
    resources = imitation.at(probe.REGION)
    apply_all(there, "probe")
    apply_all(
        there, "probe", PublicName="hi.greetings.test", Pager="+15550100", PagerProtocol="sms"
    )
    [check] = resources["AWS::Route53::HealthCheck"].items()
    assert check[1]["HealthCheckConfig"]["FullyQualifiedDomainName"] == "hi.greetings.test"
    [alarm] = resources["AWS::CloudWatch::Alarm"].values()
    assert alarm["Dimensions"] == [{"Name": "HealthCheckId", "Value": check[0]}]
    protocols = {one["Protocol"] for one in resources["AWS::SNS::Subscription"].values()}
    assert protocols == {"email", "sms"}
    stacks.remove(there, name_of("probe"))
    assert not any(resources.values())
    assert not client("sns", probe.REGION).list_topics()["Topics"]


@pytest.fixture
def exercise(run, client):
    """The stacks of a yearly exercise in its region, which were removed as docs/recovery.md says."""
    there = run.at(SECOND)
    client("logs", SECOND).create_log_group(logGroupName="1")
    apply_all(there, "foundation", "environment", "operations")
    for name in (f"{EXERCISE}-operations", EXERCISE):
        stacks.remove(there, name)
    return there


def delete_secrets(client, commands):
    """Do as commands of the AWS CLI say."""
    for command in commands:
        found = re.fullmatch(
            r"aws secretsmanager delete-secret --force-delete-without-recovery"
            rf" --secret-id (\S+) --region {SECOND}",
            command,
        )
        client("secretsmanager", SECOND).delete_secret(
            SecretId=found[1], ForceDeleteWithoutRecovery=True
        )


def test_a_second_exercise_is_refused_with_the_commands_that_fix_it(exercise, client):
    with pytest.raises(Failure, match=f"the secret {EXERCISE}/.* already exists") as failure:
        apply_all(exercise, "environment")
    commands = re.findall(r"aws secretsmanager [^;]*", failure.value.next)
    assert len(commands) == 3
    delete_secrets(client, commands)
    apply_all(exercise, "environment", "operations")


def test_a_new_home_region_can_be_set_up_beside_the_lost_one(everything, run, client):
    """Names that are unique in the account must not be those of the stacks in the old home."""
    there = run.at(ELSEWHERE)
    client("logs", ELSEWHERE).create_log_group(logGroupName="1")
    apply_all(there, "foundation", "vault")  # on the calm day
    apply_all(there, *OF_ENVIRONMENT)  # on the worst one
    apply_all(there, *SHARED, First=REGION)
    for template in (*SHARED, *OF_ENVIRONMENT):
        for region in (REGION, ELSEWHERE):
            assert stacks.find(run.at(region), name_of(template))["StackStatus"] in stacks.GOOD
