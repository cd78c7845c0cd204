"""Docker's command, and containers of the image."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from tests.support.aws import APPLICATION

# An image that was already built, or one built from the working tree; its tag is its version
GIVEN = os.environ.get("IMAGE_UNDER_TEST")
IMAGE = GIVEN or f"{APPLICATION}:9.8.7"
PATIENCE = 300  # seconds, after which something hangs
VERSION = IMAGE.rpartition(":")[2]
BASES = os.environ.get("BASES", "")  # prefix of the names of official images


def docker(
    *arguments: str, check: bool = True, timeout: float = 900
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)
    if check and ended.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}:\n{ended.stdout}{ended.stderr}")
    return ended


def why_no_compose() -> str | None:
    if docker("compose", "version", check=False).returncode:
        return "Docker Compose is not installed"
    return None


class Container:
    """A running container of the image, hardened as in production."""

    hardened = (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--memory=512m",
    )

    def __init__(self, *arguments: str) -> None:
        self.id = docker("run", "--detach", *arguments).stdout.strip()

    def port(self) -> str:
        return docker("port", self.id, "8000/tcp").stdout.split(":")[-1].strip()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port()}{path}"

    def logs(self) -> str:
        ended = docker("logs", self.id)
        return ended.stdout + ended.stderr


def request(
    method: str, url: str, body: bytes | None = None, timeout: float = 20
) -> tuple[int, str]:
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


def wait_until(condition: Callable[[], object], why: Callable[[], object] = lambda: None) -> None:
    """Wait for the event, not for seconds: only what hangs is ended."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def wait_for(url: str) -> None:
    wait_until(lambda: request("GET", url)[0] == 200, lambda: request("GET", url))
