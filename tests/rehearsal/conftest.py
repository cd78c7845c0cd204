"""The rehearsal: staging and production run the same version when a scenario begins, with traffic on both."""

from collections import Counter

import pytest

from tests.rehearsal import home as homes
from tests.rehearsal import world as worlds
from tests.support import groups, table

ROWS = []  # results of scenarios: name, outcome, seconds, and notes by kind
FAULTS = []  # rows of the table of tests/support/table.py
TOTAL = Counter()  # requests, failures, names and lost names of all scenarios


def pytest_collection_modifyitems(items):
    for item in items:
        if "rehearsal" in item.path.parts and "world" in item.fixturenames:
            item.add_marker(pytest.mark.docker)
            name = item.name.removeprefix("test_").replace("_", " ")
            item.user_properties.append(("scenario", name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Whatever a scenario does to an environment, its users must not notice."""
    traffic = getattr(item, "traffic", None)
    try:
        result = yield
        if traffic:
            item.user_properties.append(("seen", traffic.check()))
        return result
    finally:
        if traffic:
            traffic.stop()
            item.user_properties.append(("traffic", dict(traffic.counts())))


def pytest_runtest_logreport(report):
    """Print the summary, whichever process ran the scenarios."""
    noted = dict.fromkeys(("scenario", "traffic"))
    noted |= dict(report.user_properties)
    if report.when == "call" and noted["scenario"]:
        seen = [text for kind, text in report.user_properties if kind == "seen"]
        ROWS.append((noted["scenario"], report.outcome, report.duration, seen))
        FAULTS.extend(cells for kind, cells in report.user_properties if kind == "fault")
        TOTAL.update(noted["traffic"] or {})


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    table.write(terminalreporter, "faults of machines (times in seconds)", FAULTS)
    terminalreporter.section("the rehearsal")
    for name, outcome, seconds, seen in ROWS:
        terminalreporter.write_line(f"{outcome:7} {seconds:5.0f} s  {name}")
        if seen:
            terminalreporter.write_line(f"{'':17}{'; '.join(seen)}")
    if not TOTAL:
        return
    terminalreporter.write_line(
        f"Meanwhile there were {TOTAL['PUT 204']} PUT and {TOTAL['GET 200']} GET; {TOTAL['failed']} "
        f"others failed. {TOTAL['names']} names were acknowledged; {TOTAL['lost']} are lost."
    )


@pytest.fixture
def seen(request):
    """Records the observations of a scenario, for the table at the end."""
    return lambda text: request.node.user_properties.append(("seen", text))


@pytest.fixture(scope="session")
def _present(engine):
    """The world of the group that runs now."""
    present = worlds.Present()
    try:
        yield present
    finally:
        present.leave()


@pytest.fixture
def world(request, _present):
    """A cloud and a project for the scenarios of one group, which no other group uses."""
    return _present.enter(groups.find(request.node.nodeid))


@pytest.fixture
def home(world):
    """Production with backups, of one night."""
    return world.once(homes.make)


@pytest.fixture
def created(world):
    """Both environments, created from nothing by the script: the version, the output of both runs, seconds."""
    return world.once(worlds.create)


@pytest.fixture
def bootstrapped(world, created):
    """What `bootstrap` printed: without the handshakes, and with them."""
    return world.once(worlds.bootstrap)


@pytest.fixture
def base(world, created, request):
    """The first version, which both environments run when a scenario begins; traffic is on both."""
    label = created[0]
    request.node.traffic = traffic = worlds.Traffic(world)
    try:
        world.return_to(label)
        yield label
    finally:
        traffic.stop()


@pytest.fixture
def second(world, created):
    """A second version, with a migration that the first version does not have."""
    return world.once(worlds.build_second)


@pytest.fixture
def no_checks(tmp_path):
    """A fake `make` whose checks all pass, for the scenarios that are not about the checks."""
    return worlds.no_checks(tmp_path)
