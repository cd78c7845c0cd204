"""Backups: a plan that RDS does not refuse, vaults that nobody can empty, and alarms that can fire."""

import re
from datetime import datetime, timedelta

from deploy.base import settings
from deploy.config import environments
from deploy.resources import backups
from tests.support import cloudwatch
from tests.support.aws import ACCOUNT, APPLICATION, REGION, vault_outputs
from tests.support.cloudformation import Stack

PROD = environments.find(settings.load({}), "prod")
FIRST, SECOND = PROD.destinations()
FOUNDATION = Stack(environments.FOUNDATION, f"{APPLICATION}-foundation", {})
VAULTS = {region: vault_outputs(f"{PROD.name}-vault", region) for region in (REGION, FIRST, SECOND)}
BACKUPS = Stack(
    environments.PLAN,
    f"{PROD.name}-backups",
    {
        "Environment": PROD.name,
        "Repository": "greeters/greetings",
        "Vault": VAULTS[REGION]["Vault"],
        "FirstVaultArn": VAULTS[FIRST]["VaultArn"],
        "SecondVaultArn": VAULTS[SECOND]["VaultArn"],
    }
    | PROD.retention(),
    FOUNDATION.exports,
)
VAULT = Stack("devops/vault.yml", f"{PROD.name}-vault", {"Environment": PROD.name, "KeptDays": 35})
[RULE] = BACKUPS.properties("AWS::Backup::BackupPlan")["Plan"]["BackupPlan"]["BackupPlanRule"]
ALARMS = BACKUPS.properties("AWS::CloudWatch::Alarm")
RULES = BACKUPS.properties("AWS::Events::Rule")
FILTERS = list(BACKUPS.properties("AWS::Logs::MetricFilter").values())
DATABASE = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{PROD.name}"
TEAM = FOUNDATION.exports[f"{APPLICATION}-foundation-OperationsTopic"]
DISTANCE = timedelta(hours=1)  # the time before an RDS window in which no backup job may start


def window(text):
    """Begin and end of a window of RDS on the same day, UTC."""
    times = re.findall(r"\d\d:\d\d", text)
    return [datetime.strptime(time, "%H:%M") for time in times]  # noqa: DTZ007


def test_a_backup_begins_far_from_the_windows_of_rds(resources):
    minute, hour = re.fullmatch(
        r"cron\((\d+) (\d+) \* \* \? \*\)", RULE["ScheduleExpression"]
    ).groups()
    assert RULE["ScheduleExpressionTimezone"] == "UTC"
    first = datetime.strptime(f"{hour}:{minute}", "%H:%M")  # noqa: DTZ007
    last = first + timedelta(minutes=RULE["StartWindowMinutes"])
    database = resources["Database"]["Properties"]
    for name in ("PreferredBackupWindow", "PreferredMaintenanceWindow"):
        begin, end = window(database[name])
        assert last < begin - DISTANCE or first > end, name


def test_there_are_two_copies_in_two_other_regions():
    regions = [one["DestinationBackupVaultArn"].split(":")[3] for one in RULE["CopyActions"]]
    assert sorted(regions) == sorted((FIRST, SECOND))
    for one in RULE["CopyActions"]:
        assert one["Lifecycle"]["DeleteAfterDays"] == PROD.retention()["CopyDays"]
    assert RULE["Lifecycle"]["DeleteAfterDays"] == PROD.retention()["HomeDays"]
    # RDS's own backups provide point-in-time recovery; those of AWS Backup would take over their window
    assert "EnableContinuousBackup" not in RULE


def test_the_database_is_selected_by_its_name():
    selection = BACKUPS.properties("AWS::Backup::BackupSelection")["Selection"]["BackupSelection"]
    assert selection["Resources"] == [DATABASE]


def test_the_lock_of_a_vault_can_be_removed_by_permitted_roles():
    """With ChangeableForDays nobody could ever remove it, not even AWS."""
    [vault] = VAULT.properties("AWS::Backup::BackupVault").values()
    assert set(vault["LockConfiguration"]) == {"MinRetentionDays"}
    least = vault["LockConfiguration"]["MinRetentionDays"]
    for name in ("HomeDays", "CopyDays"):
        assert BACKUPS.template["Parameters"][name]["MinValue"] >= least


def test_vaults_have_keys_of_their_own_and_different_names():
    """A copy to a vault with an AWS-managed key fails."""
    [vault] = VAULT.properties("AWS::Backup::BackupVault").values()
    assert vault["BackupVaultName"] == f"{PROD.name}-{REGION}"
    assert ":key/" in vault["EncryptionKeyArn"]
    for one in ("Key", "Vault"):
        assert VAULT.template["Resources"][one]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert VAULT.template["Resources"][one]["UpdateReplacePolicy"] == "Retain"


MADE = [made for one in FILTERS for made in one["MetricTransformations"]]
OWN = {(one["MetricNamespace"],): {each["MetricName"] for each in MADE} for one in MADE}


def test_each_alarm_is_on_a_metric_that_exists_and_leads_to_the_runbook():
    watched = {}
    for one in ALARMS.values():
        [(namespace, name, dimensions)] = cloudwatch.of_alarm(one)
        cloudwatch.check(namespace, name, dimensions, OWN)
        watched.setdefault(namespace, set()).add(name)
        assert "docs/operations.md#backups-fail-or-are-late" in one["AlarmDescription"]
        assert one["AlarmActions"] == [TEAM]
    assert watched == {
        "AWS/Backup": {"NumberOfBackupJobsFailed", "NumberOfBackupJobsExpired"},
        f"{PROD.name}/backups": set(backups.COPIES),  # which no deployment may write to
    }
    for one in ALARMS.values():
        if one["Namespace"] == "AWS/Backup":
            assert one["Dimensions"] == [
                {"Name": "BackupVaultName", "Value": VAULTS[REGION]["Vault"]}
            ]


def test_a_copy_that_is_missing_for_36_hours_raises_an_alarm():
    """Missing data must count as breaching, because there are no events of what did not happen."""
    late = [one for one in ALARMS.values() if one["MetricName"] in backups.COPIES]
    assert len(late) == 2
    for one in late:
        assert one["TreatMissingData"] == "breaching"
        assert timedelta(seconds=one["Period"] * one["EvaluationPeriods"]) == backups.LATE


def test_the_copies_of_this_database_are_counted_by_their_destination():
    completed = RULES["CopyCompleted"]
    assert completed["EventPattern"]["detail"] == {
        "state": ["COMPLETED"],
        "resourceArn": [DATABASE],
    }
    [log] = completed["Targets"]
    counted = {}
    for one in FILTERS:
        assert log["Arn"].endswith(f":log-group:{one['LogGroupName']}")
        [made] = one["MetricTransformations"]
        counted[made["MetricName"]] = one["FilterPattern"]
    for name, region in zip(backups.COPIES, (FIRST, SECOND), strict=True):
        arn = VAULTS[region]["VaultArn"]
        assert counted[name] == f'{{ $.detail.destinationBackupVaultArn = "{arn}" }}'


def test_a_failed_copy_is_reported_to_the_team():
    failed = RULES["CopyFailed"]
    assert failed["EventPattern"]["detail"] == {"state": ["FAILED"], "resourceArn": [DATABASE]}
    [target] = failed["Targets"]
    assert target["Arn"] == TEAM
    assert "#backups-fail-or-are-late" in target["InputTransformer"]["InputTemplate"]
