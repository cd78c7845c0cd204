"""In the rehearsal, a request is refused where the policies that CloudFormation made do not allow it."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from deploy.base.aws import open_session
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, STAGING

pytestmark = pytest.mark.process
RECORDS = f"{APPLICATION}-records-{REGION}-{ACCOUNT}"
SOON = {"WaiterConfig": {"Delay": 0.05, "MaxAttempts": 600}}
FOUNDATION, PIPELINE = f"{APPLICATION}-foundation", f"{APPLICATION}-pipeline"


class Account:
    """An account with the stacks of this project, behind a server."""

    def __init__(self, ending):
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        from tests.rehearsal.aws.access import OPERATOR, Access
        from tests.rehearsal.aws.answers import checking
        from tests.rehearsal.aws.cloudformation import CloudFormation
        from tests.rehearsal.aws.notifications import Receiver

        receiver = Receiver()
        ending.callback(receiver.stop)
        stacks = CloudFormation(receiver)
        self.access, self._operator = Access(stacks.policy_of), OPERATOR
        for patch in (*stacks.patches(), *self.access.patches(), checking()):
            ending.enter_context(patch)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        ending.callback(server.stop)
        server.start()
        host, port = server.get_host_and_port()
        self._url = f"http://{host}:{port}"

    def client(self, service, key="", region=REGION):
        """A client of an operator, or with another access key."""
        return open_session().client(  # which takes no refusal without a request ID
            service,
            region,
            endpoint_url=self._url,
            aws_access_key_id=key or self._operator,
            aws_secret_access_key="rehearsal",
        )

    def as_role(self, service, stack, role):
        """A client with a role of a stack."""
        [arn] = [one for one in self.access.roles if f":role/{stack}-{role}-" in one]
        return self.client(service, self.access.key(arn))

    def topic(self):
        """The topic of deployments."""
        exports = self.client("cloudformation").list_exports()["Exports"]
        return next(one["Value"] for one in exports if one["Name"].endswith("-DeploymentsTopic"))

    def apply(self, stack, template, kind="UPDATE", edit=lambda text: text, **parameters):
        """Create or change a stack, as the script does it."""
        client = self.client("cloudformation")
        made = client.create_change_set(
            StackName=stack,
            ChangeSetName="change",
            ChangeSetType=kind,
            TemplateBody=edit(Path(f"devops/{template}.yml").read_text()),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
        client.get_waiter("change_set_create_complete").wait(ChangeSetName=made["Id"], **SOON)
        client.execute_change_set(ChangeSetName=made["Id"])
        status, looks = "", 0  # the first look may still show the state of before
        while looks < 2 or status.endswith("_IN_PROGRESS"):
            [found] = client.describe_stacks(StackName=stack)["Stacks"]
            status, looks = found["StackStatus"], looks + 1
        assert status == f"{kind}_COMPLETE"


@pytest.fixture(scope="module")
def account():
    with ExitStack() as ending:
        account = Account(ending)
        account.apply(
            FOUNDATION,
            "foundation",
            "CREATE",
            Application=APPLICATION,
            Repository=KNOWN["Repository"],
        )
        account.apply(
            STAGING,
            "environment",
            "CREATE",
            Application=APPLICATION,
            Environment=STAGING,
            Foundation=FOUNDATION,
        )
        account.apply(PIPELINE, "pipeline", "CREATE", **KNOWN)
        yield account


KNOWN = {
    "Application": APPLICATION,
    "Foundation": FOUNDATION,
    "Repository": "greeters/birthdays",
    "StagingId": "e-aaaaaaaaaa",
    "ProductionId": "e-bbbbbbbbbb",
    "Connected": "true",
    "TokenStored": "true",
    "WindowSchedule": "cron(0 9 ? * MON-THU *)",
    "WindowTimeZone": "Europe/Berlin",
}


def code(call, **parameters):
    """The error code with which a call is refused, and the message."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_an_unknown_access_key_is_refused(account):
    client = account.client("elasticbeanstalk", "A" * 20)
    assert code(client.describe_environments)[0] == "InvalidClientTokenId"
    s3 = account.client("s3", "A" * 20)
    assert code(s3.list_buckets)[0] == "InvalidAccessKeyId"


def test_a_role_can_do_only_what_its_policies_allow(account):
    """By names, by tags, and by the role's denials; each refusal has the words and the code of AWS."""
    s3 = account.as_role("s3", PIPELINE, "StagingRole")
    s3.put_object(Bucket=RECORDS, Key=f"locks/{STAGING}", Body=b"")
    refused, message = code(s3.put_object, Bucket=RECORDS, Key=f"locks/{PROD}", Body=b"")
    assert refused == "AccessDenied"
    assert "is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::" in message
    metrics = account.as_role("cloudwatch", PIPELINE, "StagingRole")
    data = [{"MetricName": "One", "Value": 1}]
    metrics.put_metric_data(Namespace=STAGING, MetricData=data)
    assert code(metrics.put_metric_data, Namespace=PROD, MetricData=data)[0] == "AccessDenied"
    build = account.as_role("elasticbeanstalk", PIPELINE, "BuildRole")
    assert code(build.create_storage_location)[0] == "AccessDenied"
    token = account.as_role("secretsmanager", PIPELINE, "VerifyRole")
    assert code(token.get_secret_value, SecretId=f"{STAGING}/database")[0] == (
        "AccessDeniedException"
    )


def test_without_list_permission_a_missing_object_is_access_denied(account):
    absent = {"Bucket": RECORDS, "Key": f"locks/{STAGING}/none"}
    assert code(account.client("s3").get_object, **absent)[0] == "NoSuchKey"
    window = account.as_role("s3", PIPELINE, "ReleaseRole")
    assert code(window.get_object, **absent)[0] == "AccessDenied"


def test_reading_a_secret_needs_permission_for_its_key(account):
    secrets = account.as_role("secretsmanager", PIPELINE, "StagingRole")
    secret = {"SecretId": f"{STAGING}/smoke-test"}
    secrets.get_secret_value(**secret)
    account.apply(PIPELINE, "pipeline", edit=without("DecryptSecrets"), **KNOWN)
    try:
        refused, message = code(secrets.get_secret_value, **secret)
    finally:
        account.apply(PIPELINE, "pipeline", **KNOWN)
    assert refused == "AccessDeniedException"
    assert "kms:Decrypt" in message


def test_a_replica_can_be_read(account):
    """It has no key of ours."""
    name = {"SecretId": f"{STAGING}/smoke-test"}
    account.client("secretsmanager").replicate_secret_to_regions(
        **name, AddReplicaRegions=[{"Region": "eu-north-1"}]
    )
    there = account.client("secretsmanager", region="eu-north-1")
    assert there.get_secret_value(**name)["SecretString"]


def test_backups_are_deleted_by_nobody_but_the_break_glass_role(account):
    account.apply(
        f"{PROD}-vault", "vault", "CREATE", Application=APPLICATION, Environment=PROD, KeptDays="35"
    )
    vault = {"BackupVaultName": f"{PROD}-{REGION}"}
    assert code(account.client("backup").delete_backup_vault, **vault)[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("sid", "action"),
    [
        ("AcquireLock", "s3:PutObject"),
        ("NotifyDeployments", "sns:Publish"),
        ("SuppressAlarms", "cloudwatch:PutMetricData"),
    ],
)
def test_a_permission_that_the_template_lacks_is_refused(account, sid, action):
    """After an update of the stack, and no longer after the next."""
    service, operation, parameters = {
        "s3:PutObject": ("s3", "put_object", {"Bucket": RECORDS, "Key": f"locks/{STAGING}"}),
        "sns:Publish": ("sns", "publish", {"TopicArn": account.topic(), "Message": "one"}),
        "cloudwatch:PutMetricData": (
            "cloudwatch",
            "put_metric_data",
            {"Namespace": STAGING, "MetricData": [{"MetricName": "One", "Value": 1}]},
        ),
    }[action]
    call = getattr(account.as_role(service, PIPELINE, "StagingRole"), operation)
    account.apply(PIPELINE, "pipeline", edit=without(sid), **KNOWN)
    try:
        refused, message = code(call, **parameters)
    finally:
        account.apply(PIPELINE, "pipeline", **KNOWN)
    assert refused in ("AccessDenied", "AuthorizationError")
    assert action in message
    call(**parameters)


def without(sid):
    """An edit of a template: a statement of a policy is gone."""
    return lambda text: re.sub(rf"          - Sid: {sid}\n(            .*\n)+", "", text, count=1)
