"""A service under load into which faults are injected, and one table of the results."""

import tempfile
from pathlib import Path

import pytest

from tests.faults.service import Service
from tests.support import table
from tests.support.load import NO_ANSWER

ROWS = []  # of the table of results


def pytest_collection_modifyitems(items):
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker(pytest.mark.faults)


def pytest_runtest_logreport(report):
    """Collect the rows, whichever process ran the tests."""
    if report.when == "call" and "tests/faults/" in report.nodeid:
        ROWS.extend(cells for kind, cells in report.user_properties if kind == "fault")


def pytest_terminal_summary(terminalreporter):
    table.write(terminalreporter, "faults (times in seconds)", ROWS)


@pytest.fixture
def service():
    folder = Path(tempfile.mkdtemp(prefix="service-faults-"))
    folder.chmod(0o711)
    service = Service(folder)
    try:
        yield service
    finally:
        service.stop()
        (folder / "output").unlink(missing_ok=True)
        folder.rmdir()


@pytest.fixture
def judge(request, service):
    """Adds the results of a load to the table, and asserts what must be true after every fault."""

    def judge(load, *, may_be_cut=False):
        stored = service.stored()
        lost = load.lost(stored)
        failed = load.total(*range(500, 600)) - load.total(503)
        request.node.user_properties.append(("fault", table.row(request.node.name, load, lost)))
        assert load.acknowledged > 0
        assert not lost
        assert not load.wrong
        assert failed == 0
        assert may_be_cut or load.total(NO_ANSWER) == 0
        assert load.longest_answer < 15  # what nginx waits for

    return judge
