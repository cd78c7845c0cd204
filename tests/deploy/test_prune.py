"""Old versions: the unneeded ones are deleted, and nothing else is."""

import io

import pytest

from tests.support.account import add_history
from tests.support.aws import APPLICATION, STAGING

LABELS = [f"v{number:03}" for number in range(60)]


@pytest.fixture
def many(aws, staging):
    """Sixty versions; staging runs the second one, production the newest."""
    aws.versions.clear()
    aws.add_version(*LABELS)
    staging.update(label="v001", instances=["v001", "v002"])
    aws.environments[f"{APPLICATION}-prod"].update(label="v059", instances=["v059"] * 2)
    add_history(aws, "deploy v000", "deploy v003", "deploy v001")
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
    line = f"+ aws elasticbeanstalk delete-application-version --application-name {APPLICATION}"
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
    assert "now: nothing was changed" in fails("versions", "prune", "--yes")
    assert len(many) == 60


def test_a_refused_deletion_reports_how_many_were_deleted(aws, many, fails):
    aws.fail(
        "elasticbeanstalk:DeleteApplicationVersion",
        "OperationInProgressFailure",
        when=lambda one: one["VersionLabel"] == "v006",
    )
    assert "now: 2 of 6 versions were deleted" in fails("versions", "prune", "--yes")
    assert STAGING
