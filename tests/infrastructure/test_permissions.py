"""Who may do what, according to the policies in the templates."""

import pytest

from tests.infrastructure import permissions
from tests.infrastructure.permissions import (
    APPLICATION,
    ARTIFACTS,
    BUCKET,
    CONNECTION,
    PROD,
    STAGING,
    USE,
    VIA_CLOUDFORMATION,
    WHAT,
    WHO,
    arn,
    environment,
    made_for,
    secret,
)  # fmt: skip
from tests.support.aws import ACCOUNT

PIPELINE = permissions.PIPELINE.template["Resources"]
# Anybody may have written their code, or the packages that it installs
UNTRUSTED = ("Pull request", "Verify", "Image tests")
PROJECTS = (*UNTRUSTED, "Build", "Staging", "Production", "Window")


def test_the_tables_in_the_document_are_those_of_the_templates():
    text = permissions.DOCUMENT.read_text()
    assert "| deploy |" in text
    assert permissions.updated(text) == text, "python -m tests.infrastructure.permissions"


@pytest.mark.parametrize("who", PROJECTS)
def test_no_code_can_write_to_the_repository(who):
    for action in ("GetConnectionToken", "PassConnection", "UpdateConnection"):
        assert not WHO[who].may(f"codeconnections:{action}", CONNECTION, USE)
        assert not WHO[who].may(f"codestar-connections:{action}", CONNECTION, USE)
    for context in (
        {}, USE, USE | {"codeconnections:ProviderPermissionsRequired": "read_write"},
        {"codeconnections:FullRepositoryId": "greeters/another",
         "codeconnections:ProviderPermissionsRequired": "read_only"},
    ):  # fmt: skip
        assert not WHO[who].may("codeconnections:UseConnection", CONNECTION, context)


def test_a_pull_request_has_no_connection_at_all():
    assert not any(
        "connections:" in action
        for statement in WHO["Pull request"].statements
        for action in statement["Action"]
    )
    source = PIPELINE["PullRequests"]["Properties"]["Source"]
    assert source["Auth"] == {"Type": "SECRETS_MANAGER", "Resource": {"Ref": "PullRequestToken"}}


def test_a_pull_request_touches_nothing_of_main():
    pull_request = WHO["Pull request"]
    for rows in WHAT.values():
        allowed = {words for words, *asked in rows if pull_request.may(*asked)}
        assert allowed <= {
            "read the token for pull requests", "write logs of pull requests",
            "write reports of pull requests",
        }  # fmt: skip


@pytest.mark.parametrize("who", PROJECTS)
@pytest.mark.parametrize("key", ["Source/1", "Release/1"])
def test_an_artifact_is_written_by_who_makes_it(who, key):
    makers = {"Source/1": (), "Release/1": ("Build",)}
    may = WHO[who].may("s3:PutObject", f"{ARTIFACTS}/{APPLICATION}/{key}")
    assert may == (who in makers[key])


@pytest.mark.parametrize("who", PROJECTS)
def test_a_cache_is_read_by_who_wrote_it(who):
    for action in ("s3:GetObject", "s3:PutObject"):
        assert WHO[who].may(action, f"{ARTIFACTS}/cache/verify/1") == (who == "Verify")
        assert not WHO[who].may(action, f"{ARTIFACTS}/cache/other/1")


def test_only_projects_without_permissions_keep_a_cache():
    projects = {
        name: one["Properties"]
        for name, one in PIPELINE.items()
        if one["Type"] == "AWS::CodeBuild::Project"
    }
    assert {name for name, one in projects.items() if "Cache" in one} == {
        "PullRequests", "Verify", "ImageTests",
    }  # fmt: skip
    assert projects["Verify"]["Cache"]["Location"] == {"Fn::Sub": "${Artifacts}/cache/verify"}
    for name in ("PullRequests", "ImageTests"):
        assert projects[name]["Cache"]["Type"] == "LOCAL"


def test_staging_and_production_are_projects_with_roles_of_their_own():
    used = {
        stage["Name"]: stage["Actions"][0]["Configuration"]["ProjectName"]["Ref"]
        for stage in PIPELINE["Pipeline"]["Properties"]["Stages"]
        if stage["Name"] in ("Staging", "Production")
    }
    assert used == {"Staging": "Staging", "Production": "Production"}
    for name, short in (("Staging", "staging"), ("Production", "prod")):
        project = PIPELINE[name]["Properties"]
        assert project["ServiceRole"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
        assert project["Environment"]["EnvironmentVariables"] == [
            {"Name": "ENVIRONMENT", "Value": short}
        ]


def test_staging_may_do_nothing_to_production():
    for words, *asked in WHAT["Production"]:
        assert not WHO["Staging"].may(*asked), words
    for words, *asked in WHAT["Staging"]:
        if not words.startswith(("read the", "write its logs", "remove its alarms")):
            assert WHO["Staging"].may(*asked), words


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("elasticbeanstalk:TerminateEnvironment", environment(PROD), {}),
        ("elasticbeanstalk:SwapEnvironmentCNAMEs", environment(PROD), {}),
        ("autoscaling:UpdateAutoScalingGroup",
         arn("autoscaling", "autoScalingGroup:1:autoScalingGroupName/awseb-e-1"), made_for(PROD)),
        ("elasticloadbalancing:DeleteListener",
         arn("elasticloadbalancing", "listener/app/awseb-1/2/3"), made_for(PROD)),
        ("rds:DeleteDBInstance", arn("rds", f"db:{PROD}"), {}),
        ("rds:ModifyDBParameterGroup", arn("rds", "pg:awseb-1"), made_for(PROD)),
        ("s3:DeleteObject", f"{BUCKET}/deployments/{PROD}/1", {}),
        ("s3:DeleteObject", f"{BUCKET}/locks/{PROD}", {}),
        ("secretsmanager:GetSecretValue", secret(PROD, "database"), VIA_CLOUDFORMATION),
    ],
)  # fmt: skip
def test_no_other_action_reaches_production_from_staging(action, resource, context):
    """AWS's deployment policy, or ours, allows each of these actions in general."""
    assert not WHO["Staging"].may(action, resource, context)
    assert WHO["Production"].may(action, resource, context)


@pytest.mark.parametrize(("who", "other"), [("Staging", PROD), ("Production", STAGING)])
def test_a_deployment_passes_its_own_roles_only(who, other):
    for role in ("administrator", f"{other}-InstanceRole-AbCdEf", "aws-elasticbeanstalk-1"):
        for service in ("ec2", "cloudformation", "elasticbeanstalk"):
            context = {"iam:PassedToService": f"{service}.amazonaws.com"}
            assert not WHO[who].may(
                "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", context
            )  # fmt: skip
    own = {"Staging": STAGING, "Production": PROD}[who]
    for role in (f"{own}-InstanceRole-1", f"{APPLICATION}-foundation-ServiceRole-1"):
        context = {"iam:PassedToService": "elasticbeanstalk.amazonaws.com"}
        assert WHO[who].may("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", context)


@pytest.mark.parametrize("who", ["Staging", "Production"])
def test_a_deployment_leaves_versions_as_they_were_built(who):
    version = arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1")
    for action in ("CreateApplicationVersion", "UpdateApplicationVersion",
                   "DeleteApplicationVersion"):  # fmt: skip
        assert not WHO[who].may(f"elasticbeanstalk:{action}", version)
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:PutObjectAcl"):
        assert not WHO[who].may(action, f"{BUCKET}/{APPLICATION}/1.zip")
    assert WHO[who].may("s3:GetObject", f"{BUCKET}/{APPLICATION}/1.zip")


def test_what_runs_when_the_window_opens_came_with_the_pending_version():
    source = PIPELINE["WindowOpens"]["Properties"]["Source"]
    assert source["Type"] == "S3"
    [keep] = [
        action["Configuration"]
        for stage in PIPELINE["Pipeline"]["Properties"]["Stages"]
        for action in stage["Actions"]
        if action["ActionTypeId"]["Provider"] == "S3"
    ]
    assert source["Location"] == {"Fn::Sub": f"${{Artifacts}}/{keep['ObjectKey']}"}
    assert keep["Extract"] == "false"
    writers = {
        who for who in PROJECTS if WHO[who].may("s3:PutObject", f"{ARTIFACTS}/{keep['ObjectKey']}")
    }
    assert not writers
    assert WHO["Window"].may("s3:GetObject", f"{ARTIFACTS}/{keep['ObjectKey']}")


@pytest.mark.parametrize("who", ["Instance of staging", "Instance of production"])
def test_an_instance_accesses_only_its_own_data(who):
    instance = WHO[who]
    for key in (f"{APPLICATION}/1.zip", "resources/environments/e-1/_runtime/_versions/1"):
        assert instance.may("s3:GetObject", f"{BUCKET}/{key}")
        assert not instance.may("s3:PutObject", f"{BUCKET}/{key}")
    logs = f"{BUCKET}/resources/environments/logs/bundle/e-1/i-1/1.zip"
    assert instance.may("s3:PutObject", logs)
    assert not instance.may("s3:GetObject", logs)
    for key in (f"locks/{PROD}", f"deployments/{PROD}/1", f"deployments/{STAGING}/1"):
        for action in ("s3:GetObject", "s3:PutObject"):
            assert not instance.may(action, f"{BUCKET}/{key}")
    other = {"Instance of staging": PROD, "Instance of production": STAGING}[who]
    for kind in ("database", "application", "smoke-test"):
        assert not instance.may("secretsmanager:GetSecretValue", secret(other, kind))
