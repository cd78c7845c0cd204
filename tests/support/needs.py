"""What a machine lacks: its tests are skipped, or fail where they are required."""

import os

import pytest


def refuse(reason, kind):
    """Skip the test because of ``reason``, or fail it where the variable REQUIRE_``kind`` is 1."""
    variable = f"REQUIRE_{kind}"
    if os.environ.get(variable) == "1":
        pytest.fail(f"{reason}, and {variable}=1")
    pytest.skip(f"{reason}; {variable}=1 makes this a failure")
