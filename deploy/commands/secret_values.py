"""What a secret may be called, and with which values the application can start."""

import hashlib
import re

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.delivery import smoke

# The ending of the name at which the previous value of a secret is kept
PREVIOUS = "_PREVIOUS"
KEYS = "API_KEYS"
# What the application accepts, since it does not start with anything else. Which of its settings
# can be set as secrets, and which are not secrets: tests hold both to web/config.py
SETTABLE = {
    KEYS: (
        r"[0-9a-f]{64}(,[0-9a-f]{64})*",
        "SHA-256 digests of keys, of 64 hexadecimal digits, separated by commas: "
        "printf %s KEY | openssl dgst -sha256 -r",
    ),
    "SENTRY_DSN": (
        r"https?://[^\s/@:?#]+@[^\s/@:?#]+(:[0-9]{1,5})?(/[^\s?#]+)?/[0-9]+",
        "the DSN of a project in Sentry, such as https://KEY@HOST/PROJECT",
    ),
}
SETTINGS = (
    "APP_VERSION",
    "DATABASE_CA_FILE",
    "DATABASE_TLS",
    "DATABASE_URL",
    "HOST",
    "LOG_LEVEL",
    "PORT",
    "RDS_DB_NAME",
    "RDS_HOSTNAME",
    "RDS_PORT",
    "RDS_USERNAME",
    "SENTRY_ENVIRONMENT",
    "THREADS",
    "TIME_ZONE",
    "WORKERS",
)


def refuse_name(environment: Environment, name: str) -> None:
    """Raise Failure for what cannot be set as a secret."""
    if not re.fullmatch(rf"[A-Z][A-Z0-9_]*(?<!_BEFORE)(?<!{PREVIOUS})", name):
        raise Failure(
            f"{name!r} is not a valid name of an environment variable",
            next="use capital letters, digits and _, and another ending than _BEFORE or _PREVIOUS",
        )
    if name in SETTINGS:
        raise Failure(
            f"{name} is a setting of the application, and not secret",
            next=f"set it in .ebextensions, or for {environment.short} only in {environments.NAME}",
        )


def parse(run: Run, environment: Environment, name: str, value: str) -> str:
    """``value`` as it is stored. Raises Failure for one with which the application cannot start.

    API_KEYS get the digest of the smoke test's key, which deployments need. No text of the value is
    shown.
    """
    value = value.strip()
    if not value:
        raise Failure(f"{name} would be empty, which counts as unset", next="give it a value")
    if not value.isprintable():
        raise Failure(
            f"{name} has a line break or another control character",
            next="give it a value of one line",
        )
    if name == KEYS:
        value = ",".join(value.replace(",", " ").lower().split())
    pattern, expected = SETTABLE.get(name, (".*", ""))
    if not re.fullmatch(pattern, value):
        raise Failure(
            f"the application would not start with this {name}", next=f"expected {expected}"
        )
    if name != KEYS:
        return value
    if digest("") in value:
        raise Failure(f"{KEYS} contains the digest of an empty key", next=f"expected {expected}")
    own = digest(smoke.find_key(run, environment))
    return ",".join(dict.fromkeys([*value.split(","), own]))


def digest(key: str) -> str:
    """The digest of a key, as API_KEYS have it."""
    return hashlib.sha256(key.encode()).hexdigest()
