"""Turns environment variables into a checked configuration, or refuses to start."""

import functools
import hashlib
import ipaddress
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from web import clock
from web.connection import read_options

DRIVER = "postgresql+psycopg2"
URL_RULE = "postgresql://user:password@host:5432/name"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class ConfigError(click.ClickException):
    """An environment variable is invalid or missing. The message says which and what is expected.

    A ClickException, so that ``flask`` commands also show it as one line.
    """


# Parsers: the text of a variable in, its value out; ValueError or another error for invalid text


def _database_url(text: str) -> URL | None:
    if not text:
        return None
    url = make_url(text)
    if url.drivername not in ("postgres", "postgresql", DRIVER) or not url.database:
        raise ValueError
    url = url.set(drivername=DRIVER)
    limits = {"connect_timeout", "statement_timeout", "lock_timeout"}
    if limits & (set(url.query) | read_options(str(url.query.get("options", "")))):
        raise ConfigError(
            "Invalid DATABASE_URL: connect_timeout, statement_timeout and lock_timeout cannot be "
            "chosen, because every wait for the database is limited already. Leave them out."
        )
    make_dsn(**url.get_dialect()().create_connect_args(url)[1])  # knows which parameters exist
    return url


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text and text not in choices:
            raise ValueError
        return text

    return parse


def _whole(low: int, high: int) -> Callable[[str], int | None]:
    def parse(text: str) -> int | None:
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError
        return int(text)

    return parse


def _file(text: str) -> str:
    if text and not Path(text).is_file():
        raise ValueError
    return text


def _dsn(text: str) -> str:
    if text:
        from sentry_sdk.utils import Dsn  # not at the top: only used with a DSN

        Dsn(text)
    return text


def _digests(text: str) -> frozenset[bytes]:
    if not text:
        return frozenset()
    words = text.replace(",", " ").split()
    if not words or not all(len(word) == 64 for word in words):
        raise ValueError
    digests = frozenset(map(bytes.fromhex, words))
    if hashlib.sha256().digest() in digests:
        raise ConfigError(
            "Invalid API_KEYS: it has the digest of an empty key. Make each digest of a key: "
            "printf %s KEY | openssl dgst -sha256 -r"
        )
    return digests


@dataclass(frozen=True)
class Setting:
    """One environment variable: ``expected`` says in words what ``parse`` accepts."""

    name: str
    default: str
    expected: str
    parse: Callable[[str], Any] = str
    secret: bool = False

    def read(self, env: Mapping[str, str]) -> Any:
        """Its value in ``env``, or the default where it is absent or blank. Raises ConfigError.

        Surrounding blanks and line breaks are ignored: they come from files, and nobody sees them.
        """
        text = env.get(self.name, "").strip() or self.default
        try:
            if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
                raise ValueError
            return self.parse(text)
        except (ValueError, OSError, LookupError, ArgumentError, ProgrammingError):
            shown = "" if self.secret else f" {text!r}"
            raise ConfigError(f"Invalid {self.name}{shown}: expected {self.expected}.") from None


_secret = functools.partial(Setting, secret=True)

SETTINGS = (
    _secret("DATABASE_URL", "", f"{URL_RULE}, special characters %-escaped", _database_url),
    Setting("RDS_HOSTNAME", "", "the database's host, where DATABASE_URL is not given"),
    Setting("RDS_PORT", "5432", "a port, 1 to 65535", _whole(1, 65535)),
    Setting("RDS_DB_NAME", "ebdb", "the database's name"),
    Setting("RDS_USERNAME", "", "the database's user"),
    _secret("RDS_PASSWORD", "", "that user's password, not escaped"),
    _secret("RDS_NEXT_PASSWORD", "", "the next password, tried when RDS_PASSWORD is refused"),
    Setting("DATABASE_TLS", "", "one of " + ", ".join(TLS_MODES), _one_of(*TLS_MODES)),
    Setting("DATABASE_CA_FILE", "", "a readable file of PEM certificates", _file),
    Setting("TIME_ZONE", "UTC", "an IANA time zone such as Europe/Berlin", clock.parse_zone),
    _secret(
        "API_KEYS", "", "SHA-256 digests (hex) of keys that may write, comma-separated", _digests
    ),
    _secret("SENTRY_DSN", "", "a DSN of Sentry, such as https://KEY@HOST/PROJECT", _dsn),
    Setting("SENTRY_ENVIRONMENT", "development", "the name of the environment in Sentry"),
    Setting("LOG_LEVEL", "INFO", "one of " + ", ".join(LOG_LEVELS), _one_of(*LOG_LEVELS)),
    Setting("APP_VERSION", "dev", "the deployed version, shown at /livez"),
    Setting("HOST", "127.0.0.1", "the IP address to listen on, such as 0.0.0.0 or ::1", _address),
    Setting("PORT", "8000", "a port, 1 to 65535", _whole(1, 65535)),
    Setting("WORKERS", "2", "the number of server processes, 1 to 64", _whole(1, 64)),
    Setting("THREADS", "4", "the number of threads of each worker, 2 to 64", _whole(2, 64)),
)


def load(env: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of the Flask application, with that of its server under the key SERVER.

    Raises ConfigError on the first variable of ``env`` that is invalid or missing.
    """
    values = {setting.name: setting.read(env) for setting in SETTINGS}
    same = ("API_KEYS", "APP_VERSION", "LOG_LEVEL", "SENTRY_DSN", "SENTRY_ENVIRONMENT", "TIME_ZONE")
    return {
        **{name: values[name] for name in same},
        "DATABASE_NEXT_PASSWORD": values["RDS_NEXT_PASSWORD"],
        "SERVER": {name.lower(): values[name] for name in ("HOST", "PORT", "WORKERS", "THREADS")},
        "SQLALCHEMY_DATABASE_URI": _database(values),
    }


def read(name: str, env: Mapping[str, str]) -> Any:
    """The value of the one variable ``name``. Raises ConfigError."""
    return next(setting for setting in SETTINGS if setting.name == name).read(env)


def _database(values: Mapping[str, Any]) -> URL:
    url: URL | None = values["DATABASE_URL"]
    if url is None and not values["RDS_HOSTNAME"]:
        raise ConfigError(
            f"DATABASE_URL is missing: expected {URL_RULE}, or the parts in RDS_HOSTNAME, "
            "RDS_PORT, RDS_DB_NAME, RDS_USERNAME and RDS_PASSWORD."
        )
    if url is None:
        parts = ("USERNAME", "PASSWORD", "HOSTNAME", "PORT", "DB_NAME")
        url = URL.create(DRIVER, *(values[f"RDS_{part}"] for part in parts))
    tls = {"sslmode": values["DATABASE_TLS"], "sslrootcert": values["DATABASE_CA_FILE"]}
    return url.update_query_dict({name: value for name, value in tls.items() if value})
