"""A version is deployed exactly as it was built."""

import pytest
from botocore.exceptions import IncompleteReadError

from tests.support.account import add_history
from tests.support.aws import APPLICATION, STAGING, bundles, seal

BUNDLE = f"{APPLICATION}/{{}}.zip"


@pytest.mark.parametrize("command_", [("deploy", "prod", "--version", "new"), ("rollback", "prod")])
def test_a_changed_bundle_is_not_deployed(aws, staging, fails, command_):
    add_history(aws, "deploy new", "deploy old", name=f"{APPLICATION}-prod")
    aws.s3_put_object(bundles(), BUNDLE.format("new"), b"something else")
    output = fails(*command_)
    assert "the bundle of version new was changed after it was built" in output
    assert f"s3://{bundles()}/{BUNDLE.format('new')}" in output
    assert "now: nothing was changed" in output
    assert aws.environments[f"{APPLICATION}-prod"]["label"] == "old"


def test_a_changed_bundle_is_not_used_for_a_new_environment(aws, staging, fails):
    del aws.environments[STAGING]
    aws.s3_put_object(bundles(), BUNDLE.format("new"), b"something else")
    assert "was changed after it was built" in fails("create", "staging", "--version", "new")
    assert STAGING not in aws.environments


def test_a_version_without_a_hash_is_not_deployed(aws, staging, fails):
    aws.descriptions["new"] = "A change"
    output = fails("deploy", "staging", "--version", "new")
    assert "its description has no hash" in output
    assert "build the commit new again" in output


@pytest.mark.parametrize(
    "subject", ["Tidy up {mark}", "{mark}", "Tidy up {mark} {mark}", "Revert 'x {mark}'"]
)
def test_the_subject_of_a_commit_cannot_set_the_hash(aws, staging, command, fails, subject):
    """Neither one that is accepted for another bundle, nor one that stops a release."""
    mark = f"[bundle sha256:{'0' * 64}]"
    aws.descriptions["new"] = subject.format(mark=mark) + " " + aws.descriptions["new"]
    assert command("deploy", "staging", "--version", "new")[0] == 0
    aws.descriptions["new"] = seal(b"something else") + aws.descriptions["new"]
    aws.s3_put_object(bundles(), BUNDLE.format("new"), b"something else")
    assert "was changed after it was built" in fails("deploy", "prod", "--version", "new")


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", None])
def test_an_unreadable_bundle_is_not_deployed(aws, staging, fails, code):
    aws.fail("s3:GetObject", code)
    assert "s3:GetObject" in fails("deploy", "staging", "--version", "new")
    assert staging["label"] == "old"


def test_a_truncated_response_is_a_failure(aws, staging, fails):
    class Body:
        def read(self):
            raise IncompleteReadError(actual_bytes=3, expected_bytes=20)

    aws.s3_get_object = lambda **_: {"Body": Body()}
    output = fails("deploy", "staging", "--version", "new")
    assert "AWS did not answer s3:GetObject: 3 read, but total bytes expected is 20" in output


def test_a_changed_bundle_is_not_used_for_a_rollback(aws, staging, tested, fails):
    tested.broken.add("new")
    aws.s3_put_object(bundles(), BUNDLE.format("old"), b"something else")
    output = fails("deploy", "staging", "--version", "new")
    assert "the rollback to old failed too: the bundle of version old was changed" in output
