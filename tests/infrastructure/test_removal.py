"""`remove` is for operators: nobody else may do what decides about it."""

import pytest

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
        *(
            (f"secretsmanager:{action}", secret(name, kind), {})
            for action in ("DeleteSecret", "RemoveRegionsFromReplication")
            for kind in ("database", "application", "smoke-test")
        ),
        ("kms:ScheduleKeyDeletion", arn("kms", "key/1"), {}),
        ("s3:DeleteObject", f"{RECORDS}/deployments/{name}/1", {}),
        ("s3:DeleteObject", f"{RECORDS}/databases/{name}", {}),
    ]  # fmt: skip


SHARED = [
    *(
        ("cloudformation:DeleteStack", arn("cloudformation", f"stack/{APPLICATION}-{one}/1"), {})
        for one in ("pipeline", "foundation", "replication", "budget")
    ),
    ("ecr:DeleteRepository", IMAGES, {}),
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
def test_only_an_operator_removes_anything(who):
    asked = [*calls(STAGING), *calls(PROD), *SHARED]
    may = [one for one in asked if WHO[who].may(*one)]
    assert may == (asked if who == "Operator" else [])
