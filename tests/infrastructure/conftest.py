"""The configuration, read from the shipped files."""

from pathlib import Path

import pytest

from deploy.base import settings
from deploy.config import environments
from tests.support import ebextensions

# Every output of the stacks, with values in the right format
OUTPUTS = {
    "ServiceRole": "birthday-greetings-service",
    "InstanceProfile": "birthday-greetings-instance",
    "Vpc": "vpc-1234567890abcdef0",
    "PublicSubnets": "subnet-1,subnet-2",
    "DatabaseSubnetGroup": "database",
    "DatabaseSecret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x/database-AbCdEf",
    "ApplicationSecret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x/application-AbCdEf",
    "SmokeTestSecret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x/smoke-test-AbCdEf",
    "Key": "arn:aws:kms:eu-west-1:123456789012:key/1234",
    "MonitoringRole": "arn:aws:iam::123456789012:role/monitoring",
    "OperationsTopic": "arn:aws:sns:eu-west-1:123456789012:operations",
    "Certificate": "",
    "PublicName": "",
}


@pytest.fixture(scope="session")
def files():
    """The files of .ebextensions by name."""
    return ebextensions.read(Path(".ebextensions"))


@pytest.fixture(scope="session")
def shared(files):
    """The options that .ebextensions set, as strings."""
    options = {}
    for content in files.values():
        options |= ebextensions.options(content)
    return options


@pytest.fixture(scope="session")
def resources(files):
    """The resources that .ebextensions declare."""
    return {
        name: resource
        for content in files.values()
        for name, resource in content.get("Resources", {}).items()
    }


def direct(environment, **outputs):
    """The options that are set directly on an environment."""
    found = environments.find(settings.load({}), environment)
    options = found.options(OUTPUTS | outputs)
    return {(one["Namespace"], one["OptionName"]): one["Value"] for one in options}
