"""The history of deployments, and the version before the present one."""

import pytest

from deploy.delivery import history
from tests.support.aws import records


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
        (["deploy a"], "a", None),
        ([], "a", None),
        (["deploy a", "deploy b"], "z", None),
        (["rollback b", "deploy c"], "c", "b"),
    ],
)
def test_the_version_before(entries, current, before):
    log = history.versions(
        f"2026010{number}T000000Z {entry}" for number, entry in enumerate(entries)
    )
    assert history.version_before(log, current) == before


def test_entries_are_read_in_the_order_in_which_they_were_made(fresh, run):
    for label in ("b", "a", "d", "c", "e"):
        history.record(run, "x", "deploy", label)
    assert history.read(run, "x") == list("badce")


def test_objects_of_others_are_no_entries(aws, fresh, run):
    """For example the folder object that the S3 console creates."""
    for key in ("deployments/x/", "deployments/x/notes.txt", "deployments/x/a b c d"):
        aws.s3_put_object(records(), key)
    history.record(run, "x", "deploy", "a")
    assert history.read(run, "x") == ["a"]
