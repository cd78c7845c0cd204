"""The embedded PostgreSQL: where it keeps its data, and when it ends."""

import os
import shutil
import signal
import subprocess
import sys

import psutil
import psycopg2
import pytest

from tests.support.server import has_ended, wait_until
from tools.postgres import PostgresError, Server, ensure_database

OWNER = """
import signal, sys
from pathlib import Path
from tools.postgres import Server

home = Path(sys.argv[1])
server = Server(home / "postgres", durable=False, temporary=home if sys.argv[2:] else None)
server.start()
print(server.process_ids()[0], flush=True)
signal.pause()
"""


@pytest.fixture
def folder(home):
    folder = home / "folder"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.process
def test_the_server_ends_with_the_process_that_started_it(folder):
    """Be that told to end or killed; the data is deleted only if it was temporary."""
    for number, arguments in ((signal.SIGTERM, []), (signal.SIGKILL, ["temporary"])):
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, folder, *arguments], stdout=subprocess.PIPE, text=True
        )
        server = psutil.Process(int(owner.stdout.readline()))
        owner.send_signal(number)
        owner.communicate()
        wait_until(lambda server=server: has_ended(server), "the end of PostgreSQL")
        if not arguments:
            assert (folder / "postgres/data/PG_VERSION").exists()
    wait_until(lambda: not folder.exists(), "the end of the folder")


def test_a_second_server_on_the_same_data_is_refused(database_url, home):
    if not (home / "postgres/data").exists():
        pytest.skip("the tests use another server")
    process = int((home / "postgres/data/postmaster.pid").read_text().split()[0])
    with pytest.raises(PostgresError, match=rf"stop it with: kill -INT {process}$"):
        Server(home / "postgres").start()


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can close a folder to others and enter it")
def test_a_folder_that_only_root_may_enter_can_be_used(folder):
    folder.chmod(0o700)
    for attempt in ("first", "second"):
        with Server(folder / "postgres") as server:
            ensure_database(server.url("postgres"), "kept")
            connection = psycopg2.connect(server.url("kept"))
            if attempt == "first":
                connection.cursor().execute("CREATE TABLE kept ()")
                connection.commit()
            connection.cursor().execute("SELECT FROM kept")
            connection.close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "postgres/data/PG_VERSION").exists()
    server.destroy()
    assert not list(folder.iterdir())
