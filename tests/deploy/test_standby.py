"""The record of each deployment that is kept in the other regions."""

import json
from base64 import b64decode

import pytest

from deploy.config import environments
from deploy.delivery import standby
from tests.deploy.conftest import DESTINATIONS, PROD, STAGING
from tests.deploy.test_rollout import history
from tests.support.aws import APPLICATION, digest, records

FIRST, SECOND = DESTINATIONS


@pytest.fixture
def prod(run):
    return environments.find(run.settings, "prod")


def kept(aws, region):
    """The objects of a region, the oldest first."""
    found = aws.at(region, "objects")
    return [(key.rpartition(" ")[2], json.loads(found[key]["content"])) for key in sorted(found)]


def test_each_deployment_is_recorded_in_both_regions(aws, staging, command):
    code, output = command("deploy", "prod", "--version", "new")
    assert code == 0, output
    for region in (FIRST, SECOND):
        assert [label for label, _ in kept(aws, region)] == [
            "old",
            "new",
        ]  # the version that ran before as well
        _, newest = kept(aws, region)[-1]
        assert newest["image"] == digest("new")
        assert newest["commit"] == "new"
        assert b64decode(newest["bundle"]) == b"a bundle"


def test_a_rollback_is_recorded_as_well(aws, staging, command, tested):
    tested.broken = {"new"}
    assert command("deploy", "prod", "--version", "new")[0] == 1
    assert [label for label, _ in kept(aws, FIRST)] == ["old", "old"]


def test_environments_without_backups_have_nothing_elsewhere(aws, staging, command):
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 0
    assert "backups" not in output
    assert not aws.at(FIRST, "objects")


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_a_region_that_refuses_the_record_does_not_fail_the_deployment(aws, staging, command, code):
    aws.fail("s3:PutObject", code, when=lambda asked: FIRST in asked["Bucket"])
    status, output = command("deploy", "prod", "--version", "new")
    assert status == 0, output
    assert f"the deployment is not recorded in {FIRST}: " in output
    assert [label for label, _ in kept(aws, SECOND)] == ["old", "new"]
    assert f"{PROD} runs new" in output


def test_before_backups_are_installed_it_says_once_what_to_do(aws, staging, command):
    history(aws, "deploy old", name=PROD)
    for region in DESTINATIONS:
        del aws.stacks[f"{region}/{APPLICATION}-foundation"]
    code, output = command("deploy", "prod", "--version", "new")
    assert code == 0, output
    assert output.count(f"deploy: prod has no backups in {FIRST}, {SECOND} yet\n") == 1
    assert "deploy:   next: scripts/build_and_deploy.sh backups install prod\n" in output
    assert "not recorded" not in output


def test_the_newest_is_found_and_any_other_by_its_label(staging, command, run, prod):
    for label in ("new", "old"):
        command("deploy", "prod", "--version", label)
    there = run.at(FIRST)
    assert standby.find(there, prod).label == "old"
    found = standby.find(there, prod, "new")
    assert (found.label, found.digest, found.bundle) == ("new", digest("new"), b"a bundle")
    assert standby.labels(there, prod) == ["old", "new"]
    assert standby.find(there, prod, "nothing") is None


def test_a_region_without_a_bucket_has_nothing(run, prod):
    assert standby.find(run.at(FIRST), prod) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"label": "x", "image": "y", "bundle": 1}']
)
def test_a_record_that_cannot_be_read_is_not_a_missing_one(aws, staging, run, prod, content):
    there = run.at(FIRST)
    aws.region = FIRST
    key = f"standby/{PROD}/20261126T120000000000Z new"
    aws.s3_put_object(records(FIRST), key, content)
    with pytest.raises(standby.Failure, match="cannot be read"):
        standby.find(there, prod)


def test_another_environments_are_not_looked_at(aws, staging, command, run):
    command("deploy", "prod", "--version", "new")
    other = environments.find(run.settings, "prod").renamed("pro", run.settings.application)
    assert standby.find(run.at(FIRST), other) is None
    assert STAGING not in str(aws.at(FIRST, "objects"))
