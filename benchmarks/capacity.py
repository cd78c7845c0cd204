"""Instances, database and money for a rate of requests, from the measured CPU of a request.

Usage: python -m benchmarks.capacity      prints the tables of docs/performance.md
"""

import math
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs/performance.md"
RATES = (1_000, 10_000, 100_000)  # requests per second
WRITES = 0.1  # share of all requests
BUSY = 0.6  # share of a CPU in use, which leaves room for peaks and for the loss of a zone
CORES = 2  # of an instance
WORKERS, CONNECTIONS = 2, 3  # workers of an instance, connections of a worker
LEAST = 2  # instances, one in each zone

# Bytes of one request with a short name, rounded up from what curl and the logs showed: the two log
# lines (the application's and nginx's), the answer, and request and answer together. Without TLS
LOGGED, SENT, PROCESSED = 520, 350, 600
STORAGE = 20  # GB of the database

# CPUs of the classes db.m7g.large to db.m7g.16xlarge, whose price is in proportion to them
SIZES = {2: "large", 4: "xlarge", 8: "2xlarge", 16: "4xlarge", 32: "8xlarge", 64: "16xlarge"}
CREDITS = 0.4  # CPUs for which db.t4g.small earns credits: 20 % of two

HOURS = 730  # of a month
GB = 1e9

LEFT, RIGHT = "---", "--:"  # alignments of a Markdown column


@dataclass(frozen=True)
class Price:
    """USD for one unit, in us-east-1, and who published it when."""

    usd: float
    unit: str
    source: str


PRICES = {
    "instance": Price(
        0.10264, "`c7a.large`, per hour", "AWS's price API in [karpenter][k], 2026-01-19"
    ),
    "small": Price(
        0.032, "`db.t4g.small`, per hour", "AWS's list in [terraform-provider-aws][t], 2024-02-02"
    ),
    "large": Price(0.168, "`db.m7g.large`, per hour", "the same"),
    "storage": Price(0.115, "database storage (gp3), per GB and month", "[usage.ai][u], June 2026"),
    "balancer": Price(
        0.0225, "load balancer, per hour", "AWS's examples in [API Evangelist][e], 2026-09-20"
    ),
    "unit": Price(0.008, "its capacity unit (1 GB per hour), per hour", "the same"),
    "sent": Price(
        0.09,
        "traffic to the internet, per GB; 0.085 after 10 TB, 0.07 after 50, 0.05 after 150",
        "[LeanOps][l], April 2026",
    ),
    "logged": Price(0.50, "log ingestion, per GB", "[c3x][c], June 2026"),
}
# GB of a month, and USD for each of them
TIERS = ((10e3, PRICES["sent"].usd), (40e3, 0.085), (100e3, 0.07), (math.inf, 0.05))


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


@dataclass(frozen=True)
class Bill:
    """USD of a month in which a rate lasts day and night."""

    instances: float
    database: float
    balancer: float
    traffic: float
    logs: float


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


def database_class(cpus: float) -> tuple[str, float]:
    """The smallest class with ``cpus`` CPUs, and its price per hour. Raises ValueError above 64."""
    if cpus <= CREDITS:
        return "db.t4g.small", PRICES["small"].usd
    for cores, size in SIZES.items():
        if cpus <= cores:
            return f"db.m7g.{size}", PRICES["large"].usd * cores / 2
    raise ValueError(f"no single database has {cpus:.0f} CPUs")


def traffic(gigabytes: float) -> float:
    """USD for ``gigabytes`` to the internet in one month."""
    usd = 0.0
    for size, price in TIERS:
        usd += min(gigabytes, size) * price
        gigabytes = max(0, gigabytes - size)
    return usd


def bill(needed: Need) -> Bill:
    """What the resources of ``needed`` cost in a month."""
    requests = needed.rate * 3600 * HOURS
    units = needed.rate * 3600 * PROCESSED / GB  # capacity units, of 1 GB per hour
    _, hourly = database_class(needed.database_cpus)
    return Bill(
        instances=needed.instances * PRICES["instance"].usd * HOURS,
        database=2 * (hourly * HOURS + STORAGE * PRICES["storage"].usd),  # Multi-AZ: with a standby
        balancer=(PRICES["balancer"].usd + units * PRICES["unit"].usd) * HOURS,
        traffic=traffic(requests * SENT / GB),
        logs=requests * LOGGED / GB * PRICES["logged"].usd,
    )


def table(text: str) -> str:
    """The needs of docs/performance.md, by the figures in ``text``."""
    columns = {
        "requests/s": RIGHT, "instances of 2 CPUs": RIGHT, "CPUs of the database": RIGHT,
        "connections": RIGHT, "writes/s": RIGHT,
    }  # fmt: skip
    return _markdown(
        columns,
        [
            (f"{one.rate:,}", one.instances, f"{one.database_cpus:.1f}", one.connections,
             f"{one.writes:,}")
            for one in _needs(text)
        ],
    )  # fmt: skip


def money(text: str) -> str:
    """The bills of docs/performance.md, by the figures in ``text``."""
    columns = {
        "requests/s": RIGHT, "instances": RIGHT, "database": RIGHT, "class": LEFT,
        "load balancer": RIGHT, "traffic": RIGHT, "logs": RIGHT, "together": RIGHT,
    }  # fmt: skip
    rows = []
    for one in _needs(text):
        usd = astuple(bill(one))
        instances, database, *others = (f"{amount:,.0f}" for amount in (*usd, sum(usd)))
        kind, _ = database_class(one.database_cpus)
        rows.append((f"{one.rate:,}", instances, database, f"`{kind}`", *others))
    return _markdown(columns, rows)


def price_list() -> str:
    """The prices of docs/performance.md."""
    columns = {"for": LEFT, "USD": RIGHT, "source": LEFT}
    return _markdown(columns, [(one.unit, one.usd, one.source) for one in PRICES.values()])


def _needs(text: str) -> list[Need]:
    get, put = read_costs(text)
    return [need(rate, get, put) for rate in RATES]


def _markdown(columns: dict[str, str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; ``columns`` maps each heading to the alignment of its column."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join(columns.values()) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


if __name__ == "__main__":
    measured = DOCUMENT.read_text()
    print(table(measured), money(measured), price_list(), sep="\n\n")
