"""The history of deployments: here for a rollback, and in the other regions for a recovery."""

import pytest

from deploy.base.errors import Failure
from deploy.config import environments
from deploy.delivery import history
from tests.support.account import DESTINATIONS, add_history
from tests.support.aws import APPLICATION, PROD, REGION, STAGING, bundles, digest, records

FIRST, SECOND = DESTINATIONS


@pytest.fixture
def prod(run):
    return environments.find(run.settings, "prod")


@pytest.mark.parametrize(
    ("entries", "current", "before"),
    [
        (["deploy a", "deploy b"], "b", "a"),
        (["deploy a", "deploy b", "deploy c"], "b", "a"),
        (["deploy a", "deploy b", "deploy c", "rollback b"], "b", "a"),
        (["deploy a", "deploy b", "rollback a", "deploy c"], "c", "a"),
        (["deploy a", "deploy b", "rollback a", "deploy b", "rollback a"], "a", None),
        (["deploy a", "deploy b", "deploy b"], "b", "a"),
        (["deploy a", "deploy b", "deploy a", "deploy c"], "c", "a"),
        (["deploy a", "failed b", "deploy c"], "c", "a"),
        (["deploy a"], "a", None),
        ([], "a", None),
        (["deploy a", "deploy b"], "z", None),
        (["rollback b", "deploy c"], "c", "b"),
    ],
)
def test_the_version_before_another_is_found(entries, current, before):
    log = history.versions(tuple(entry.split()) for entry in entries)
    assert history.version_before(log, current) == before


def test_entries_are_read_in_chronological_order(staging, run, prod):
    for label in ("old", "new", "older", "new"):
        history.record(run, prod, "deploy", label)
    assert history.read(run, PROD) == ["old", "new", "older", "new"]


def test_other_objects_are_ignored(aws, fresh, run):
    """For example the folder object that the S3 console creates."""
    for name in ("", "notes.txt", "a b c d", "20260101T000000000000Z deploy a b"):
        aws.s3_put_object(records(), f"deployments/{STAGING}/{name}")
    add_history(aws, "deploy a")
    assert history.read(run, STAGING) == ["a"]


@pytest.mark.parametrize(
    ("broken", "entries"),
    [
        (set(), ["deploy old", "deploy new"]),  # the version that ran before as well
        ({"new"}, ["deploy old", "failed new", "rollback old"]),
    ],
)
def test_entries_are_copied_to_the_other_regions(aws, staging, command, tested, broken, entries):
    tested.broken = broken
    command("deploy", "prod", "--version", "new")
    for region in (REGION, FIRST, SECOND):
        keys = sorted(aws.at(region, "objects"))
        assert [key.partition("Z ")[2] for key in keys] == entries, region
        assert all(key.startswith(f"deployments/{PROD}/") for key in keys)


def test_without_backups_entries_are_not_copied(aws, staging, command):
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 0
    assert "backups" not in output
    assert not aws.at(FIRST, "objects")


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize("region", [REGION, FIRST])
def test_a_region_that_refuses_the_record_does_not_fail_the_deployment(
    aws, staging, command, run, code, region
):
    refused = f"{records(region)}/deployments/"
    aws.fail(
        "s3:PutObject", code, when=lambda one: f"{one['Bucket']}/{one['Key']}".startswith(refused)
    )
    status, output = command("deploy", "prod", "--version", "new")
    assert status == 0, output
    assert f"the deployment is not recorded in {region}: " in output
    assert history.read(run.at(SECOND), PROD) == ["old", "new"]
    assert f"{PROD} runs new" in output


def test_before_backups_are_installed_the_remedy_is_shown_once(aws, staging, command):
    add_history(aws, "deploy old", name=PROD)
    for region in DESTINATIONS:
        del aws.stacks[f"{region}/{APPLICATION}-foundation"]
    code, output = command("deploy", "prod", "--version", "new")
    assert code == 0, output
    assert output.count(f"deploy: prod has no backups in {FIRST}, {SECOND} yet\n") == 1
    assert "deploy:   next: scripts/build_and_deploy.sh backups install prod\n" in output
    assert "not recorded" not in output


def test_the_newest_entry_that_ran_is_found_and_any_other_by_its_label(staging, run, prod):
    for kind, label in (("deploy", "new"), ("deploy", "old"), ("failed", "older")):
        history.record(run, prod, kind, label)
    there = run.at(FIRST)
    assert history.find(there, PROD).label == "old"
    assert history.find(there, PROD, "new") == ("new", digest("new"), b"a bundle")
    assert history.find(there, PROD, "older") is None
    assert history.find(there, PROD.removesuffix("d")) is None


def test_a_version_that_cannot_be_read_is_recorded_without_its_bundle(
    aws, staging, run, prod, capsys
):
    """So that a later rollback to it is refused, and no other version is taken for the one before."""
    aws.s3_put_object(bundles(), f"{APPLICATION}/new.zip", b"something else")
    history.record(run, prod, "deploy", "new")
    assert "version new is recorded without its bundle: the bundle of" in capsys.readouterr().err
    assert history.read(run, PROD) == ["new"]
    assert history.find(run.at(FIRST), PROD) == ("new", "", b"")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"who": "", "detail": "", "image": "y", "bundle": 1}']
)
def test_an_entry_that_cannot_be_read_is_not_a_missing_one(aws, staging, run, content):
    key = f"deployments/{PROD}/20261126T120000000000Z deploy new"
    aws.s3_put_object(records(), key, content)
    for read in (history.find, lambda *asked: history.find_last(*asked, 1)):
        with pytest.raises(Failure, match=f"{key} cannot be read"):
            read(run, PROD)
