"""The result of a fault in a service under load: a row of a table, and assertions."""

from collections.abc import Collection

import pytest

from tests.support.load import NO_ANSWER, Load

TITLES = (
    "fault",
    "requests",
    "200, 204",
    "503",
    "other 5xx",
    "no answer",
    "longest answer",
    "longest /livez",
    "longest outage",
    "acknowledged",
    "lost",
    "wrong",
)


def row(name: str, load: Load, lost: Collection[str]) -> list[str]:
    """The cells for a test ``name``, whose ``load`` found ``lost`` names missing."""
    failed = load.total(*range(500, 600)) - load.total(503)
    cells = (
        name.removeprefix("test_").replace("_", " "),
        load.counts.total(),
        load.total(200, 204),
        load.total(503),
        failed,
        load.total(NO_ANSWER),
        f"{load.longest_answer:.2f}",
        f"{load.longest_livez:.2f}",
        f"{load.longest_outage:.2f}",
        load.acknowledged,
        len(lost),
        len(load.wrong),
    )
    return [str(cell) for cell in cells]


def write(reporter: pytest.TerminalReporter, title: str, rows: list[list[str]]) -> None:
    """Write ``rows`` below ``title`` into the summary of a run; nothing without any."""
    if not rows:
        return
    reporter.section(title)
    table = [TITLES, *rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(TITLES))]
    for line in table:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        reporter.line("  ".join(cells))
