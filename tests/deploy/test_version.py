"""Old versions: the unneeded ones are deleted, and nothing else is."""

import io

import pytest
from botocore.exceptions import IncompleteReadError

from tests.deploy.conftest import STAGING
from tests.deploy.test_rollout import history
from tests.support.aws import APPLICATION, bundles, seal

BUNDLE = f"{APPLICATION}/{{}}.zip"
LABELS = [f"v{number:03}" for number in range(60)]


@pytest.fixture
def many(aws, staging):
    """Sixty versions; staging runs the second one, production the newest."""
    aws.versions.clear()
    aws.add_version(*LABELS)
    staging.update(label="v001", instances=["v001", "v002"])
    aws.environments["birthday-greetings-prod"].update(label="v059", instances=["v059"] * 2)
    history(aws, "deploy v000", "deploy v003", "deploy v001")
    aws.add_environment("other", "v004")  # not in the file, but it runs
    return aws.versions


def test_versions_that_are_no_longer_needed_are_deleted(many, command):
    code, output = command("versions", "prune", "--yes")
    assert code == 0, output
    assert sorted(set(LABELS) - set(many)) == ["v000", "v005", "v006", "v007", "v008", "v009"]
    assert "6 versions were deleted" in output


def test_a_dry_run_deletes_nothing_and_shows_what_it_would(aws, many, command):
    code, output = command("versions", "prune", "--dry-run")
    assert code == 0
    assert len(many) == 60
    line = "+ aws elasticbeanstalk delete-application-version --application-name birthday-greetings"
    assert output.count(line) == 6
    assert f"{line} --version-label v005 --delete-source-bundle" in output


def test_nothing_is_deleted_without_confirmation(aws, many, fails, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    output = fails("versions", "prune")
    assert "v005" in output
    assert "run it with --yes" in output
    assert len(many) == 60


def test_few_versions_are_all_kept(aws, staging, command):
    assert "all versions are needed" in command("versions", "prune", "--yes")[1]
    assert len(aws.versions) == 3


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize(
    "action",
    [
        "elasticbeanstalk:DescribeApplicationVersions",
        "elasticbeanstalk:DescribeEnvironments",
        "elasticbeanstalk:DescribeInstancesHealth",
        "s3:ListObjectsV2",
    ],
)
def test_after_a_query_without_a_response_nothing_is_deleted(aws, many, fails, action, code):
    aws.fail(action, code)
    assert "now: nothing was deleted" in fails("versions", "prune", "--yes")
    assert len(many) == 60


def test_a_deletion_that_is_refused_says_how_far_it_came(aws, many, fails):
    aws.fail("elasticbeanstalk:DeleteApplicationVersion", "OperationInProgressFailure",
             when=lambda one: one["VersionLabel"] == "v006")  # fmt: skip
    assert "now: 2 of 6 versions were deleted" in fails("versions", "prune", "--yes")
    assert STAGING


# --- A version is deployed exactly as built ---------------------------------------------------------------


@pytest.mark.parametrize("command_", [("deploy", "prod", "--version", "new"), ("rollback", "prod")])
def test_a_bundle_that_was_changed_is_not_deployed(aws, staging, fails, command_):
    history(aws, "deploy new", "deploy old", name=f"{APPLICATION}-prod")
    aws.s3_put_object(bundles(), BUNDLE.format("new"), b"something else")
    output = fails(*command_)
    assert "the bundle of version new was changed after it was built" in output
    assert f"s3://{bundles()}/{BUNDLE.format('new')}" in output
    assert "now: nothing was changed" in output
    assert aws.environments[f"{APPLICATION}-prod"]["label"] == "old"


def test_a_new_environment_does_not_get_it_either(aws, staging, fails):
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
def test_the_subject_of_a_commit_does_not_choose_the_hash(aws, staging, command, fails, subject):
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


def test_a_changed_bundle_is_not_rolled_back_to(aws, staging, tested, fails):
    tested.broken.add("new")
    aws.s3_put_object(bundles(), BUNDLE.format("old"), b"something else")
    output = fails("deploy", "staging", "--version", "new")
    assert "the rollback to old failed too: the bundle of version old was changed" in output
