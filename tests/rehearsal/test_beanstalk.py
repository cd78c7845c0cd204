"""The rehearsal's Beanstalk keeps AWS's rules about settings, resources and secrets."""

import io
import zipfile
from types import SimpleNamespace

import pytest

from tests.rehearsal.aws.deployments import HTTPS, Deployments
from tests.rehearsal.aws.environment import Environment, Release
from tests.rehearsal.machines.docker import Failed

HEALTH = ("aws:elasticbeanstalk:environment:process:default", "HealthCheckPath")
SETTINGS = f"option_settings:\n  {HEALTH[0]}:\n    {HEALTH[1]}: /readyz\n"
DATABASE = "Resources:\n  Database:\n    Type: AWS::RDS::DBInstance\n    Properties: {MasterUsername: %s}\n"


@pytest.fixture
def environment(tmp_path):
    return Environment("one", "x", {}, {}, tmp_path, 1)


def release(text, warn=pytest.fail):
    """A version whose only file has ``text``."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        bundle.writestr(".ebextensions/10-one.config", text)
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
    deployments = Deployments(None, "", None, {}, None)
    environment.database = SimpleNamespace(properties={"MasterUsername": "birthday"})
    environment.release = release(DATABASE % "birthday")
    deployments._make_database(environment)
    environment.release = release(DATABASE % "other")
    with pytest.raises(Failed, match="requires replacing: Database, MasterUsername"):
        deployments._make_database(environment)


def test_a_listener_has_a_certificate_of_its_region(environment):
    deployments = Deployments(None, "", None, {}, None)
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
    def client(service):
        raise LookupError(service)

    deployments = Deployments(client, "", None, {}, None)
    environment.release = release("option_settings: {}")
    environment.direct["aws:elasticbeanstalk:application:environmentsecrets", "TOKEN"] = "arn:x"
    with pytest.raises(Failed, match="failed to get one or more secrets: secretsmanager"):
        deployments._environment(environment)
