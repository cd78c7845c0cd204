"""The configuration, read from the shipped files."""

from pathlib import Path

import pytest

from deploy.base import settings
from deploy.config import environments
from tests.support import aws, ebextensions

# What the stacks of staging have
OUTPUTS = aws.OUTPUTS[f"{aws.APPLICATION}-foundation"] | aws.OUTPUTS[f"{aws.APPLICATION}-staging"]


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
