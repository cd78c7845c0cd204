"""Tests that share something expensive, such as environments: one process runs each group, test by test.

Used with ``-n 2 --dist loadgroup``. pytest-xdist 3.8 finds no groups with pytest 9.2, since it changes
an attribute that items no longer have, and it begins with the group that has the most tests.
"""

from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

# The longest first, so that the others fill the time of a process that has ended. The first place
# that fits counts.
PLACES = {
    "deployments": (
        "tests/rehearsal/test_create.py",
        "tests/rehearsal/test_deploy.py",
        "tests/rehearsal/test_failures.py",
        "tests/rehearsal/test_operations.py",
        "tests/rehearsal/test_raised_alarms.py",
    ),
    "pipeline": ("tests/rehearsal/test_pipeline.py",),
    "recovery": ("tests/rehearsal/test_recovery.py", "tests/rehearsal/test_removal.py"),
    "docker": ("tests/docker/",),
    "first creation": ("tests/rehearsal/test_first_creation.py",),
    "machines": ("tests/rehearsal/test_machines.py", "tests/rehearsal/test_cloud.py"),
    "faults": ("tests/faults/",),
    "browser": ("tests/browser/",),
}
ORDER = list(PLACES)


def find(nodeid: str) -> str | None:
    """The name of the group of a test, or None."""
    return next((name for name, places in PLACES.items() if nodeid.startswith(places)), None)


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives whole groups to processes, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return find(nodeid) or nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler | None:
    return Scheduler(config, log) if config.getvalue("dist") == "loadgroup" else None


def sort(items: list[pytest.Item]) -> None:
    """Sort tests by their groups, in place."""
    items.sort(key=lambda item: ORDER.index(find(item.nodeid) or ORDER[-1]))
