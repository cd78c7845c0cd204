"""The rehearsal's only way to wait: poll for an event every 50 ms.

The limits only end a rehearsal that hangs, so they are generous. PATIENCE, an environment variable,
multiplies them all (``limit``), and those of the deploy script, for a machine that is slower still.
"""

import os
import time

POLL = 0.05  # seconds
PATIENCE = float(os.environ.get("PATIENCE", "1"))


def limit(seconds):
    """``seconds``, on a machine as slow as PATIENCE says."""
    return seconds * PATIENCE


def wait_for(condition, seconds=180, why=lambda: None):
    """The first true answer of ``condition()``. Raises AssertionError with ``why()``, after ``seconds``."""
    deadline = time.monotonic() + limit(seconds)
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {limit(seconds):.0f} s: {why()}")
        time.sleep(POLL)
    return found
