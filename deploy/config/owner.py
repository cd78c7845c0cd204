"""The team that owns the service, from devops/owner.json.

owner.json has these keys, and no others:

    team         a name for people, of lower-case letters, digits and hyphens
    email        where the team gets notifications: failures, and versions pending approval
    escalation   another address, which is notified as well of a failure in production
    pager        optional: a pager for these failures, an https address to which SNS posts, or a
                 phone number such as +15550100
    repository   on GitHub, as owner/name
    slack        optional: "workspace" and "channel" of the team, and the "deployments" channel of
                 all teams, as the ids that Slack shows (T..., C...), not as names
    sentry       optional: "organization", "project" and "team", as in Sentry's addresses; "host",
                 such as sentry.io or de.sentry.io; "channel", the team's in Slack, by its name
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.base.errors import InvalidConfig
from deploy.base.settings import read_text
from deploy.base.tables import check, kind, text

NAME = "devops/owner.json"
EMAIL = text(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address such as owner@example.com")
CHANNEL = text(r"[CG][A-Z0-9]{6,}", "the id of a channel, such as C00000001, not its name")
SLUG = text(r"[a-z0-9][a-z0-9_-]*", "a name as in Sentry's addresses, such as web-service")
KEYS = {
    "team": text(r"[a-z][a-z0-9-]{1,39}", "2 to 40 lower-case letters, digits and hyphens"),
    "email": EMAIL,
    "escalation": EMAIL,
    "pager": text(
        r"https://\S+|\+[1-9]\d{6,14}", "an https address, or a number such as +15550100"
    ),
    "repository": text(r"[\w.-]+/[\w.-]+", "owner/name of a repository on GitHub"),
    "slack": kind(dict, "an object; without Slack, leave the key out"),
    "sentry": kind(dict, "an object; without Sentry, leave the key out"),
}
OPTIONAL = {
    "slack": {
        "workspace": text(
            r"T[A-Z0-9]{6,}", "the id of a workspace, such as T00000000, not its name"
        ),
        "channel": CHANNEL,
        "deployments": CHANNEL,
    },
    "sentry": {
        "organization": SLUG,
        "project": SLUG,
        "team": SLUG,
        "host": text(r"([a-z0-9-]+\.)+[a-z]+|http://127\.0\.0\.1:\d+", "a host such as sentry.io"),
        "channel": text(r"#[\w-]+|", "the name of a channel, such as #greetings, or nothing"),
    },
}
PLACEHOLDER = re.compile(r".*@example\.com|example/.*|example|[TC]0+[0-9]?")


@dataclass(frozen=True)
class Slack:
    """Ids of a workspace, of the team's channel, and of the channel for all deployments."""

    workspace: str
    channel: str
    deployments: str


@dataclass(frozen=True)
class Sentry:
    """A project in Sentry, and the team that is notified."""

    organization: str
    project: str
    team: str
    host: str
    channel: str


@dataclass(frozen=True)
class Owner:
    """Who is responsible, and how they are reached."""

    team: str
    email: str
    escalation: str
    repository: str
    pager: str = ""
    slack: Slack | None = None
    sentry: Sentry | None = None

    def foundation_parameters(self) -> dict[str, str]:
        """The parameters of devops/foundation.yml."""
        return {
            "OperationsEmail": self.email,
            "EscalationEmail": self.escalation,
            "Pager": self.pager,
            "PagerProtocol": "sms" if self.pager.startswith("+") else "https",
            "Repository": self.repository,
        }

    def probe_parameters(self, is_urgent: bool) -> dict[str, str]:
        """Those of devops/probe.yml about the owner; all addresses only if it ``is_urgent``."""
        parameters = self.foundation_parameters()
        return parameters if is_urgent else parameters | {"EscalationEmail": "", "Pager": ""}


def load(content: str) -> Owner:
    """The owner that the JSON document ``content`` describes. Raises InvalidConfig."""
    try:
        document = json.loads(content)
    except ValueError as error:
        raise InvalidConfig(NAME, f"invalid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidConfig(NAME, "expected an object, {...}")
    check(NAME, "", document, KEYS, optional=(*OPTIONAL, "pager"))
    for name in (one for one in OPTIONAL if one in document):
        check(NAME, f"{name}.", document[name], OPTIONAL[name])
    slack, sentry = document.pop("slack", None), document.pop("sentry", None)
    if document["email"].casefold() == document["escalation"].casefold():
        raise InvalidConfig(
            NAME,
            "escalation is the address of email, which SNS does not subscribe twice: use another "
            "one, such as you+urgent@your-domain",
        )
    if slack and slack["channel"] == slack["deployments"]:
        raise InvalidConfig(
            NAME,
            "slack.deployments is the team's channel: name the one in which the deployments of all "
            "services are reported",
        )
    return Owner(
        **document,
        slack=Slack(**slack) if slack else None,
        sentry=Sentry(**sentry) if sentry else None,
    )


def read(root: Path) -> Owner:
    """The owner configured in the checkout ``root``, placeholders allowed. Raises InvalidConfig."""
    return load(read_text(root, NAME))


def read_for_use(root: Path) -> Owner:
    """The same, to send something there: raises InvalidConfig for a placeholder as well."""
    owner = read(root)
    given = {name: value for name, value in vars(owner).items() if isinstance(value, str)}
    for table, part in (("slack", owner.slack), ("sentry", owner.sentry)):
        given |= {f"{table}.{name}": value for name, value in vars(part).items()} if part else {}
    found = [f"{name} {value!r}" for name, value in given.items() if PLACEHOLDER.fullmatch(value)]
    if found:
        raise InvalidConfig(
            NAME,
            f"{', '.join(found)}: placeholders. Replace them with your team's own; without Slack "
            "or Sentry, remove its key",
        )
    return owner
