"""An owner for tests, since the placeholders of devops/owner.json are refused."""

from tests.support.aws import APPLICATION

OWNER = {
    "team": "greeters",
    "email": "team@greetings.test",
    "escalation": "chief@greetings.test",
    "repository": f"greeters/{APPLICATION}",
    "sentry": {
        "host": "sentry.io",
        "organization": "greeters",
        "project": APPLICATION,
        "team": "greeters",
        "channel": "#greeters",
    },
    "slack": {"workspace": "TABCDEF12", "channel": "CABCDEF12", "deployments": "CABCDEF34"},
}
