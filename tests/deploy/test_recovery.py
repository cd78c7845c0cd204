"""A recovery: which backup it finds, what it refuses and creates, and that it continues after an interruption."""

from datetime import UTC, datetime, timedelta

import pytest

from deploy.base.errors import Interrupted, Unhealthy
from deploy.config import environments
from deploy.delivery import bundle, smoke
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, digest, records

FIRST, SECOND = "eu-central-1", "eu-north-1"
BACK = f"{APPLICATION}-back"
SNAPSHOT = "aws:elasticbeanstalk:customoption", "DatabaseSnapshot"
YES = ("recover", "prod", "--yes")
pytestmark = pytest.mark.usefixtures("plain_http")


def ago(**more):
    return datetime.now(UTC) - timedelta(**more)


@pytest.fixture
def disaster(aws, staging, command, project):
    """Production ran "new" and was backed up; its home region no longer answers any request."""
    name = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{APPLICATION}@{digest('new')}"
    aws.add_version("new", bundle=bundle.make(name, project))
    command("deploy", "prod", "--version", "new")
    aws.vaults = {
        f"{PROD}-{FIRST}": {
            "awsbackup:copyjob-1": ("COMPLETED", ago(hours=30)),
            "awsbackup:copyjob-2": ("COMPLETED", ago(hours=6)),
        },
        f"{PROD}-{SECOND}": {"awsbackup:copyjob-3": ("COMPLETED", ago(hours=6))},
    }
    for region in (FIRST, SECOND):
        aws.at(region, "images")["new"] = digest("new")
        for kind in ("application", "smoke-test"):
            aws.at(region, "secrets")[f"{PROD}/{kind}"] = {"key": "K3y"}
            aws.replicas.add((region, f"{PROD}/{kind}"))
    lose(aws, REGION)
    return aws


def lose(aws, region):
    """Make every call to ``region`` fail the test."""
    answer = aws._answer

    def refuse(request_signer, **more):
        assert request_signer.region_name != region, more["model"].name
        return answer(request_signer=request_signer, **more)

    aws._answer = refuse
    aws.calls.clear()


def options(aws, region=FIRST, name=PROD):
    """The options that are set on an environment, by namespace and name."""
    found = aws.at(region, "environments")[name]["options"]
    return {(one["Namespace"], one["OptionName"]): one["Value"] for one in found}


def test_the_service_is_recovered_in_another_region(disaster, command, tested):
    code, output = command(*YES)
    assert code == 0, output
    aws = disaster
    assert aws.at(FIRST, "environments")[PROD]["label"] == "new"
    wanted = f"{PROD}-{aws.vaults[f'{PROD}-{FIRST}']['awsbackup:copyjob-2'][1]:%Y%m%dt%H%M%S}"
    assert options(aws)[SNAPSHOT] == wanted
    assert (FIRST, wanted) in aws.manual
    assert tested.calls[-1] == ("http://prod.elasticbeanstalk.test", "K3y", "new")
    assert "6 h 0 min ago; data saved later is not in it" in output
    assert f"{PROD} runs new in {FIRST}, and serves" in output
    assert "to do by hand:" in output
    assert f"export AWS_REGION={FIRST}" in output
    assert f"AWS_REGION={FIRST} scripts/build_and_deploy.sh bootstrap" in output
    assert not [key for key in aws.at(FIRST, "objects") if key.startswith("locks/")]


def test_the_version_is_the_same_image_with_a_bundle_for_that_region(disaster, command):
    command(*YES)
    packed = disaster.at(FIRST, "bundles")[f"{APPLICATION}/new.zip"]["content"]
    text = bundle.replace_image(packed, f"x@{digest('new')}")  # which refuses what has no image
    assert text != packed
    assert FIRST.encode() in packed
    assert REGION.encode() not in packed
    assert "new" in disaster.at(FIRST, "versions")


def test_the_stack_has_the_key_of_the_backup_and_the_secrets_that_were_replicas(disaster, command):
    command(*YES)
    parameters = disaster.stacks[f"{FIRST}/{PROD}"]["parameters"]
    assert parameters["DatabaseKey"] == f"arn:aws:kms:{FIRST}:{ACCOUNT}:key/abcd"
    for name, kind in (
        ("ApplicationSecretArn", "application"),
        ("SmokeTestSecretArn", "smoke-test"),
    ):
        assert parameters[name].endswith(f":secret:{PROD}/{kind}-AbCdEf")
    assert {region for region, _ in disaster.replicas} == {SECOND}
    assert "FirstCopyRegion" not in parameters


def test_a_recovered_environment_has_alarms_and_backups(disaster, command):
    command(*YES)
    assert f"{FIRST}/{PROD}-operations" in disaster.stacks
    parameters = disaster.stacks[f"{FIRST}/{PROD}-backups"]["parameters"]
    assert parameters["Vault"] == f"{PROD}-{FIRST}"
    assert {parameters[one].split(":")[3] for one in ("FirstVaultArn", "SecondVaultArn")} == {
        REGION,
        SECOND,
    }
    assert f"{SECOND}/{PROD}-vault" in disaster.stacks


def test_missing_backups_of_a_recovered_environment_are_a_warning(disaster, command):
    vault = f"{PROD}-vault"
    disaster.fail(
        "cloudformation:CreateChangeSet", None, when=lambda asked: asked["StackName"] == vault
    )
    code, output = command(*YES)
    assert code == 0, output
    assert f"{PROD} HAS NO BACKUPS yet" in output


@pytest.mark.parametrize(
    ("set_limit", "limit"), [("", "135"), ("\nDatabaseStorageLimit = 500", "500")]
)
def test_a_larger_database_keeps_its_storage_and_can_grow(
    disaster, project, command, set_limit, limit
):
    """Once: the file's own limit is kept if it is more."""
    path, option = project / environments.NAME, "DatabaseMultiAZ = true"
    path.write_text(path.read_text().replace(option, f"{option}{set_limit}"))
    disaster.storage = 90
    command(*YES)
    [created] = disaster.asked("elasticbeanstalk:CreateEnvironment")
    given = sorted((one["OptionName"], one["Value"]) for one in created["OptionSettings"])
    storage = [one for one in given if one[0].startswith("DatabaseStorage")]
    assert storage == [("DatabaseStorage", "90"), ("DatabaseStorageLimit", limit)]


def test_a_second_run_creates_nothing(disaster, command):
    command(*YES)
    disaster.calls.clear()
    disaster.vaults[f"{PROD}-{FIRST}"]["awsbackup:copyjob-9"] = ("COMPLETED", ago(minutes=5))
    code, output = command(*YES)
    assert code == 0, output
    assert not disaster.asked("elasticbeanstalk:CreateEnvironment")
    assert not disaster.asked("elasticbeanstalk:UpdateEnvironment")
    assert not disaster.asked("cloudformation:ExecuteChangeSet")
    assert (
        "6 h 0 min ago" in output
    )  # the age of the snapshot it was restored from, not of a newer one


STEPS = (
    "rds:CopyDBSnapshot",
    "cloudformation:ExecuteChangeSet",
    "secretsmanager:StopReplicationToReplica",
    "elasticbeanstalk:CreateApplicationVersion",
    "elasticbeanstalk:CreateEnvironment",
    "sns:Publish",
    "elasticbeanstalk:DescribeInstancesHealth",
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_after_an_interrupt_the_same_command_continues(disaster, command, step, when):
    answer, interrupted = disaster._answer, []

    def interrupt(model, **more):
        action = f"{model.service_model.service_name}:{model.name}"
        if action == step and not interrupted:
            interrupted.append(action)
            if when == "after":
                answer(model=model, **more)
            raise Interrupted
        return answer(model=model, **more)

    disaster._answer = interrupt
    code, output = command(*YES)
    assert code == 130, output
    assert not [key for key in disaster.at(FIRST, "objects") if key.startswith("locks/")]
    code, output = command(*YES)
    assert code == 0, output
    assert disaster.at(FIRST, "environments")[PROD]["label"] == "new"
    assert len(disaster.asked("elasticbeanstalk:CreateEnvironment")) <= 2


def test_two_concurrent_recoveries_are_refused(disaster, fails):
    disaster.region = FIRST
    disaster.s3_put_object(records(FIRST), f"locks/{PROD}", b"somebody else")
    output = fails(*YES)
    assert "somebody else" in output
    assert f"{FIRST}/{PROD}" not in disaster.stacks


@pytest.mark.parametrize("left", [{"label": "", "instances": []}, {"deployment": "Failed"}])
def test_a_creation_that_failed_halfway_is_started_again(disaster, command, left):
    command(*YES)
    disaster.at(FIRST, "environments")[PROD] |= left
    code, output = command(*YES)
    assert code == 0, output
    [asked] = disaster.asked("elasticbeanstalk:UpdateEnvironment")
    assert asked["VersionLabel"] == "new"
    assert SNAPSHOT in {(one["Namespace"], one["OptionName"]) for one in asked["OptionSettings"]}


def test_a_newer_incomplete_copy_is_named_and_not_used(disaster, command):
    disaster.vaults[f"{PROD}-{FIRST}"]["awsbackup:copyjob-9"] = ("CREATING", ago(minutes=5))
    code, output = command(*YES)
    assert code == 0, output
    assert "NOT USED        awsbackup:copyjob-9" in output
    assert "is CREATING" in output
    assert "6 h 0 min ago" in output


def test_a_region_and_a_snapshot_can_be_chosen(disaster, command):
    code, output = command(*YES, "--region", SECOND)
    assert code == 0, output
    assert PROD in disaster.at(SECOND, "environments")
    assert PROD not in disaster.at(FIRST, "environments")
    code, output = command(*YES, "--to-snapshot", "awsbackup:copyjob-1")
    assert code == 0, output
    assert "30 h 0 min ago" in output


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_can_be_set_by_a_variable(disaster, command, monkeypatch, name):
    monkeypatch.setenv(name, SECOND)
    code, output = command("recover", "prod", "--dry-run")
    assert code == 0, output
    assert f"{PROD} in {SECOND}, from a backup" in output
    assert (
        f"{PROD} in {FIRST}, from a backup"
        in command("recover", "prod", "--dry-run", "--region", FIRST)[1]
    )
    monkeypatch.setenv(name, REGION)
    assert f"{PROD} in {FIRST}, from a backup" in command("recover", "prod", "--dry-run")[1]


def refused(name, *arguments, what, prepare=lambda aws: None, next_=""):
    return pytest.param(prepare, arguments, what, next_, id=name)


def points(aws):
    return aws.vaults[f"{PROD}-{FIRST}"]


def begun(aws, *from_snapshot):
    aws.region = FIRST
    namespace, name = SNAPSHOT
    given = [{"Namespace": namespace, "OptionName": name, "Value": one} for one in from_snapshot]
    aws.add_environment("prod", "new", options=given)


@pytest.mark.parametrize(
    ("prepare", "arguments", "what", "next_"),
    [
        refused(
            "the vault is empty",
            what=f"in {FIRST}: no complete backup",
            prepare=lambda aws: points(aws).clear(),
            next_="backups list prod",
        ),
        refused(
            "there is no vault",
            what=f"in {FIRST}: not installed",
            prepare=lambda aws: aws.vaults.pop(f"{PROD}-{FIRST}"),
            next_="backups list prod",
        ),
        refused(
            "a snapshot has expired",
            "--to-snapshot",
            "awsbackup:copyjob-2",
            prepare=lambda aws: points(aws).pop("awsbackup:copyjob-2"),
            what="it was never there, or has expired",
        ),
        refused(
            "the image is missing",
            what="the image of version new is not in eu-central-1",
            prepare=lambda aws: aws.at(FIRST, "images").clear(),
            next_="or build the commit new",
        ),
        refused(
            "the image is another",
            what=f"it is {digest('another')}",
            prepare=lambda aws: aws.at(FIRST, "images").update(new=digest("another")),
        ),
        refused(
            "nothing is recorded",
            what=f"the last version of {PROD} is not recorded",
            prepare=lambda aws: aws.at(FIRST, "objects").clear(),
        ),
        refused(
            "another version is not recorded",
            "--version",
            "nothing",
            what="nothing is not recorded",
            next_="name another version with --version: new old",
        ),
        refused(
            "the key is disabled",
            what="key/abcd, is Disabled",
            prepare=lambda aws: setattr(aws, "key_state", "Disabled"),
            next_="aws kms enable-key --key-id",
        ),
        refused(
            "the key will be deleted",
            what="is PendingDeletion",
            prepare=lambda aws: setattr(aws, "key_state", "PendingDeletion"),
            next_="aws kms cancel-key-deletion",
        ),
        refused(
            "it exists",
            what="was not created by a recovery",
            prepare=begun,
            next_=f"recover prod --region {FIRST} --as NAME",
        ),
        refused(
            "another one was begun",
            "--to-snapshot",
            "awsbackup:copyjob-2",
            prepare=lambda aws: begun(aws, "awsbackup:copyjob-1"),
            what="the recovery in progress is from awsbackup:copyjob-1",
        ),
        refused(
            "at home by its own name",
            "--region",
            REGION,
            what=f"{PROD}, or a remnant of it, exists",
            next_="--as",
        ),
        refused(
            "a region without backups",
            "--region",
            "eu-centrall-1",
            what=f"{PROD} has no backups in eu-centrall-1",
            next_=f"{REGION}, {FIRST}, {SECOND}",
        ),
        refused(
            "another region with a snapshot",
            "--region",
            "us-east-1",
            "--to-snapshot",
            "one",
            what=f"{PROD} has no backups in us-east-1",
        ),
        refused(
            "a name that cannot be", "--as", "Prod!", what="expected 2 to 20 lower-case letters"
        ),
    ],
)
def test_each_refusal_comes_before_any_change(disaster, fails, prepare, arguments, what, next_):
    prepare(disaster)
    output = fails(*YES, *arguments)
    assert what in output
    assert next_ in output
    assert "now: nothing was changed" in output
    for action, _ in disaster.calls:
        name = action.partition(":")[2]
        assert name.startswith(("Describe", "Get", "List")), action


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize(
    "action",
    [
        "backup:ListRecoveryPointsByBackupVault",
        "rds:DescribeDBSnapshots",
        "kms:DescribeKey",
        "s3:ListObjectsV2",
        "ecr:DescribeImages",
        "elasticbeanstalk:DescribeEnvironments",
    ],
)
def test_a_query_without_a_response_is_not_taken_for_none(disaster, fails, action, code):
    disaster.fail(action, code)
    assert action in fails(*YES).replace("s3:ListBucket", "s3:ListObjectsV2")
    assert not disaster.asked("cloudformation:ExecuteChangeSet")


def test_without_confirmation_nothing_is_created(disaster, fails):
    output = fails("recover", "prod")
    assert "data saved later is not in it" in output
    assert "the recovery was not confirmed" in output
    assert "run it with --yes" in output


def test_a_dry_run_shows_what_it_would_create(disaster, command):
    code, output = command("recover", "prod", "--dry-run")
    assert code == 0, output
    assert "recovery point" in output
    assert not disaster.asked("cloudformation:CreateChangeSet")


def test_an_environment_without_backups_is_refused(fails):
    assert "staging has no backups" in fails("recover", "staging")


def test_a_user_from_the_backup_must_be_greeted(disaster, command, monkeypatch):
    asked = []

    def refuse_unknown(run, place, user):
        asked.append((place.url, user))
        raise Unhealthy("--greet: the user was not greeted (status 404)")

    monkeypatch.setattr(smoke, "refuse_unknown", refuse_unknown)
    code, output = command(*YES, "--greet", "Ada")
    assert code == 1
    assert asked == [("http://prod.elasticbeanstalk.test", "Ada")]
    assert "--greet: the user was not greeted" in output
    assert "Ada" not in output


THERE = f"arn:aws:acm:{FIRST}:{ACCOUNT}:certificate/5678"


@pytest.mark.parametrize(
    "found",
    [
        {"DomainName": "hello.example.com"},
        {"DomainName": "*.example.com"},
        {"DomainName": "x", "SubjectAlternativeNameSummaries": ["hello.example.com"]},
    ],
)
def test_the_certificate_of_that_region_is_found_and_tested_by_name(
    disaster, certificate, command, tested, found
):
    disaster.certificates = [{"CertificateArn": THERE} | found]
    tested.detour = "another service answers there, with 404"
    code, output = command(*YES)
    assert code == 0, output
    assert disaster.stacks[f"{FIRST}/{PROD}"]["parameters"]["Certificate"] == THERE
    host = "prod.elasticbeanstalk.test"
    assert tested.calls[-1] == ("https://hello.example.com", "K3y", "new", host)
    assert f"DNS: point hello.example.com to {host}" in output


def test_a_missing_certificate_in_that_region_is_a_failure(disaster, certificate, fails):
    disaster.certificates = [{"CertificateArn": THERE, "DomainName": "other.example.com"}]
    output = fails(*YES)
    assert f"there is no certificate for hello.example.com in {FIRST}" in output
    assert "aws acm request-certificate" in output


def test_later_changes_keep_the_certificate_of_that_region(
    disaster, certificate, command, monkeypatch
):
    disaster.certificates = [{"CertificateArn": THERE, "DomainName": "hello.example.com"}]
    command(*YES)
    del disaster._answer  # the home region answers again
    monkeypatch.setenv("AWS_REGION", FIRST)
    code, output = command("create", "prod")
    assert code == 0, output
    parameters = disaster.stacks[f"{FIRST}/{PROD}"]["parameters"]
    assert parameters["Certificate"] == THERE
    assert parameters["DatabaseKey"]
    assert "FirstCopyRegion" not in parameters
    disaster.calls.clear()
    command("status", "prod")
    [asked] = disaster.asked("acm:DescribeCertificate")
    assert asked["CertificateArn"] == THERE


# --- Beside the environment, in the home region


@pytest.fixture
def mistake(aws, staging):
    """Production runs "old"; somebody deleted data, and last night's backup is in the home region."""
    aws.vaults = {f"{PROD}-{REGION}": {"awsbackup:job-1": ("COMPLETED", ago(hours=6))}}
    aws.secrets[f"{PROD}/application"] = {"SENTRY_DSN": "a place"}
    return aws


def test_an_environment_is_recovered_beside_the_running_one(mistake, command):
    before = dict(mistake.environments[PROD])
    code, output = command(*YES, "--region", REGION, "--as", "back")
    assert code == 0, output
    assert mistake.environments[BACK]["label"] == "old"
    assert mistake.environments[PROD] == before
    assert mistake.secrets[f"{BACK}/application"] == {"SENTRY_DSN": "a place"}
    assert "a place" not in output
    assert "a table [back], like [prod]" in output
    assert f"{BACK}-backups" in mistake.stacks
    assert f"{FIRST}/{BACK}-vault" in mistake.stacks


OWN, CALLERS = "a digest", "of callers"
STOPPED = {"API_KEYS": OWN, "API_KEYS_BEFORE": CALLERS}


def test_writes_are_allowed_beside_an_environment_that_refuses_them(mistake, command):
    mistake.secrets[f"{PROD}/application"] |= STOPPED
    _, output = command(*YES, "--region", REGION, "--as", "back")
    assert mistake.secrets[f"{BACK}/application"] == {"SENTRY_DSN": "a place", "API_KEYS": CALLERS}
    assert STOPPED.items() <= mistake.secrets[f"{PROD}/application"].items()
    assert f"writes were stopped in {PROD}: here they are allowed" in output
    mistake.secrets[f"{BACK}/application"] = STOPPED  # by a command, since
    command(*YES, "--region", REGION, "--as", "back")
    assert mistake.secrets[f"{BACK}/application"] == STOPPED


@pytest.mark.parametrize(("before", "after"), [(CALLERS, {"API_KEYS": CALLERS}), ("", {})])
def test_writes_are_allowed_in_another_region(disaster, command, before, after):
    secrets = disaster.at(FIRST, "secrets")
    secrets[f"{PROD}/application"] = STOPPED | {"API_KEYS_BEFORE": before}
    code, output = command(*YES)
    assert code == 0, output
    assert secrets[f"{PROD}/application"] == after
