"""Who owns this service, from devops/owner.json.

Usage: python -m scripts.owner check                     whether the file makes sense
       python -m scripts.owner parameters foundation     for devops/foundation.yml, as NAME=VALUE
       python -m scripts.owner parameters pipeline       for devops/pipeline.yml

owner.json has these keys, and no others:

    team         a name for people, of small letters, digits and hyphens
    email        where the team is told of failures and of what waits for approval
    escalation   the address that is told as well when production is in trouble
    repository   on GitHub, as owner/name
    slack        optional: "workspace" and "channel" of the team, and the "deployments" channel of
                 all teams, as the ids that Slack shows (T..., C...), not as names
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from scripts import release_window

FILE = Path(__file__).parent.parent / "devops/owner.json"
EMAIL = (r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address such as owner@example.com")
CHANNEL = (r"[CG][A-Z0-9]{6,}", "the id of a channel, such as C00000001, not its name")
KEYS = {
    "team": (r"[a-z][a-z0-9-]{1,39}", "2 to 40 small letters, digits and hyphens"),
    "email": EMAIL,
    "escalation": EMAIL,
    "repository": (r"[\w.-]+/[\w.-]+", "owner/name of a repository on GitHub"),
}
SLACK = {
    "workspace": (r"T[A-Z0-9]{6,}", "the id of a workspace, such as T00000000, not its name"),
    "channel": CHANNEL,
    "deployments": CHANNEL,
}


PLACEHOLDER = re.compile(r".*@example\.com|example/.*|[TC]0+[0-9]?")


class Mistake(Exception):
    """The file makes no sense. The message says where, and what is expected."""


def load(text: str) -> dict[str, Any]:
    """The owner that the JSON document ``text`` describes. Raises Mistake."""
    try:
        owner = json.loads(text)
    except ValueError as error:
        raise Mistake(f"it is no JSON: {error}") from error
    if not isinstance(owner, dict):
        raise Mistake("expected an object, {...}")
    slack = owner.get("slack")
    _check({key: value for key, value in owner.items() if key != "slack"}, KEYS, "")
    if "slack" in owner:
        if not isinstance(slack, dict):
            raise Mistake("slack: expected an object, or no such key where there is no Slack")
        _check(slack, SLACK, "slack.")
    return owner


def parameters(owner: dict[str, Any], stack: str) -> dict[str, str]:
    """The parameters of the template ``stack`` that follow from ``owner``.

    Raises Mistake when a value is still one of the placeholders of the file as it is published.
    """
    values = [*owner.values(), *owner.get("slack", {}).values()]
    for value in values:
        if isinstance(value, str) and PLACEHOLDER.fullmatch(value):
            raise Mistake(f"{value!r} is a placeholder: put in what is true for your team")
    if stack == "foundation":
        return {"OperationsEmail": owner["email"], "EscalationEmail": owner["escalation"]}
    slack = owner.get("slack", {})
    calendar = release_window.read()
    return {
        "Repository": owner["repository"],
        "SlackWorkspace": slack.get("workspace", ""),
        "SlackChannel": slack.get("channel", "none"),
        "SlackDeployments": slack.get("deployments", "none"),
        "WindowSchedule": calendar.schedule(),
        "WindowTimeZone": calendar.zone.key,
    }


def _check(table: dict[str, Any], keys: dict[str, tuple[str, str]], where: str) -> None:
    for key, (pattern, expected) in keys.items():
        if key not in table:
            raise Mistake(f"{where}{key} is missing: expected {expected}")
        if not (isinstance(table[key], str) and re.fullmatch(pattern, table[key])):
            raise Mistake(f"{where}{key} {table[key]!r}: expected {expected}")
    for key in table.keys() - keys.keys():
        raise Mistake(f"{where}{key}: nobody reads it; expected {', '.join(keys)}")


def main() -> None:
    """Exits with a sentence when the file makes no sense."""
    try:
        owner = load(FILE.read_text())
        match sys.argv[1:]:
            case ["check"]:
                print(f"{owner['team']} owns this service: {owner['email']}")
            case ["parameters", "foundation" | "pipeline" as stack]:
                for name, value in parameters(owner, stack).items():
                    print(f"{name}={value}")
            case _:
                raise SystemExit(__doc__)
    except (Mistake, OSError) as error:
        raise SystemExit(f"devops/{FILE.name}: {error}") from None


if __name__ == "__main__":
    main()
