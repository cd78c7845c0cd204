"""``python -m web``: serve the application, as configured by environment variables."""

import os
from datetime import timedelta

from granian.constants import Interfaces
from granian.server import Server

from web import config, log

GRACE = timedelta(seconds=8)  # for requests in flight at SIGTERM; Docker kills after 10


def main() -> None:
    """Serve until SIGTERM or SIGINT, then let requests in flight finish.

    Exits at once, with one line, when the configuration makes no sense.
    """
    try:
        settings = config.load(os.environ)
    except config.ConfigError as error:
        raise SystemExit(f"web: {error.message}") from None
    server = settings["SERVER"]
    Server(
        "web:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=server["host"],
        port=server["port"],
        workers=server["workers"],
        blocking_threads=server["threads"],
        respawn_failed_workers=True,
        workers_kill_timeout=int(GRACE.total_seconds()),
        log_dictconfig=log.configuration(settings["LOG_LEVEL"]),
    ).serve()


if __name__ == "__main__":
    main()
