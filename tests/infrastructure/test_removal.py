"""`remove` is for operators: nobody else may do what decides about it. And it knows all that a stack keeps."""

import re
from pathlib import Path

import pytest

from deploy.resources import probe
from tests.infrastructure.permissions import (
    APPLICATION,
    BUCKET,
    IMAGES,
    PROD,
    RECORDS,
    STAGING,
    WHO,
    arn,
    environment,
    made_for,
    secret,
)
from tests.support.aws import REGION


def calls(name):
    """The action, the resource, and the other condition keys of each call for one environment."""
    own = made_for(name)
    return [
        ("elasticbeanstalk:TerminateEnvironment", environment(name), own),
        ("rds:DeleteDBInstance", arn("rds", f"db:{name}"), own),
        *(
            ("cloudformation:DeleteStack", arn("cloudformation", f"stack/{name}{suffix}/1"), {})
            for suffix in ("", "-operations", "-backups", "-vault")
        ),
        (
            "cloudformation:DeleteStack",
            arn("cloudformation", f"stack/{probe.name(name)}/1").replace(REGION, probe.REGION),
            {},
        ),
        ("route53:DeleteHealthCheck", "arn:aws:route53:::healthcheck/1", {}),
        *(
            (f"secretsmanager:{action}", secret(name, kind), {})
            for action in ("DeleteSecret", "RemoveRegionsFromReplication")
            for kind in ("database", "application", "smoke-test")
        ),
        ("kms:ScheduleKeyDeletion", arn("kms", "key/1"), {}),
        ("s3:DeleteObject", f"{RECORDS}/deployments/{name}/1", {}),
        ("s3:DeleteObject", f"{RECORDS}/databases/{name}", {}),
    ]


SHARED = [
    *(
        ("cloudformation:DeleteStack", arn("cloudformation", f"stack/{APPLICATION}-{one}/1"), {})
        for one in ("pipeline", "foundation", "replication", "budget")
    ),
    ("ecr:DeleteRepository", IMAGES, {}),
    ("logs:DeleteLogGroup", arn("logs", f"log-group:/{APPLICATION}/pipeline"), {}),
    ("backup:DeleteBackupPlan", arn("backup", "backup-plan:1"), {}),
    ("s3:DeleteBucket", RECORDS, {}),
    ("s3:DeleteObjectVersion", f"{RECORDS}/deployments/{PROD}/1", {}),
    ("s3:DeleteObject", f"{BUCKET}/{APPLICATION}/1.zip", {}),
    (
        "elasticbeanstalk:DeleteApplication",
        arn("elasticbeanstalk", f"application/{APPLICATION}"),
        {},
    ),
    (
        "elasticbeanstalk:DeleteApplicationVersion",
        arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1"),
        {},
    ),
]


@pytest.mark.parametrize("who", WHO)
def test_only_an_operator_can_remove_anything(who):
    asked = [*calls(STAGING), *calls(PROD), *SHARED]
    may = [one for one in asked if WHO[who].may(*one)]
    assert may == (asked if who == "Operator" else [])


# What outlives its stack, and which `remove` therefore deletes itself, or names
KEPT = {
    "environment": {"Key", "DatabaseSecret", "ApplicationSecret", "SmokeTestSecret"},
    "vault": {"Key", "Vault"},
    "foundation": {"Images", "Records"},
    "pipeline": {"Artifacts", "Log", "PullRequestLog"},
}


def test_every_resource_that_outlives_its_stack_is_known():
    kept = {}
    for path in Path("devops").glob("*.yml"):
        resources = re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", path.read_text(), re.MULTILINE)
        found = {name for name, text in resources if "    DeletionPolicy: Retain" in text}
        if found:
            kept[path.stem] = found
    assert kept == KEPT


def test_deleted_objects_are_kept_for_the_documented_time():
    """By `remove`, of the history."""
    from deploy.commands.removal.environment import VERSIONS

    assert f"NoncurrentDays: {VERSIONS}}}" in Path("devops/foundation.yml").read_text()
