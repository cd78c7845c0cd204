"""Backups in three regions: installed, and listed."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from deploy.config import environments
from deploy.delivery import history
from deploy.resources import backups, slack
from tests.support.account import add_history
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, REGISTRY, digest

FIRST, SECOND = "eu-central-1", "eu-north-1"
VAULT, PLAN = f"{PROD}-vault", f"{PROD}-backups"
FOUNDATION = f"{APPLICATION}-foundation"


def ago(**more):
    return datetime.now(UTC) - timedelta(**more)


@pytest.fixture
def kept(aws):
    """A complete backup in each region, and copies that are incomplete or older."""
    old, new = ago(hours=30), ago(hours=6)
    aws.vaults = {
        f"{PROD}-{REGION}": {"awsbackup:job-1": ("COMPLETED", new)},
        f"{PROD}-{FIRST}": {
            "awsbackup:copyjob-1": ("COMPLETED", old),
            "awsbackup:copyjob-2": ("COMPLETED", new),
            "awsbackup:copyjob-3": ("PARTIAL", ago(hours=1)),
        },
        f"{PROD}-{SECOND}": {"awsbackup:copyjob-4": ("COMPLETED", new)},
    }
    return aws.vaults


def test_vaults_are_created_before_the_plan_that_names_them(aws, command):
    code, output = command("backups", "install", "prod")
    assert code == 0, output
    order = list(aws.stacks)
    assert order == [
        VAULT,
        f"{FIRST}/{FOUNDATION}",
        f"{FIRST}/{slack.STACK}",
        f"{FIRST}/{VAULT}",
        f"{SECOND}/{FOUNDATION}",
        f"{SECOND}/{VAULT}",
        PLAN,
        f"{APPLICATION}-replication",
    ]
    parameters = aws.stacks[PLAN]["parameters"]
    assert parameters["Vault"] == f"{PROD}-{REGION}"
    arn = f"arn:aws:backup:{FIRST}:{ACCOUNT}:backup-vault:{PROD}-{FIRST}"
    assert parameters["FirstVaultArn"] == arn
    assert f":{SECOND}:" in parameters["SecondVaultArn"]
    assert parameters["HomeDays"] == "35"
    assert f"{PROD} is backed up every night, with copies in {FIRST}, {SECOND}" in output


def test_no_copy_is_reported_late_before_the_first_night(aws, command):
    """The alarms on the copies count those of the last 36 hours, and there are none yet."""
    command("backups", "install", "prod")
    assert aws.metrics == [(f"{PROD}/backups", name, 1) for name in backups.COPIES]
    order = [
        name for name, asked in aws.calls if asked.get("StackName") == PLAN or "Metric" in name
    ]
    assert order.index("cloudwatch:PutMetricData") < order.index("cloudformation:CreateChangeSet")
    command("backups", "install", "prod")
    assert len(aws.metrics) == 2


def test_a_second_run_changes_nothing(aws, command):
    command("backups", "install", "prod")
    aws.calls.clear()
    assert command("backups", "install", "prod")[0] == 0
    assert not aws.asked("cloudformation:ExecuteChangeSet")


def test_backup_settings_of_the_whole_account_are_unchanged(aws, command):
    """A database that a plan names is backed up whether or not RDS is opted in."""
    command("backups", "install", "prod")
    assert not [name for name, _ in aws.calls if name.endswith("RegionSettings")]


def test_a_dry_run_succeeds_before_the_destinations_have_registries(aws, staging, command):
    """The registries of the destinations are made by the run itself."""
    for region in (FIRST, SECOND):
        del aws.stacks[f"{region}/{APPLICATION}-foundation"]
    aws.fail("ecr:DescribeRepositories", "RepositoryNotFoundException")
    aws.fail("ecr:DescribeImages", "RepositoryNotFoundException")
    code, output = command("backups", "install", "prod", "--dry-run")
    assert code == 0, output
    assert f"version old would be copied to {FIRST}, {SECOND}, where it is missing" in output


def test_a_dry_run_changes_nothing(aws, command):
    code, output = command("backups", "install", "prod", "--dry-run")
    assert code == 0, output
    assert not aws.stacks
    assert f"{PLAN} would change:" in output


def test_images_of_the_deployed_versions_are_copied_once(aws, staging, command, programs, run):
    """ECR does not replicate images that were pushed before replication was configured."""
    add_history(aws, "deploy older", "deploy old", name=PROD)
    copied = {}

    def copy():
        [tag] = re.findall(r"--tag (\S+) ", programs.called[-1][0])
        host, _, label = tag.rpartition(":")
        region = host.split(".")[3]
        copied.setdefault(region, []).append(label)
        aws.at(region, "images")[label] = digest(label)

    programs.effects["docker buildx imagetools create"] = copy
    code, output = command("backups", "install", "prod")
    assert code == 0, output
    assert copied == {FIRST: ["older", "old"], SECOND: ["older", "old"]}
    assert f"{REGISTRY}/{APPLICATION}@{digest('older')}" in programs.calls("imagetools")[0]
    for region in (FIRST, SECOND):
        assert history.read(run.at(region), PROD) == ["older", "old"]
        assert history.find(run.at(region), PROD).digest == digest("old")
    programs.called.clear()
    assert command("backups", "install", "prod")[0] == 0
    assert not programs.calls("imagetools")


def test_an_image_that_cannot_be_copied_is_a_failure(staging, fails, programs):
    programs.codes["imagetools"] = 1
    output = fails("backups", "install", "prod")
    assert f"the image old cannot be copied to {FIRST}" in output
    assert "now: the plan exists" in output


def test_a_different_image_with_the_same_label_in_a_destination_is_a_failure(
    aws, staging, fails, programs
):
    aws.at(FIRST, "images")["old"] = digest("something else")
    output = fails("backups", "install", "prod")
    assert f"the image old is {digest('old')} in {REGION}, and {digest('something else')}" in output
    assert not programs.calls("imagetools")


def test_another_replication_configuration_is_not_replaced(aws, fails):
    aws.replication = [{"destinations": [{"region": "eu-south-1", "registryId": ACCOUNT}]}]
    assert "already has a replication configuration" in fails("backups", "install", "prod")
    assert not aws.stacks


def test_unsafe_account_settings_in_a_destination_are_a_failure(aws, fails):
    """This is found before an emergency, in which a recovery to that region would be refused."""
    aws.encrypted = False
    output = fails("backups", "install", "prod")
    assert "the account is not ready for production" in output
    assert f"--region {FIRST}" in output


def test_an_environment_without_backups_is_refused(fails):
    output = fails("backups", "install", "staging")
    assert "staging has no backups: give it a table [staging.backups]" in output
    assert "staging has no backups" in fails("backups", "list", "staging")


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_an_unreachable_region_is_a_failure(aws, fails, code):
    action = "cloudformation:DescribeStacks"
    aws.fail(action, code, when=lambda _: aws.region == SECOND)
    output = fails("backups", "install", "prod")
    assert action in output
    assert PLAN not in aws.stacks


def test_the_newest_complete_backup_of_each_region_is_listed(kept, command):
    code, output = command("backups", "list", "prod")
    assert code == 0, output
    lines = output.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == [REGION, FIRST, SECOND]
    assert "6 h old, 20 GiB" in lines[1]
    assert "awsbackup:copyjob-2, key abcd" in lines[1]
    assert "LATE" not in output


def test_a_late_copy_is_reported(kept, command):
    del kept[f"{PROD}-{FIRST}"]["awsbackup:copyjob-2"]
    kept[f"{PROD}-{FIRST}"]["awsbackup:copyjob-1"] = ("COMPLETED", ago(hours=37))
    code, output = command("backups", "list", "prod")
    assert code == 1
    assert f"LATE  {FIRST}: 37 h old" in output
    assert output.count("LATE") == 1


def test_a_missing_vault_or_one_without_a_complete_backup_is_late(kept, command):
    kept[f"{PROD}-{FIRST}"] = {"awsbackup:copyjob-1": ("CREATING", ago(hours=1))}
    del kept[f"{PROD}-{SECOND}"]
    code, output = command("backups", "list", "prod")
    assert code == 1
    assert f"LATE  {FIRST}: no complete backup" in output
    assert f"LATE  {SECOND}: not installed" in output


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize(
    "action",
    [
        "backup:ListBackupVaults",
        "backup:ListRecoveryPointsByBackupVault",
        "rds:DescribeDBSnapshots",
    ],
)
def test_a_query_without_a_response_is_not_a_missing_backup(aws, kept, fails, action, code):
    aws.fail(action, code)
    output = fails("backups", "list", "prod")
    assert action in output
    assert "no complete backup" not in output


@pytest.mark.parametrize(
    "regions",
    [
        '["eu-central-1"]',
        '["eu-central-1", "eu-central-1"]',
        '["eu-west-1", "eu-central-1"]',
        '["eu-central-1", "Frankfurt"]',
        '"eu-central-1"',
        "[1, 2]",
        '[["eu-central-1"], []]',
        '["eu-central-1", "eu-north-1", "eu-south-1"]',
    ],
)
def test_destinations_are_two_other_regions(project, fails, regions):
    path = project / environments.NAME
    text = path.read_text()
    path.write_text(text.replace('["eu-central-1", "eu-north-1"]', regions))
    assert "expected two different regions other than eu-west-1" in fails("backups", "list", "prod")


def test_a_retention_that_the_template_does_not_allow_is_refused(project, fails):
    path = project / environments.NAME
    path.write_text(path.read_text().replace("CopyDays = 35", "CopyDays = 1"))
    assert "[prod.backups] CopyDays 1: expected a whole number, 7 to 3650" in fails(
        "backups", "list", "prod"
    )
