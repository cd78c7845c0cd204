"""The rehearsal's Beanstalk keeps AWS's rules about settings, resources, secrets, and launches that fail."""

import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from moto import mock_aws

from tests.rehearsal.aws import deployments as operations
from tests.rehearsal.aws.beanstalk import Beanstalk
from tests.rehearsal.aws.deployments import HTTPS, Deployments
from tests.rehearsal.aws.environment import Environment, Release
from tests.rehearsal.aws.rds import Databases
from tests.rehearsal.machines.docker import Failed
from tests.support.aws import REGION

HEALTH = ("aws:elasticbeanstalk:environment:process:default", "HealthCheckPath")
# Nobody is refused anything here; test_access is about that
RIGHTS = SimpleNamespace(
    refuse_update=lambda environment: "",
    start_instance=lambda environment: None,
    role_of=lambda environment: "",
)
SETTINGS = f"option_settings:\n  {HEALTH[0]}:\n    {HEALTH[1]}: /readyz\n"
DATABASE = "Resources:\n  Database:\n    Type: AWS::RDS::DBInstance\n    Properties: {MasterUsername: %s}\n"


@pytest.fixture
def environment(tmp_path):
    return Environment("one", "x", {}, {}, tmp_path, 1)


def release(text, warn=pytest.fail):
    """A version whose only file has ``text``."""
    return pack({"10-one.config": text}, warn)


def pack(files, warn):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        for name, text in files.items():
            bundle.writestr(f".ebextensions/{name}", text)
    return Release("label", packed.getvalue(), warn)


def test_settings_take_effect_by_precedence(environment):
    environment.release = release("option_settings: {}")
    assert environment.option(*HEALTH) == "/"
    environment.release = release(SETTINGS)
    assert environment.option(*HEALTH) == "/readyz"
    environment.saved[HEALTH] = "/saved"
    assert environment.option(*HEALTH) == "/saved"
    environment.direct[HEALTH] = "/direct"
    assert environment.option(*HEALTH) == "/direct"


def test_a_file_with_an_unknown_key_is_skipped_with_a_warning():
    warnings = []
    ignored = release(SETTINGS.replace("option_settings", "option_setings"), warnings.append)
    assert not ignored.options
    assert "Error processing file (Skipping): '.ebextensions/10-one.config'" in warnings[0]


def test_a_database_is_never_replaced(environment):
    deployments = Deployments(None, "", None, {}, None, None)
    environment.database = SimpleNamespace(properties={"MasterUsername": "app"})
    environment.release = release(DATABASE % "app")
    deployments._make_database(environment)
    environment.release = release(DATABASE % "other")
    with pytest.raises(Failed, match="requires replacing: Database, MasterUsername"):
        deployments._make_database(environment)


def test_a_listener_has_a_certificate_of_its_region(environment):
    deployments = Deployments(None, "", None, {}, None, None)
    environment.release = release("option_settings: {}")
    assert deployments._certificate(environment) == ""
    environment.direct |= {
        (HTTPS, "ListenerEnabled"): "true",
        (HTTPS, "Protocol"): "HTTPS",
        (HTTPS, "SSLCertificateArns"): "arn:aws:acm:eu-central-1:123456789012:certificate/one",
    }
    with pytest.raises(Failed, match=r"Certificate '.*/one' not found"):
        deployments._certificate(environment)


def test_a_missing_secret_fails_the_deployment(environment):
    def client(service, role):
        raise LookupError(service)

    deployments = Deployments(client, "", None, {}, None, RIGHTS)
    environment.release = release("option_settings: {}")
    environment.direct["aws:elasticbeanstalk:application:environmentsecrets", "TOKEN"] = "arn:x"
    with pytest.raises(Failed, match="failed to get one or more secrets: secretsmanager"):
        deployments._environment(environment)


# --- Launches that fail, with this project's .ebextensions and without machines


class Account:
    """An account with one version, whose machines are not there."""

    def __init__(self, folder, monkeypatch):
        self.beanstalk = Beanstalk(folder, REGION, lambda label: None)
        self.databases = Databases(REGION, self.beanstalk.environments, folder, self.client)
        self.beanstalk.connect(self.client, "", self.databases, RIGHTS)
        self.deployments = self.beanstalk.deployments
        self.beanstalk.versions["label"] = {}
        self.hook = None  # the error of a hook that fails
        files = {one.name: one.read_text() for one in Path(".ebextensions").iterdir()}
        monkeypatch.setattr(self.deployments, "_release", lambda *_: pack(files, pytest.fail))
        monkeypatch.setattr(self.deployments, "_resolved", lambda text: text)
        monkeypatch.setattr(self.deployments, "_stream_logs", lambda environment: None)
        monkeypatch.setattr(self.deployments, "_add", self._add)
        monkeypatch.setattr(self.deployments, "_terminate", lambda *_: None)
        monkeypatch.setattr(operations, "remove", lambda *containers: None)
        monkeypatch.setattr(operations, "LoadBalancer", self._balance)
        monkeypatch.setattr(operations, "Database", self._store)

    def client(self, service, role=None):
        return boto3.client(service, REGION, aws_access_key_id="x", aws_secret_access_key="x")

    def do(self, action, **more):
        """Let Beanstalk do something to the environment, and return the events of that."""
        call = getattr(self.beanstalk, f"{action}_environment")
        identity = call(EnvironmentName="one", **more)["EnvironmentId"]
        self.beanstalk._threads[-1].join()
        everything = (*self.beanstalk.environments.values(), *self.beanstalk.terminated)
        [environment] = [one for one in everything if one.id == identity]
        return [one["Message"] for one in environment.events[environment.operation_began :]]

    def create(self):
        return self.do("create", ApplicationName="x", VersionLabel="label")

    @property
    def environment(self):
        return self.beanstalk.environments.get("one")

    def stack(self):
        """The status of the environment's stack, and its resource that failed first, with the reason."""
        cloudformation, name = self.client("cloudformation"), self.environment.stack.name
        assert name == f"awseb-{self.environment.id}-stack"
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        failed = [
            (one["LogicalResourceId"], one.get("ResourceStatusReason"))
            for one in events
            if one["ResourceStatus"] == stack["StackStatus"]
        ]
        return stack["StackStatus"], failed[-1]

    def _add(self, environment, release, count):
        if self.hook:
            raise self.hook
        return [SimpleNamespace(slot=1, ask=lambda path: 200) for _ in range(count)]

    def _balance(self, *_):
        return SimpleNamespace(container="", certificate="", cname="127.0.0.1:80")

    def _store(self, name, properties, *_):
        return SimpleNamespace(
            name=name,
            container=name,
            port="5432",
            properties=properties,
            remove=lambda: None,
            take_snapshot=lambda path: datetime.now(UTC),
        )


@pytest.fixture
def account(tmp_path, monkeypatch):
    with mock_aws():
        yield Account(tmp_path, monkeypatch)


def test_a_failed_resource_leaves_a_stack_that_is_never_updated(account):
    account.databases.quota = 0
    events = account.create()
    assert "Current state: 'CREATE_FAILED'" in events[2]
    assert "[Database, AWSEBV2LoadBalancer]" in events[2]
    assert events[-1].startswith("Launched environment: one. However, there were issues")
    status, (resource, reason) = account.stack()
    assert (status, resource) == ("CREATE_FAILED", "Database")
    assert "DB Instance quota exceeded" in reason
    account.databases.quota = 1
    for change in ({"VersionLabel": "label"}, {}):
        events = account.do("update", **change)
        assert "is in CREATE_FAILED state and can not be updated." in "".join(events)
        assert account.environment.database is None


def test_an_environment_without_its_database_can_be_terminated_and_created_again(account):
    account.databases.quota = 0
    account.create()
    before = account.environment.id
    account.do("terminate")
    described = account.beanstalk.describe_environments()["Environments"]
    assert [one["Status"] for one in described] == ["Terminated"]
    assert account.beanstalk.describe_environments(IncludeDeleted="false") == {"Environments": []}
    account.databases.quota = 1
    account.create()
    assert account.environment.id != before
    assert account.environment.label == "label"
    assert account.stack()[0] == "CREATE_COMPLETE"


def test_a_protected_database_cannot_be_terminated(account):
    account.deployments.silent = True
    account.create()
    assert account.stack()[1][0] == "AWSEBInstanceLaunchWaitCondition"
    events = account.do("terminate")
    assert events[-1].startswith("The environment termination step failed")
    status, (resource, reason) = account.stack()
    assert (status, resource) == ("DELETE_FAILED", "Database")
    assert "Cannot delete protected DB Instance" in reason
    assert account.environment.status == "Ready"
    account.databases.modify_db_instance("one", DeletionProtection=False)
    account.do("terminate")
    assert account.environment is None
    [snapshot] = account.databases.describe_db_snapshots()["DBSnapshots"]
    assert (snapshot["DBInstanceIdentifier"], snapshot["SnapshotType"]) == ("one", "manual")


def test_after_a_failed_hook_an_update_adds_the_instances(account):
    account.hook = Failed("Command failed on instance.")
    events = account.create()
    assert events[-1].startswith("Create environment operation is complete, but with errors.")
    assert account.stack()[0] == "CREATE_COMPLETE"
    account.hook = None
    account.do("update", VersionLabel="label")
    assert account.environment.label == "label"
    assert len(account.environment.instances) == 1
