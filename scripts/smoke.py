"""See by its public name whether an environment serves, and which version.

Usage: python -m scripts.smoke URL [VERSION]

Saves a birthday for one fixed user that nobody else has, a different one each time, and expects
the greeting that follows from it; expects VERSION at /livez, if given, from every instance that
answers; and a problem document for bad input; then deletes the user. SMOKE_TIMEOUT is the number of
seconds within which each check must pass, 60 if not given; SMOKE_KEY is a key for writing, if any.
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

USER = "SmokeTestOfTheDeployment"
PATIENCE = 60  # seconds for each check: names and load balancers take their time
PAUSE = 2.0  # seconds
PROBES = 20  # calls of /livez, so that each of a handful of instances is met


class Answer(NamedTuple):
    """Status (0 if there was none), media type and body of a response."""

    status: int
    kind: str
    body: str


def main() -> None:
    """Exits with a sentence when a check fails for longer than PATIENCE."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    patience = os.environ.get("SMOKE_TIMEOUT") or str(PATIENCE)
    if not (patience.isascii() and patience.isdigit()):
        raise SystemExit(f"smoke: SMOKE_TIMEOUT {patience!r} is no number of seconds.")
    check(sys.argv[1].rstrip("/"), sys.argv[2] if len(sys.argv) == 3 else None, int(patience))


def check(url: str, version: str | None, patience: float = PATIENCE) -> None:
    """Print each check of ``url`` that passes; raises SystemExit at the first that does not."""
    checks: list[tuple[str, Callable[[], str]]] = [
        (f"version {version}" if version else "alive", lambda: _alive(url, version)),
        ("a birthday is saved and greeted", lambda: _greeting(url)),
        ("bad input is refused with a problem document", lambda: _problem(url)),
        ("operators' paths are closed", lambda: _closed(url)),
        ("the user is deleted", lambda: _deleted(url)),
    ]
    for name, run in checks:
        deadline = time.monotonic() + patience
        while wrong := run():
            if time.monotonic() > deadline:
                raise SystemExit(f"smoke: {name}: FAILED at {url} for {patience:.0f} s: {wrong}")
            time.sleep(min(PAUSE, patience))
        print(f"smoke: {name}: ok", flush=True)


def ask(method: str, url: str, body: bytes | None = None) -> Answer:
    """The answer to a request; status 0 and the reason when there is none within 10 s."""
    key = os.environ.get("SMOKE_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  # the operator's own
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return Answer(
                response.status, response.headers.get_content_type(), response.read().decode()
            )
    except urllib.error.HTTPError as error:
        with error:
            kind = error.headers.get_content_type()
            return Answer(error.code, kind, error.read().decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        return Answer(0, "", str(error))


def _alive(url: str, version: str | None) -> str:
    for _ in range(PROBES):
        answer = ask("GET", f"{url}/livez")
        try:
            found = json.loads(answer.body)["version"]
        except (ValueError, KeyError, TypeError):
            return f"GET /livez answered {answer.status} {answer.body[:200]!r}"
        if version and found != version:
            return f"GET /livez says version {found!r}"
    return ""


def _greeting(url: str) -> str:
    """Wrong if the greeting is not about the day saved just now. Days around midnight count."""
    today = datetime.now(UTC).date()
    ahead = random.randrange(2, 300)  # noqa: S311  # any day will do
    birthday = today + timedelta(days=ahead)
    born = date(1999, birthday.month, min(birthday.day, 28))
    expected = (date(birthday.year, born.month, born.day) - today).days
    if expected < 2:  # the 29th to 31st of this month became the 28th
        return "no day was found; trying another"
    saved = ask("PUT", f"{url}/hello/{USER}", json.dumps({"dateOfBirth": str(born)}).encode())
    if saved.status == 401:
        return (
            f"PUT /hello/{USER} answered 401: the key of the smoke test is not among API_KEYS. "
            "Set them again, which adds it: python -m scripts.secrets set ENV API_KEYS"
        )
    if saved.status != 204:
        return f"PUT /hello/{USER} answered {saved.status} {saved.body[:200]!r}"
    answer = ask("GET", f"{url}/hello/{USER}")
    accepted = [
        f'{{"message": "Hello, {USER}! Your birthday is in {days} day(s)"}}'
        for days in (expected - 1, expected, expected + 1)
    ]
    if answer.status != 200 or answer.body not in accepted:
        return (
            f"GET /hello/{USER} answered {answer.status} {answer.body[:200]!r}, not {accepted[1]!r}"
        )
    return ""


def _problem(url: str) -> str:
    answer = ask("PUT", f"{url}/hello/{USER}", b'{"dateOfBirth": "2001-02-29"}')
    if (answer.status, answer.kind) != (400, "application/problem+json"):
        return f"29 February 2001 was answered {answer.status} {answer.kind} {answer.body[:200]!r}"
    return ""


def _deleted(url: str) -> str:
    answer = ask("DELETE", f"{url}/hello/{USER}")
    # 405: a version that cannot delete yet, after a rollback
    if answer.status in (204, 405):
        return ""
    return f"DELETE /hello/{USER} answered {answer.status} {answer.body[:200]!r}"


def _closed(url: str) -> str:
    answer = ask("GET", f"{url}/readyz")
    return "" if answer.status == 404 else f"GET /readyz answered {answer.status}, not 404"


if __name__ == "__main__":
    main()
