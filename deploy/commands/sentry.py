"""Alerts in Sentry, created through its API: whom they notify is set in devops/owner.json.

This uses the "Monitors and Alerts" API, which Sentry calls beta: alerts ("workflows") belong to the
organisation, and are attached to the monitors ("detectors") of the project. The one step by
hand is to connect Slack, in Sentry's settings.
"""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import Failure, InvalidConfig, NotFound, state
from deploy.config import owner
from deploy.config.environments import PRODUCTION
from deploy.config.owner import Owner
from deploy.resources import secretsmanager

TIMEOUT = 20  # seconds for one answer
FREQUENCY = 60  # minutes until an alert notifies about the same issue again
RATE = 20  # events of one issue in production, in 5 minutes
NEXT = re.compile(r'<([^>]+)>; rel="next"; results="true"')
Json = dict[str, Any]


class _Sentry:
    """The API of one organisation."""

    def __init__(self, run: Run, host: str, organization: str, token: str) -> None:
        self._changes, self._token = run.changes, token
        base = host if "://" in host else f"https://{host}"
        self._url = f"{base}/api/0/organizations/{urllib.parse.quote(organization)}"

    def every(self, path: str) -> list[Json]:
        """The entries of all pages of a list. Raises Failure."""
        found: list[Json] = []
        url = f"{self._url}/{path}"
        while url:
            page, links = self._call("GET", url)
            found += page
            following = NEXT.search(links)
            url = following[1] if following else ""
        return found

    def change(self, method: str, path: str, body: Json) -> None:
        """Create or update something; a dry run only shows it. Raises Failure."""
        url = f"{self._url}/{path}"
        self._changes.make(f"{method} {url} {json.dumps(body)}",
                           lambda: self._call(method, url, body), None)  # fmt: skip

    def _call(self, method: str, url: str, body: Json | None = None) -> tuple[Any, str]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  # of owner.json
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                return json.loads(response.read()), response.headers.get("Link", "")
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, method, url, error.read(300)) from error
        except (OSError, ValueError) as error:
            raise Failure(
                f"Sentry did not answer {method} {url}: {error}",
                next="check the network and the host in devops/owner.json, then run it again",
            ) from error


def apply(run: Run, ask_token: Callable[[], str]) -> None:
    """Create or update the alerts. Safe to run again: an alert is identified by its name.

    The token is "token" in the secret APPLICATION/sentry, or what ``ask_token`` returns.
    Raises InvalidConfig if devops/owner.json has no "sentry", and Failure.
    """
    responsible = owner.read_for_use(run.settings.root)
    project = responsible.sentry
    if project is None:
        raise InvalidConfig(
            owner.NAME, "sentry is missing: add it, with organization, project and team"
        )
    stored = secretsmanager.read(run, f"{run.settings.application}/sentry") or {}
    token = stored.get("token") or ask_token()
    sentry = _Sentry(run, project.host, project.organization, token)
    actions = _actions(run, sentry, responsible)
    monitors = _monitors(sentry, project.project)
    known = {one["name"]: str(one["id"]) for one in sentry.every("workflows/")}
    for name, body in _alerts(run, actions, monitors).items():
        with state("the alerts before this one are as they should be"):
            if name in known:
                sentry.change("PUT", f"workflows/{known[name]}/", body | {"id": known[name]})
            else:
                sentry.change("POST", "workflows/", body)
        run.changes.done(f"Sentry: {name}")


def _alerts(run: Run, actions: list[Json], monitors: list[str]) -> dict[str, Json]:
    """The alerts by their names, which begin with that of the application."""
    new, again = _condition("first_seen_event", True), _condition("regression_event", True)
    rate = _condition("event_frequency_count", {"value": RATE, "interval": "5min"})
    often = [new, again, _condition("reappeared_event", True)]
    wanted: list[tuple[str, str | None, list[Json], list[Json]]] = [
        ("a fault that is new", None, [new], []),
        ("a fault that was fixed is back", None, [again], []),
        ("a fault is frequent in production", run.settings.name(PRODUCTION), often, [rate]),
    ]
    return {
        (full := f"{run.settings.application}: {name}"): {
            "name": full,
            "enabled": True,
            "environment": environment,
            "config": {"frequency": FREQUENCY},
            "detectorIds": monitors,
            "triggers": {"logicType": "any-short", "conditions": triggers, "actions": []},
            "actionFilters": [{"logicType": "all", "conditions": filters, "actions": actions}],
        }
        for name, environment, triggers, filters in wanted
    }


def _condition(kind: str, comparison: Any) -> Json:
    return {"type": kind, "comparison": comparison, "conditionResult": True}


def _actions(run: Run, sentry: _Sentry, responsible: Owner) -> list[Json]:
    """The team by e-mail, and its channel if Slack is connected to Sentry. Raises Failure."""
    project, slack = responsible.sentry, responsible.slack
    assert project  # noqa: S101  # for mypy: the caller has checked this
    team = _find(sentry.every("teams/"), "slug", project.team, "team")
    found = [_action("email", "team", str(team["id"]), None, None)]
    if slack and project.channel:
        connected = sentry.every("integrations/?provider_key=slack")
        if connected:
            identity = str(connected[0]["id"])
            found.append(_action("slack", "specific", slack.channel, project.channel, identity))
        else:
            run.console.say("Sentry has no connection to Slack: its alerts go by e-mail only")
            run.console.say(
                "  next: connect it in Sentry, Settings, Integrations, then run it again"
            )
    return found


def _action(
    kind: str, target: str, identity: str, shown: str | None, integration: str | None
) -> Json:
    config = {"targetType": target, "targetIdentifier": identity, "targetDisplay": shown}
    return {
        "type": kind, "integrationId": integration, "data": {}, "config": config,
        "status": "active",
    }  # fmt: skip


def _monitors(sentry: _Sentry, project: str) -> list[str]:
    """The ids of a project's error monitors. Raises Failure."""
    identity = _find(sentry.every("projects/"), "slug", project, "project")["id"]
    found = sentry.every(f"detectors/?project={identity}")
    ids = [str(one["id"]) for one in found if one["type"] in ("error", "issue_stream")]
    if not ids:
        raise NotFound(f"the project {project} has no monitor in Sentry",
                       next="open the project in Sentry once, then run it again")  # fmt: skip
    return ids


def _find(found: list[Json], key: str, value: str, what: str) -> Json:
    for one in found:
        if one[key] == value:
            return one
    raise NotFound(
        f"Sentry has no {what} {value!r}. There are: {', '.join(str(one[key]) for one in found)}",
        next="make it in Sentry, or correct devops/owner.json",
    )


def _refused(status: int, method: str, url: str, body: bytes) -> Failure:
    reason = body.decode("utf-8", "replace")
    if status in (401, 403):
        return Failure(
            f"Sentry does not accept the token for {method} {url}: {reason}",
            next="make one with the scopes alerts:write, org:read, project:read and team:read",
        )
    return Failure(f"Sentry refused {method} {url}: {status}: {reason}",
                   next="see the reason above")  # fmt: skip
