"""Instances and database for a rate of requests, from the measured CPU of a request.

Usage: python -m benchmarks.capacity      the table of docs/performance.md, from the figures there
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs/performance.md"
RATES = (1_000, 10_000, 100_000)  # requests per second
WRITES = 0.1  # of all requests
BUSY = 0.6  # how much of a CPU may be in use, so that peaks and a lost zone have room
CORES = 2  # of an instance
WORKERS, CONNECTIONS = 2, 3  # of an instance; of a worker
LEAST = 2  # instances, one in each zone


@dataclass(frozen=True)
class Cost:
    """CPU of one request, in microseconds."""

    application: float
    database: float


@dataclass(frozen=True)
class Need:
    """What a rate needs; CPUs and writes are per second of one second."""

    rate: int
    instances: int
    database_cpus: float
    connections: int
    writes: int  # per second


def read_costs(text: str) -> tuple[Cost, Cost]:
    """GET and PUT with 1,000 people, by the table in ``text``. Raises ValueError without them."""
    found = []
    for method in ("GET", "PUT"):
        row = re.search(rf"^\| {method}, 1,000 people \|(.*)\|$", text, re.MULTILINE)
        if not row:
            raise ValueError(f"the table has no row of {method} with 1,000 people")
        cells = [cell.strip() for cell in row[1].split("|")]
        found.append(Cost(float(cells[3]), float(cells[4])))
    return found[0], found[1]


def need(rate: int, get: Cost, put: Cost) -> Need:
    """What ``rate`` requests per second need."""
    application = (1 - WRITES) * get.application + WRITES * put.application
    database = (1 - WRITES) * get.database + WRITES * put.database
    cpus = rate * application / 1e6 / BUSY
    instances = max(LEAST, math.ceil(cpus / CORES))
    return Need(
        rate, instances, rate * database / 1e6 / BUSY, instances * WORKERS * CONNECTIONS,
        round(rate * WRITES),
    )  # fmt: skip


def table(text: str) -> str:
    """The rows of docs/performance.md, by the figures in ``text``."""
    get, put = read_costs(text)
    lines = [
        "| requests/s | instances of 2 CPUs | CPUs of the database | connections | writes/s |",
        "|--:|--:|--:|--:|--:|",
    ]
    for one in (need(rate, get, put) for rate in RATES):
        lines.append(
            f"| {one.rate:,} | {one.instances} | {one.database_cpus:.1f} | {one.connections} | "
            f"{one.writes:,} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(DOCUMENT.read_text()))
