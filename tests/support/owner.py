"""An owner for tests, since the placeholders of devops/owner.json are refused."""

OWNER = {
    "team": "greeters",
    "email": "team@greetings.test",
    "escalation": "chief@greetings.test",
    "repository": "greeters/birthday-greetings",
    "slack": {"workspace": "TABCDEF12", "channel": "CABCDEF12", "deployments": "CABCDEF34"},
}
