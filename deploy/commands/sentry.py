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
from deploy.config.owner import Sentry, Slack
from deploy.resources import secretsmanager

TIMEOUT = 20  # seconds for one answer
FREQUENCY = 60  # minutes until an alert notifies about the same issue again
RATE = 20  # events of one issue in production, in 5 minutes
NEW, AGAIN = {"first_seen_event": True}, {"regression_event": True}
# The end of their names, whether they are of production only, any of their triggers, all filters
ALERTS: tuple[tuple[str, bool, dict[str, Any], dict[str, Any]], ...] = (
    ("a fault that is new", False, NEW, {}),
    ("a fault that was fixed is back", False, AGAIN, {}),
    (
        "a fault is frequent in production",
        True,
        NEW | AGAIN | {"reappeared_event": True},
        {"event_frequency_count": {"value": RATE, "interval": "5min"}},
    ),
)
MONITORS = ("error", "issue_stream")  # those of errors
SCOPES = "alerts:write, org:read, project:read and team:read"
NEXT = re.compile(r'<([^>]+)>; rel="next"; results="true"')
Json = dict[str, Any]


class _Api:
    """The API of one organisation. Each request raises Failure."""

    def __init__(self, run: Run, host: str, organization: str, token: str) -> None:
        self._changes, self._token = run.changes, token
        base = host if "://" in host else f"https://{host}"
        self._url = f"{base}/api/0/organizations/{urllib.parse.quote(organization)}"

    def every(self, path: str) -> list[Json]:
        """The entries of all pages of a list."""
        found: list[Json] = []
        url = f"{self._url}/{path}"
        while url:
            page, links = self._call("GET", url)
            found += page
            following = NEXT.search(links)
            url = following[1] if following else ""
        return found

    def find(self, what: str, slug: str) -> str:
        """The id of one of the organisation's teams or projects."""
        found = {one["slug"]: str(one["id"]) for one in self.every(f"{what}s/")}
        if slug not in found:
            raise NotFound(
                f"Sentry has no {what} {slug!r}. There are: {', '.join(found)}",
                next="create it in Sentry, or correct devops/owner.json",
            )
        return found[slug]

    def change(self, method: str, path: str, body: Json) -> None:
        """Create or update something; a dry run only shows it."""
        url = f"{self._url}/{path}"
        self._changes.make(
            f"{method} {url} {json.dumps(body)}", lambda: self._call(method, url, body), None
        )

    def _call(self, method: str, url: str, body: Json | None = None) -> tuple[Any, str]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  # of owner.json
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                return json.loads(response.read()), response.headers.get("Link", "")
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(300).decode("utf-8", "replace")
            is_token = error.code in (401, 403)
            raise Failure(
                f"Sentry refused {method} {url}: {error.code}: {reason}",
                next=f"create a token with {SCOPES}" if is_token else "see the reason above",
            ) from error
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
    api = _Api(run, project.host, project.organization, stored.get("token") or ask_token())
    actions = _actions(run, api, project, responsible.slack)
    monitors = _monitors(api, project.project)
    known = {one["name"]: str(one["id"]) for one in api.every("workflows/")}
    for ending, is_production, triggers, filters in ALERTS:
        name = f"{run.settings.application}: {ending}"
        body: Json = {
            "name": name,
            "enabled": True,
            "environment": run.settings.name(PRODUCTION) if is_production else None,
            "config": {"frequency": FREQUENCY},
            "detectorIds": monitors,
            "triggers": _conditions("any-short", triggers, []),
            "actionFilters": [_conditions("all", filters, actions)],
        }
        with state("the alerts before this one are up to date"):
            if name in known:
                api.change("PUT", f"workflows/{known[name]}/", body | {"id": known[name]})
            else:
                api.change("POST", "workflows/", body)
        run.changes.done(f"Sentry: {name}")


def _conditions(logic: str, wanted: dict[str, Any], actions: list[Json]) -> Json:
    conditions = [
        {"type": kind, "comparison": comparison, "conditionResult": True}
        for kind, comparison in wanted.items()
    ]
    return {"logicType": logic, "conditions": conditions, "actions": actions}


def _actions(run: Run, api: _Api, project: Sentry, slack: Slack | None) -> list[Json]:
    """The team by e-mail, and its channel if Slack is connected to Sentry. Raises Failure."""
    found = [_action("email", None, "team", api.find("team", project.team), None)]
    if slack and project.channel:
        connected = api.every("integrations/?provider_key=slack")
        if connected:
            identity = str(connected[0]["id"])
            found.append(_action("slack", identity, "specific", slack.channel, project.channel))
        else:
            run.console.say("Sentry has no connection to Slack: its alerts go by e-mail only")
            run.console.say(
                "  next: connect it in Sentry, Settings, Integrations, then run it again"
            )
    return found


def _action(kind: str, integration: str | None, *target: str | None) -> Json:
    names = ("targetType", "targetIdentifier", "targetDisplay")
    config = dict(zip(names, target, strict=True))
    return {
        "type": kind,
        "integrationId": integration,
        "data": {},
        "config": config,
        "status": "active",
    }


def _monitors(api: _Api, project: str) -> list[str]:
    """The ids of a project's error monitors. Raises Failure."""
    found = api.every(f"detectors/?project={api.find('project', project)}")
    ids = [str(one["id"]) for one in found if one["type"] in MONITORS]
    if not ids:
        raise NotFound(
            f"the project {project} has no monitor in Sentry",
            next="open the project in Sentry once, then run it again",
        )
    return ids
