"""Sentry events that the image sends, received by a collector in another container."""

import json
from pathlib import Path

import pytest

from tests.support.containers import Container, docker, request, wait_for, wait_until
from tests.support.sentry import KEY, PROJECT

NAME, BORN = "Rumpelstiltskin", "1990-05-17"
BODY = json.dumps({"dateOfBirth": BORN}).encode()
ALTER = """
import os, psycopg2
connection = psycopg2.connect(os.environ["DATABASE_URL"])
connection.autocommit = True
connection.cursor().execute(
    "ALTER TABLE person DROP CONSTRAINT person_date_of_birth_range, ALTER date_of_birth TYPE text"
)
"""


@pytest.fixture(scope="module")
def collector(start, image):
    """A container that prints the events it gets."""
    code = Path("tests/support/sentry.py").read_text()
    return start("--network-alias=sentry", "--entrypoint=python", image, "-u", "-c", code, "9000")


@pytest.fixture(scope="module")
def reporting(start, image, database, web, collector):
    """Starts the image with a DSN, on a database whose date column was wrongly made text."""
    request("PUT", web.url(f"/hello/{NAME}"), BODY)
    docker(
        "run",
        "--rm",
        f"--network={start.network}",
        f"--env=DATABASE_URL={database}",
        image,
        "python",
        "-c",
        ALTER,
    )

    def run():
        container = start(
            f"--env=DATABASE_URL={database}",
            f"--env=SENTRY_DSN=http://{KEY}@sentry:9000/{PROJECT}",
            "--env=SENTRY_ENVIRONMENT=image",
            "--env=APP_VERSION=9.8.7",
            "--publish=127.0.0.1::8000",
            *Container.hardened,
            image,
        )
        wait_for(container.url("/livez"))
        return container

    return run


def events(collector, count):
    """Wait until the collector has printed ``count`` events."""

    def lines():
        return docker("logs", collector.id).stdout.splitlines()

    wait_until(lambda: len(lines()) >= count, collector.logs)
    return [json.loads(line) for line in lines()]


def test_an_error_is_reported_with_its_location_and_without_names(reporting, collector):
    container = reporting()
    path = f"/hello/{NAME}?dateOfBirth={BORN}"
    assert request("GET", container.url(path))[0] == 500
    [event] = events(collector, 1)
    assert event["release"] == "9.8.7"
    assert event["environment"] == "image"
    assert event["transaction"] == "/hello/<username>"
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["module"].startswith("web.")
    for text in (NAME, BORN):
        assert text not in json.dumps(event)


def test_an_error_right_before_shutdown_is_reported(reporting, collector):
    seen = len(docker("logs", collector.id).stdout.splitlines())
    container = reporting()
    assert request("GET", container.url(f"/hello/{NAME}"))[0] == 500
    docker("kill", "--signal=TERM", container.id)
    assert docker("wait", container.id).stdout.strip() == "0"
    assert len(events(collector, seen + 1)) == seen + 1
