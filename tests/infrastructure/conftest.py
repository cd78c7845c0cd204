"""The configuration, read from the shipped files."""

from pathlib import Path

import pytest

from tests.support import ebextensions


@pytest.fixture(scope="session")
def files():
    """The files of .ebextensions by name."""
    return ebextensions.read(Path(".ebextensions"))


@pytest.fixture(scope="session")
def shared(files):
    """The options that .ebextensions set, as strings."""
    return ebextensions.merge(files.values())


@pytest.fixture(scope="session")
def resources(files):
    """The resources that .ebextensions declare."""
    return {
        name: resource
        for content in files.values()
        for name, resource in content.get("Resources", {}).items()
    }
