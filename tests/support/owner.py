"""An owner for tests, since the placeholders of devops/owner.json are refused."""

OWNER = {
    "team": "greeters",
    "email": "team@greetings.test",
    "escalation": "chief@greetings.test",
    "repository": "greeters/birthday-greetings",
    "sentry": {
        "host": "sentry.io",
        "organization": "greeters",
        "project": "birthday-greetings",
        "team": "greeters",
        "channel": "#greeters",
    },
    "slack": {"workspace": "TABCDEF12", "channel": "CABCDEF12", "deployments": "CABCDEF34"},
}
