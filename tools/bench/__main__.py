"""Measure the service against an empty Flask view and against PostgreSQL alone.

Usage: python -m tools.bench [--seconds N] [--rounds N] [--people N,N,...] [--servers WxT,WxT,...]
                            [--chart FILE]

--people   sizes of the table to compare (1000,100000,1000000)
--servers  workers x threads to compare, for choosing WORKERS and THREADS (none)
--chart    an SVG file to write, showing the CPU time per request (none)

Needs wrk. Each round measures all rows once, one after the other; the table shows the medians
over the rounds, and of the ratios within each round: absolute figures vary between machines, ratios
hardly do. CPU is user and system time per request, in microseconds; memory is the private memory of
a worker, in MB. Every run has a time limit, and all traffic stays on loopback.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from tools import interrupts
from tools.bench import chart
from tools.postgres import Server, ensure_database

HERE = Path(__file__).parent
CONNECTIONS = 32
DATABASE = "benchmark"
INSERT = """
    INSERT INTO person
    SELECT 'Name' || translate(n::text, '0123456789', 'ABCDEFGHIJ'), '1990-05-17'
    FROM generate_series(0, %s - 1) n ON CONFLICT DO NOTHING
"""
COLUMNS = ("rate", "p50", "p99", "app", "database", "memory")  # of Result
TITLES = (
    "",
    "req/s",
    "p50 ms",
    "p99 ms",
    "app CPU us",
    "db CPU us",
    "MB/worker",
    "app CPU, times empty",
    "app CPU, times one SELECT",
)


@dataclass
class Result:
    """One measurement; its fields are the quantities in TITLES."""

    rate: float
    p50: float
    p99: float
    app: float
    database: float
    memory: float


def main() -> None:
    """Measure and print; exits with a message if wrk is missing or a request fails."""
    options = parse_options()
    if not shutil.which("wrk"):
        raise SystemExit("make bench needs wrk. On Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="service-benchmark-") as folder:
        Path(folder).chmod(0o711)
        server = Server(Path(folder, "postgres"))
        try:
            server.start()
            ensure_database(server.url("postgres"), DATABASE)
            env = os.environ | {"DATABASE_URL": server.url(DATABASE), "LOG_LEVEL": "INFO"}
            migrate = [sys.executable, "-m", "flask", "--app", "web", "db", "upgrade"]
            subprocess.run(migrate, env=env | {"LOG_LEVEL": "ERROR"}, check=True)
            compare(server, env, options)
        finally:
            server.destroy()


def parse_options() -> argparse.Namespace:
    """The command-line options, with lists split into their items."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", default="1000,100000,1000000")
    parser.add_argument("--servers", default="")
    parser.add_argument("--chart", type=Path)
    return parser.parse_args()


def compare(server: Server, env: dict[str, str], options: argparse.Namespace) -> None:
    """Measure everything, round by round, and print the tables."""
    if options.servers:
        populate(server, 1000)
        for shape in options.servers.split(","):
            workers, threads = shape.split("x")
            shaped = env | {"WORKERS": workers, "THREADS": threads}
            show(f"{workers} workers, {threads} threads each", server, shaped, options, [1000])
        return
    sizes = [int(size) for size in options.people.split(",")]
    show("Defaults", server, env, options, sizes)
    factor = sentry_factor(server, env, options, sizes[0])
    print(f"\nWith SENTRY_DSN, a GET takes {factor:.2f} times the application's CPU", flush=True)


EMPTY, SELECT = "empty Flask view", "one SELECT by psycopg2"  # the baselines


def show(
    title: str, server: Server, env: dict[str, str], options: argparse.Namespace, sizes: list[int]
) -> None:
    """Print one table: an empty view, one that only queries the database, ours, and pgbench."""
    rounds: dict[str, list[Result]] = {}
    populate(server, sizes[0])
    for people in sizes:
        populate(server, people)
        rows = [
            (EMPTY, "GET", "tools.bench.empty:app"),
            (SELECT, "GET", "tools.bench.raw:app"),
            (f"GET, {people:,} people", "GET", "web"),
            (f"PUT, {people:,} people", "PUT", "web"),
        ]
        for _ in range(options.rounds):
            for name, method, target in rows:
                result = measure(method, people, target, server, env, options.seconds)
                rounds.setdefault(name, []).append(result)
    print(f"\n{title}: {CONNECTIONS} connections, {options.seconds} s, {options.rounds} rounds\n")
    print("| " + " | ".join(TITLES) + " |\n|---|" + "--:|" * (len(TITLES) - 1))
    for name in rounds:
        numbers = [
            *(median(rounds[name], column) for column in COLUMNS),
            *(ratio(rounds, name, base, sizes, options.rounds) for base in (EMPTY, SELECT)),
        ]
        print(f"| {name} | " + " | ".join(map(written, numbers)) + " |")
    rate, cpu = pgbench(server, options.seconds)
    print(f"| pgbench -S, 8 clients | {rate:.0f} | | | | {cpu:.1f} | | | |", flush=True)
    if options.chart:
        options.chart.write_text(charted(rounds))


def sentry_factor(
    server: Server, env: dict[str, str], options: argparse.Namespace, people: int
) -> float:
    """The CPU of a GET with a DSN, as a multiple of that without: the median of the rounds."""
    factors = []
    for _ in range(options.rounds):
        without, having = (
            measure("GET", people, "web", server, env | more, options.seconds).app
            for more in ({}, {"SENTRY_DSN": "http://key@127.0.0.1:9/1"})
        )
        factors.append(having / without)
    return statistics.median(factors)


def median(results: list[Result], column: str) -> float:
    """The median of one quantity over the rounds."""
    values: list[float] = [getattr(result, column) for result in results]
    return statistics.median(values)


def ratio(
    rounds: dict[str, list[Result]], name: str, base: str, sizes: list[int], count: int
) -> float:
    """The median of the CPU of ``name`` in each round, as a multiple of ``base`` in that round."""
    bases = rounds[base]
    if name not in (EMPTY, SELECT):  # those were measured with every size of the table
        index = next(n for n, size in enumerate(sizes) if f", {size:,} people" in name)
        bases = bases[index * count : (index + 1) * count]
    return statistics.median(
        ours.app / theirs.app for ours, theirs in zip(rounds[name], bases, strict=True)
    )


def written(number: float) -> str:
    """``number`` rounded to its significant digits."""
    return (
        f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"
    )


def charted(rounds: dict[str, list[Result]]) -> str:
    """A chart of the CPU time of the application and of PostgreSQL per request, as SVG."""
    bars = []
    for name, results in rounds.items():
        app, database = median(results, "app"), median(results, "database")
        rate = median(results, "rate")
        bars.append(chart.Bar(name, app, database, f"{app + database:.0f} us, {rate:.0f} req/s"))
    return chart.draw("CPU for each request, in microseconds", ("application", "PostgreSQL"), bars)


def populate(server: Server, people: int) -> None:
    """Fill the table with ``people`` rows, and update its statistics."""
    connection = psycopg2.connect(server.url(DATABASE))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(INSERT, (people,))
        cursor.execute("VACUUM ANALYZE person")
        cursor.execute("CHECKPOINT")
    connection.close()


def measure(
    method: str, people: int, target: str, server: Server, env: dict[str, str], seconds: int
) -> Result:
    """Start the server on ``target``, warm it up, and load it for ``seconds``."""
    with serving(target, env) as (process, url):
        load(url, method, people, 2)
        app, database = cpu_seconds(process.pid), cpu_seconds(server.process_ids()[0])
        output = load(url, method, people, seconds)
        app = cpu_seconds(process.pid) - app
        database = cpu_seconds(server.process_ids()[0]) - database
        workers = psutil.Process(process.pid).children()
        memory = statistics.mean(worker.memory_full_info().uss for worker in workers) / 1e6
    failed = re.search(r"Non-2xx.*|Socket errors.*", output)
    if failed:
        raise SystemExit(f"{target} failed under load: {failed[0].strip()}")
    requests = int(number(r"(\d+) requests in", output))
    return Result(
        requests / seconds,
        milliseconds("50%", output),
        milliseconds("99%", output),
        app / requests * 1e6,
        database / requests * 1e6,
        memory,
    )


@contextlib.contextmanager
def serving(target: str, env: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run our application, or another one, with the same web server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workers, threads = env.get("WORKERS", "2"), env.get("THREADS", "4")
    command = [sys.executable, "-m", "web"]
    if target != "web":
        command = [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--http",
            "1",
            "--port",
            str(port),
        ]
        command += ["--workers", workers, "--blocking-threads", threads, target]
    process = subprocess.Popen(
        command, env=env | {"PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        time.sleep(1)  # for all the workers
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def load(url: str, method: str, people: int, seconds: int) -> str:
    """The output of wrk after ``seconds`` of load from one thread."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(HERE / "hello.lua"), url, "--", method, str(people)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if ended.returncode:
        raise SystemExit(f"wrk failed: {ended.stdout}{ended.stderr}")
    return ended.stdout


def pgbench(server: Server, seconds: int) -> tuple[float, float]:
    """The rate, and the CPU microseconds of PostgreSQL per SELECT, measured by pgbench."""
    program = str(server.binaries / "pgbench")
    url = server.url(DATABASE)
    subprocess.run([program, "-i", "-q", "-s", "1", url], check=True, capture_output=True)
    before = cpu_seconds(server.process_ids()[0])
    command = [program, "-S", "-n", "-c", "8", "-T", str(seconds), url]
    # once its connections have closed, their CPU times are included in those of the server process
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu = cpu_seconds(server.process_ids()[0]) - before
    requests = number(r"transactions actually processed: (\d+)", output)
    return number(r"tps = ([\d.]+)", output), cpu / requests * 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all its descendants, even those that have ended."""
    root = psutil.Process(pid)
    times = [root.cpu_times()]
    for child in root.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times.append(child.cpu_times())
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(time.user + time.system for time in times))


def milliseconds(percentile: str, output: str) -> float:
    """A percentile of wrk's latencies."""
    value, unit = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)\b", output).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def number(pattern: str, output: str) -> float:
    """The number that ``pattern`` captures in ``output``."""
    found = re.search(pattern, output)
    if not found:
        raise SystemExit(f"expected output that matches {pattern!r}:\n{output}")
    return float(found[1])


if __name__ == "__main__":
    interrupts.run(main, "its servers are stopped, and its data is removed")
