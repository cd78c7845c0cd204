"""Faults of the systems under and around the service, while people use it."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg2
import pytest

from tests.faults import network
from tests.support.load import Load
from tests.support.needs import lacks
from tests.support.server import free_port

FREEZE = 8  # seconds; longer than any time limit of the service


def under_load(service, **options):
    return Load("127.0.0.1", service.port, **options)


def test_a_killed_worker(service, judge):
    service.start()
    with under_load(service) as load:
        load.wait_for_more(204)
        before = service.workers()
        before[0].kill()
        load.wait_for(lambda: len(service.workers()) == 2 and before[0] not in service.workers())
        load.wait_for_more(204)
    judge(load, may_be_cut=True)


def test_a_killed_database(service, judge):
    service.start()
    with under_load(service) as load:
        load.wait_for_more(204)
        service.signal_database(signal.SIGKILL)
        service.database.stop()
        load.wait_for_more(503)
        service.database.start()
        load.wait_for_more(204)
    judge(load)


def test_a_frozen_database(service, judge):
    service.start()
    with under_load(service) as load:
        load.wait_for_more(204)
        service.signal_database(signal.SIGSTOP)
        time.sleep(FREEZE)
        service.signal_database(signal.SIGCONT)
        load.wait_for_more(204)
    judge(load)
    assert load.total(503) > 0


def test_a_locked_table(service, judge):
    service.start()
    with under_load(service) as load:
        load.wait_for_more(204)
        other = psycopg2.connect(service.url)
        other.cursor().execute("LOCK TABLE person IN ACCESS EXCLUSIVE MODE")
        time.sleep(FREEZE)
        other.rollback()
        load.wait_for_more(204)
        other.close()
    judge(load)
    assert load.total(503) > 0


def test_a_locked_row(service, judge):
    """Its user's changes are refused, ten a second; nobody else notices."""
    service.start()
    with under_load(service, clients=4) as load:
        load.wait_for_more(204)
        statuses = Counter([save(load, "Ann", "1990-01-01")])
        with service.connect() as other, other.cursor() as cursor:
            cursor.execute("BEGIN; SELECT FROM person WHERE username = 'Ann' FOR UPDATE")
            with ThreadPoolExecutor(8) as threads:
                for _ in range(50):
                    threads.submit(lambda: statuses.update([save(load, "Ann", "2000-02-02")]))
                    time.sleep(0.1)
            cursor.execute("ROLLBACK")
    judge(load)
    assert statuses == {204: 1, 503: 50}
    assert load.total(503) == 0


def save(load, name, born):
    return load.ask("PUT", f"/hello/{name}", f'{{"dateOfBirth": "{born}"}}')[0]


def forget(load, name):
    return load.ask("DELETE", f"/hello/{name}")[0]


def test_a_partition(service):
    """Packets to the database are lost for longer than a request waits, and are delivered later.

    A change that was answered 503 must not replace what was saved meanwhile.
    """

    def partition():
        service.start()
        load = under_load(service)
        assert {save(load, name, "1980-01-01") for name in ("Ann", "Bob", "Cid")} == {204}
        with network.dropped(service.database.port), ThreadPoolExecutor(4) as threads:
            answers = [
                threads.submit(save, load, "Ann", "1990-01-01"),
                threads.submit(forget, load, "Bob"),
                threads.submit(save, load, "Cid", "1990-01-01"),
            ]
            assert {answer.result() for answer in answers} == {503}
            time.sleep(FREEZE - 3)
        load.wait_for(lambda: save(load, "Ann", "2000-02-02") == 204)
        load.wait_for(lambda: save(load, "Bob", "2000-02-02") == 204)
        load.wait_for(lambda: forget(load, "Cid") == 204)
        kept = {"Ann": date(2000, 2, 2), "Bob": date(2000, 2, 2)}
        for _ in range(30):  # TCP repeats what was lost, ever more slowly
            assert service.stored() == kept
            assert load.ask("GET", "/hello/Cid")[0] == 404
            time.sleep(1)

    network.isolated(partition)


def test_a_silent_name_server(service, judge):
    """New connections need the host's address; /livez and those that have one do not."""

    def silence():
        server = network.NameServer()
        configuration = service.home / "resolv.conf"
        configuration.write_text("nameserver 127.0.0.1\n")
        service.start(name=network.NAME, configuration=configuration)
        with under_load(service) as load:
            assert server.asked.wait(60)
            time.sleep(FREEZE)
            server.answering.set()
            load.wait_for_more(204)
        server.close()
        configuration.unlink()
        judge(load)
        assert load.longest_livez < 4

    network.isolated(silence)


def test_no_free_connections(service, judge):
    """Another client holds them all, even those that the service had before they were closed."""
    service.start()
    taken = []
    with under_load(service) as load:
        load.wait_for_more(204)
        other = service.connect()
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT date%'"
        )

        def grab():
            with suppress(psycopg2.OperationalError):
                while True:
                    taken.append(psycopg2.connect(service.url))

        def is_short():
            grab()
            other.cursor().execute(cut)
            grab()
            return load.total(503) >= 50

        load.wait_for(is_short)
        for connection in taken:
            connection.close()
        other.close()
        load.wait_for_more(204)
    judge(load)


@pytest.fixture
def small_disk(service):
    """The PostgreSQL data directory, on a file system of its own."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        lacks("permission to mount a file system (root)")
    folder = service.home / "postgres"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", folder])
    if mounted.returncode:
        folder.rmdir()
        lacks("permission to mount a file system")
    # a subfolder, so that the server can remove its data but not the mount point
    service.database.home = folder / "home"
    yield folder
    service.stop()
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()
    service.stop = lambda: None


def test_a_full_disk(service, small_disk, judge):
    service.start()
    filler = small_disk / "filler"
    with under_load(service) as load:
        load.wait_for_more(204)
        with suppress(OSError), filler.open("wb", buffering=0) as full:
            while True:
                full.write(bytes(1 << 20))

        def needs_space():
            with suppress(psycopg2.Error):
                connection = service.connect()
                connection.cursor().execute("SELECT pg_switch_wal()")
                connection.close()
            return load.total(503) >= 50

        load.wait_for(needs_space)
        filler.unlink()

        def is_back():
            if service.database.process_ids() == [] or has_ended(service.database):
                service.database.stop()
                service.database.start()
            return service.is_ready()

        load.wait_for(is_back)
        load.wait_for_more(204)
    judge(load)


def has_ended(database):
    return not database.is_running()


def test_a_full_log(service, judge):
    """Writing any line to the log fails."""
    with Path("/dev/full").open("wb") as full:
        service.start(output=full)
    with under_load(service) as load:
        load.wait_for_more(204, 200)
    judge(load)
    assert load.total(503) == 0


def test_a_log_that_nobody_reads_any_more(service, judge):
    reader, writer = os.pipe()
    service.start(output=writer)
    os.close(writer)
    with under_load(service) as load:
        threading.Thread(target=drain, args=(reader, load), daemon=True).start()
        load.wait_for_more(204, 50)
        load.reader_gone = True
        load.wait_for_more(204, 200)
    judge(load)
    assert load.total(503) == 0


def drain(reader, load):
    while not getattr(load, "reader_gone", False):
        os.read(reader, 65536)
    os.close(reader)


@contextmanager
def nginx_before(service):
    """nginx with the configuration of production, but on loopback; yields its port."""
    if not shutil.which("nginx"):
        lacks("nginx")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="service-nginx-"))
    folder.chmod(0o711)
    text = Path(".platform/nginx/nginx.conf").read_text()
    for pattern, replacement in (
        (r"^user .*$", ""),
        (r"^pid .*$", f"pid {folder}/pid;"),
        (r"^error_log .*$", f"error_log {folder}/error.log emerg;"),
        (r"access_log .*$", f"access_log {folder}/access.log json;"),
        (r"include +/etc/nginx/mime.types;", ""),
        (r"listen 80 ", f"listen 127.0.0.1:{port} "),
        (
            r"^http {",
            "daemon off;\nhttp {\n"
            + "".join(
                f"{kind}_temp_path {folder}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            ),
        ),
    ):
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count == 1, pattern
    (folder / "nginx.conf").write_text(text)
    (folder / "conf.d").mkdir()
    real = "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;"
    where = f"upstream application {{ server 127.0.0.1:{service.port}; keepalive 256; }}"
    (folder / "conf.d/application.conf").write_text(
        f"{real}\n{where}\nmap $host $application {{ default application; }}\n"
    )
    nginx = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf"])
    try:
        through = Load("127.0.0.1", port)
        through.wait_for(lambda: through.ask("GET", "/livez")[0] == 200)
        yield port
    finally:
        nginx.send_signal(signal.SIGTERM)
        nginx.wait(30)
        shutil.rmtree(folder)


def open_files(count):
    """Allow so many open files, or skip the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        lacks(f"permission to open {count} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def trickling(port, address):
    """A connection that has begun a request of ``address`` whose body does not end."""
    opened = socket.create_connection(("127.0.0.1", port))
    head = (
        f"PUT /hello/Ann HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\nContent-Length: 4000"
    )
    opened.sendall(f"{head}\r\n\r\n{{".encode())
    return opened


def test_bodies_that_trickle(service, judge):
    """From 190 addresses, each within its limit of 50: the others are served.

    Among them are 50 people behind one address, with a request a second each.
    """
    open_files(12000)
    service.start()
    with (
        nginx_before(service) as port,
        Load("127.0.0.1", port, clients=1, headers={"X-Forwarded-For": "192.0.2.2"}) as load,
    ):
        load.wait_for_more(204)
        held = [trickling(port, f"198.51.100.{n % 190}") for n in range(190 * 50)]

        def trickle():
            for connection in held:
                with suppress(OSError):
                    connection.sendall(b" ")

        office = {"X-Forwarded-For": "192.0.2.3"}
        with Load("127.0.0.1", port, clients=8, headers=office, pause=0.4) as people:
            for _ in range(4):
                trickle()
                people.wait_for_more(204, 20)
        refused = [trickling(port, "198.51.100.1") for _ in range(5)]
        for connection in refused:
            assert connection.recv(20).startswith(b"HTTP/1.1 429 ")
        load.wait_for_more(204)
        trickle()
        for connection in held + refused:
            connection.close()
    judge(load)
    for each in (load, people):
        assert each.total(503, 429, 0) == 0


def test_idle_connections(service, judge):
    """A thousand to nginx, which does not pass them on to the application."""
    open_files(4096)
    service.start()
    with nginx_before(service) as port, Load("127.0.0.1", port, clients=4) as load:
        load.wait_for_more(204)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
        for connection in held[::2]:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        load.wait_for_more(204, 200)
        for connection in held:
            connection.close()
    judge(load)
    assert load.total(503) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_restart_of_the_service(service, judge, number):
    """Requests in flight are answered; who comes later finds nobody, until the new one is there."""
    service.start()
    with under_load(service) as load:
        load.wait_for_more(204)
        service.web.send_signal(number)
        assert service.web.wait(30) == 0
        service.start_web()
        load.wait_for_more(204)
    judge(load, may_be_cut=True)


def test_midnight(service, judge):
    """The day changes under load: a greeting is right for the old day, later for the new one."""
    found = [*Path("/usr/lib").glob("**/libfaketimeMT.so.1")]
    if not found:
        lacks("libfaketime")
    day = date(2027, 2, 28)
    clock = service.home / "clock"
    set_clock(clock, datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    faked = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    service.start(**faked)
    with under_load(service, day=day) as load:
        load.wait_for(lambda: load.days_seen == {day})
        set_clock(clock, datetime(day.year, day.month, day.day, 23, 59, 57, tzinfo=UTC))
        load.wait_for(lambda: len(load.days_seen) == 2)
        load.wait_for_more(200)
    clock.unlink()
    judge(load)
    assert load.total(503) == 0


def set_clock(file, moment):
    """Set the clock of the processes that read ``file`` to ``moment``."""
    new = file.with_suffix(".new")
    new.write_text(f"{(moment - datetime.now(UTC)).total_seconds():+.0f}s\n")
    new.replace(file)
