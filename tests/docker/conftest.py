"""The image, and a database beside it."""

import os
import secrets

import pytest

from tests.support.containers import (
    BASES,
    GIVEN,
    IMAGE,
    VERSION,
    Container,
    docker,
    wait_for,
    wait_until,
    why_no_compose,
)
from tests.support.needs import refuse


def pytest_collection_modifyitems(items):
    for item in items:
        if "docker" in item.path.parts:
            item.add_marker(pytest.mark.docker)


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
