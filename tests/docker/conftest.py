"""The image, and a database beside it."""

import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from tests.support.aws import APPLICATION
from tests.support.needs import refuse

# An image that was already built, or one built from the working tree; its tag is its version
GIVEN = os.environ.get("IMAGE_UNDER_TEST")
IMAGE = GIVEN or f"{APPLICATION}:9.8.7"
PATIENCE = 300  # seconds, after which something hangs
VERSION = IMAGE.rpartition(":")[2]
BASES = os.environ.get("BASES", "")  # prefix of the names of official images


def docker(*arguments, check=True, timeout=900):
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)
    if check and ended.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}:\n{ended.stdout}{ended.stderr}")
    return ended


def why_no_docker():
    if not shutil.which("docker"):
        return "there is no docker command"
    if docker("info", check=False).returncode:
        return "the Docker engine does not respond"
    return None


def why_no_compose():
    if docker("compose", "version", check=False).returncode:
        return "Docker Compose is not installed"
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if "docker" in item.path.parts:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def engine():
    """Also for the rehearsal's scenarios; what it tests without Docker asks for no engine."""
    if reason := why_no_docker():
        refuse(reason, "DOCKER")


@pytest.fixture(scope="session", autouse=True)
def _needed(engine):
    """All tests in this folder need an engine."""


@pytest.fixture(scope="session")
def compose(engine):
    """For tests that need Compose; those of the image alone do not."""
    if reason := why_no_compose():
        refuse(reason, "DOCKER")


@pytest.fixture(scope="session")
def image(engine):
    if not GIVEN:
        arguments = (f"APP_VERSION={VERSION}", f"BASES={BASES}")
        built = [word for one in arguments for word in ("--build-arg", one)]
        newest = ["--pull"] if os.environ.get("PULL") == "true" else []
        docker("build", *newest, *built, "--tag", IMAGE, ".")
    return IMAGE


class Container:
    """A running container of the image, hardened as in production."""

    hardened = (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--memory=512m",
    )

    def __init__(self, *arguments):
        self.id = docker("run", "--detach", *arguments).stdout.strip()

    def port(self):
        return docker("port", self.id, "8000/tcp").stdout.split(":")[-1].strip()

    def url(self, path):
        return f"http://127.0.0.1:{self.port()}{path}"

    def logs(self):
        ended = docker("logs", self.id)
        return ended.stdout + ended.stderr


def request(method, url, body=None, timeout=20):
    """Status and body; status 0 when there was no answer."""
    asked = urllib.request.Request(url, body, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, repr(error)


def wait_until(condition, why=lambda: None):
    """Wait for the event, not for seconds: only what hangs is ended."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def wait_for(url):
    wait_until(lambda: request("GET", url)[0] == 200, lambda: request("GET", url))


@pytest.fixture(scope="module")
def start(image):
    """Starts containers on a network of their own, and removes the containers and the network at the end."""
    network = f"service-{secrets.token_hex(4)}"
    docker("network", "create", network)
    started = []

    def run(*arguments):
        container = Container(f"--network={network}", *arguments)
        started.append(container)
        return container

    run.network = network
    yield run
    for container in started:
        docker("rm", "--force", "--volumes", container.id)
    docker("network", "rm", network)


@pytest.fixture(scope="module")
def database(start):
    """A URL for containers on the same network."""
    server = start(
        "--network-alias=db",
        "--env=POSTGRES_USER=app",
        "--env=POSTGRES_PASSWORD=p",
        f"{BASES}postgres:18-trixie",
    )
    answers = ("exec", server.id, "pg_isready", "-h", "127.0.0.1")
    wait_until(lambda: docker(*answers, check=False).returncode == 0, server.logs)
    return "postgresql://app:p@db/app"


@pytest.fixture(scope="module")
def web(start, image, database):
    """The image, serving on a migrated database."""
    docker(
        "run",
        "--rm",
        f"--network={start.network}",
        f"--env=DATABASE_URL={database}",
        *Container.hardened,
        image,
        "flask",
        "db",
        "upgrade",
    )
    web = start(
        f"--env=DATABASE_URL={database}", "--publish=127.0.0.1::8000", *Container.hardened, image
    )
    wait_for(web.url("/readyz"))
    return web
