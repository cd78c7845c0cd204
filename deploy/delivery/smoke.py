"""The smoke test: whether an environment serves, and which version.

It saves a date of birth for a user with a random name, and expects the matching greeting,
a problem document for invalid input, and closed operators' paths. Then it deletes the user.

An environment is tested at its own host, by its public name: DNS may not lead to it yet, or lead to
another one. Whether the public name leads to it is said beside the result.
"""

import functools
import json
import random
import re
import time
import urllib.parse
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound, Unhealthy
from deploy.config.environments import Environment
from deploy.delivery.client import Client, Place
from deploy.resources import beanstalk, secretsmanager, stacks

PAUSE = 2.0  # seconds
PROBES = 20  # calls of /livez, enough to reach each of a handful of instances
ATTEMPTS = 3  # to reach an environment by its public name


def check(
    run: Run, environment: Environment, key: str, label: str | None = None, then: str = "smoke"
) -> bool:
    """Test ``environment``, which must run ``label`` if that is given, at its own host.

    Returns whether its URL leads there; if not, it says what DNS lacks, and which command is
    ``then`` next. Raises Unhealthy, or AwsFailure when AWS does not say where it is.
    """
    place = locate(run, environment)
    if fault := check_url(run, place.url, key, label, place.host):
        run.console.say(f"only DNS is missing: {place.remedy(fault)}")
        run.console.say(f"  then: {run.settings.program} {then} {environment.short}")
    return not fault


def check_publicly(run: Run, environment: Environment, key: str, label: str | None = None) -> None:
    """The same as everybody reaches it. Raises Unhealthy as well if DNS leads elsewhere.

    Another environment with the same version would pass by itself: first, a user that was saved at
    the host must be known by the public name.
    """
    place = locate(run, environment)
    try:
        if place.host:
            if detour := check_url(run, place.url, key, label, place.host):
                raise Unhealthy(f"{place.name} does not point to {environment.name}: {detour}")
            run.changes.done(f"{place.name} points to {environment.name}")
        check_url(run, place.url, key, label)
    except Unhealthy as failure:
        dns = f"make sure that DNS points {place.name} to {place.host}, and " if place.host else ""
        failure.next = f"{dns}see {run.settings.program} status {environment.short}"
        raise


def check_url(run: Run, url: str, key: str = "", label: str | None = None, host: str = "") -> str:
    """Test ``url``: each check must pass within SMOKE_TIMEOUT. Raises Unhealthy.

    The user that it saved is always deleted; if that fails, it says which user remains. With
    ``host`` it connects to that one, by the name in ``url``; the result is then why that name by
    itself does not lead there, and empty if it does. A dry run only says what it would test.
    """
    if run.changes.dry_run:
        run.console.say(f"would smoke test {url}{f' at {host}' if host else ''}")
        return ""
    client, fault = Client(url, key, host), ""
    try:
        version = f"version {label}" if label else "alive"
        _expect(run, client, version, functools.partial(_alive, label))
        _expect(run, client, "a birthday is saved and greeted", _greeting)
        _expect(run, client, "invalid input is rejected with a problem document", _problem)
        _expect(run, client, "operators' paths are closed", _closed)
        if host:
            fault = _find_detour(run, client)
        _expect(run, client, "the user is deleted", _deleted)
    finally:
        if client.has_saved and (answer := client.ask_about_user("DELETE")).status != 204:
            why = "this version does not support DELETE" if answer.status == 405 else answer
            run.console.say(f"the user {client.user} remains: {why}")
    return fault


def refuse_writes(run: Run, environment: Environment, proof: str) -> None:
    """Raises Unhealthy unless ``environment`` answers 401 to writes without a key.

    And 400 to writes with the key ``proof``, which older keys of an instance do not include. The
    body is invalid, so that nothing is saved in any case.
    """
    place = locate(run, environment)
    anybody, known = (Client(place.url, key, place.host) for key in ("", proof))

    def find_fault(_: Client) -> str:
        for client, status in PROBES * ((anybody, 401), (known, 400)):
            answer = client.ask_about_user("PUT", b"{}")
            if answer.status != status:
                return f"{answer}, not {status}"
        return ""

    _expect(run, anybody, "every instance has the new keys, and rejects others", find_fault)


def refuse_unknown(run: Run, place: Place, user: str) -> None:
    """Raises Unhealthy unless ``user``, who is never shown, is greeted at ``place``."""
    client = Client(place.url, host=place.host)
    answer = client.ask("GET", f"/hello/{urllib.parse.quote(user, safe='')}")
    if answer.status != 200:
        raise Unhealthy(f"--greet: the user was not greeted (status {answer.status})")
    run.console.say("--greet: the user was greeted: ok")


def _expect(run: Run, client: Client, name: str, find_fault: Callable[[Client], str]) -> None:
    show = run.console.waiting(f"smoke test: {name}")
    deadline = time.monotonic() + run.settings.smoke_timeout
    while fault := find_fault(client):
        if time.monotonic() >= deadline:
            raise Unhealthy(f"smoke test of {client.url}: {name}: FAILED: {fault}")
        show("not ready yet", fault)
        time.sleep(min(PAUSE, run.settings.smoke_timeout))
    run.console.say(f"smoke test: {name}: ok")


def _find_detour(run: Run, client: Client) -> str:
    """Why DNS does not lead to the service of ``client``; empty if its user is found that way."""
    public = Client(client.url)  # without the key: somebody else's host must not learn it
    public.user = client.user
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(PAUSE, run.settings.smoke_timeout))
        answer = public.ask_about_user("GET")
        if answer.status == 200 and f"Hello, {public.user}!" in answer.body:
            return ""
    if answer.status == 0:
        return f"it is not reachable yet: {answer.body}"
    return f"another service answers there, with {answer.status}"


def locate(run: Run, environment: Environment) -> Place:
    """Where ``environment`` serves. Raises AwsFailure or NotFound."""
    outputs = stacks.find_outputs(run, environment.name) or {}
    found = beanstalk.find(run, environment.name)
    if found is None or not found.cname:
        raise NotFound(
            f"{environment.name} has no address",
            next=run.settings.elsewhere(f"create {environment.short}"),
        )
    if outputs.get("PublicName"):
        return Place(f"https://{outputs['PublicName']}", found.cname)
    return Place(f"http://{found.cname}", "")


def find_key(run: Run, environment: Environment) -> str:
    """The key with which the smoke test can write if API_KEYS are set. Raises Failure."""
    name = f"{environment.name}/smoke-test"
    cannot = f"the key of the smoke test of {environment.name} cannot be read: "
    try:
        value = secretsmanager.read(run, name)
    except AwsFailure as failure:
        raise Failure(cannot + failure.what, next=failure.next) from failure
    if value is None and run.changes.dry_run:
        return ""  # the stack that has it was not made
    key = (value or {}).get("key")
    if not (isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9]+", key)):
        raise Failure(
            f"{cannot}the secret {name} {'does not have it' if value else 'does not exist'}",
            next=f"{run.settings.program} create {environment.short}, which creates the key",
        )
    return key


def _alive(label: str | None, client: Client) -> str:
    for _ in range(PROBES):
        answer = client.ask("GET", "/livez")
        try:
            found = json.loads(answer.body)["version"]
        except (ValueError, KeyError, TypeError):
            return str(answer)
        if label and found != label:
            return f"GET /livez says version {found!r}"
    return ""


def _greeting(client: Client) -> str:
    """A fault if the greeting does not match; around midnight, two days are right."""
    days = random.randrange(2, 300)  # noqa: S311  # any day will do
    born = _choose(datetime.now(UTC).date(), days)
    answer = client.ask_about_user("PUT", json.dumps({"dateOfBirth": str(born)}).encode())
    if answer.status == 401:
        return (
            f"{answer.request} answered 401: the key of the smoke test is not among API_KEYS. "
            "`secrets set ENV API_KEYS` adds it"
        )
    if answer.status != 204:
        return str(answer)
    answer = client.ask_about_user("GET")
    accepted = [
        {"message": f"Hello, {client.user}! Your birthday is in {number} day(s)"}
        for number in (days, days - 1, days + 1)
    ]
    try:
        is_right = answer.status == 200 and json.loads(answer.body) in accepted
    except ValueError:
        is_right = False
    return "" if is_right else f"{answer}, not {json.dumps(accepted[0])}"


def _choose(today: date, days: int) -> date:
    """A date of birth that has its next birthday in ``days``."""
    return (today + timedelta(days=days)).replace(year=2000)  # which had a 29 February


def _problem(client: Client) -> str:
    answer = client.ask_about_user("PUT", b'{"dateOfBirth": "2001-02-29"}')
    is_right = (answer.status, answer.kind) == (400, "application/problem+json")
    return "" if is_right else f"29 February 2001: {answer} {answer.kind}"


def _deleted(client: Client) -> str:
    answer = client.ask_about_user("DELETE")
    # 405: a version that cannot delete yet, after a rollback
    return "" if answer.status in (204, 405) else str(answer)


def _closed(client: Client) -> str:
    answer = client.ask("GET", "/readyz")
    return "" if answer.status == 404 else f"{answer}, not 404"
