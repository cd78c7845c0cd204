"""The service behind a connection pooler, which rejects much that PostgreSQL accepts."""

import shutil
import subprocess
import time

import flask_migrate
import pytest
from sqlalchemy import make_url, text

from tests.support.needs import lacks
from tests.support.server import free_port
from web import create_app
from web.storage import db

CONFIGURATION = """\
[databases]
* = host={host} port={server} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = session
default_pool_size = 20
"""
STARTED = 30  # seconds, at most


@pytest.fixture
def pooler(database_url, home):
    """The URL of the tests' database behind PgBouncer in session mode."""
    program = shutil.which("pgbouncer") or lacks("pgbouncer")
    url, port, folder = make_url(database_url), free_port(), home / "pgbouncer"
    folder.mkdir()
    text = CONFIGURATION.format(
        host=url.host, server=url.port or 5432, database=url.database, port=port, folder=folder
    )
    (folder / "pgbouncer.ini").write_text(text)
    (folder / "users").write_text(f'"{url.username}" "{url.password}"\n')
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    running = subprocess.Popen(  # PgBouncer refuses to run as root
        [program, "--user=nobody", "--quiet", folder / "pgbouncer.ini"], stderr=subprocess.DEVNULL
    )
    yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    running.terminate()
    running.wait()
    shutil.rmtree(folder)


def test_the_service_works_behind_pgbouncer(pooler, app):
    pooled = create_app({"DATABASE_URL": pooler})
    client, deadline = pooled.test_client(), time.monotonic() + STARTED
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.put("/hello/John", json={"dateOfBirth": "1990-05-17"}).status_code == 204
    assert client.get("/hello/John").status_code == 200
    with pooled.app_context():
        with db.engine.connect() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "2s"
        flask_migrate.upgrade()
    assert client.delete("/hello/John").status_code == 204
    with pooled.app_context():
        db.engine.dispose()
