"""The lock files: what pip can install from them, today and after the next release of anything."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parents[2] / "requirements"
# checkov is installed elsewhere, by `make check`, where pip itself would find it out
LOCKS = sorted(set(FOLDER.glob("*.txt")) - {FOLDER / "checkov.txt"})
PIN = re.compile(r"^([\w.-]+)(?:\[([\w.,\s-]+)\])?==[^\s;]+(?: ; ([^\\\n]+))?", re.MULTILINE)


def pinned_extras(lock):
    """The extras of each package that the lock has for this Python and this system."""
    return {
        canonicalize_name(name): set(filter(None, re.split(r",\s*", extras)))
        for name, extras, marker in PIN.findall(lock.read_text())
        if not marker or Marker(marker).evaluate()
    }


def wanted_with_extras(name):
    """What the installed distribution ``name`` depends on with extras, such as coverage[toml]."""
    wanted = [Requirement(text) for text in metadata.requires(name) or []]
    return [one for one in wanted if one.extras and not (one.marker and not one.marker.evaluate())]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_extras_are_pinned(lock):
    """pip before 23.3 takes the newest release where the pin has no extras, and finds no hash."""
    pinned = pinned_extras(lock)
    assert pinned
    unpinned = [
        f"{one.name}{sorted(one.extras - pinned[canonicalize_name(one.name)])} for {name}"
        for name in pinned
        for one in wanted_with_extras(name)
        if not one.extras <= pinned[canonicalize_name(one.name)]
    ]
    assert not unpinned
