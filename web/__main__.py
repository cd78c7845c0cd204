"""Serve the application, as configured by environment variables.

Usage: python -m web [--quiet]

--quiet suppresses the server's messages about its own start and stop.
"""

import functools
import logging.config
import os
import signal
import socket
import sys
from datetime import timedelta
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from web import config, create_app, log
from web.deadman import DeadMan

GRACE = timedelta(seconds=8)  # for requests in flight at SIGTERM; Docker kills after 10

# For the next request on a connection, and for the headers of a request. nginx on Beanstalk keeps
# idle connections for 60 s; if we closed them first, a request sent at that moment would be lost
IDLE_TIMEOUT = timedelta(seconds=75)

QUIET = "--quiet" in sys.argv[1:]
STOPPING = {signal.SIGINT, signal.SIGTERM}


class Server(MPServer):
    """granian, with workers that obey SIGTERM from the start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Python loses signals that a child receives before its fork handlers have run
        hold = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, STOPPING)
        release = functools.partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOPPING)
        os.register_at_fork(before=hold, after_in_parent=release, after_in_child=release)

    def signal_handler_interrupt(self, *args: object, **kwargs: object) -> None:
        """Stop. A worker inherits this handler, and installs its own only once it has loaded."""
        if os.getpid() != self.pid:
            os._exit(0)
        super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]


def main(
    target: str = "web.__main__:load", idle: timedelta = IDLE_TIMEOUT, grace: timedelta = GRACE
) -> None:
    """Serve what ``target`` makes until SIGTERM or SIGINT, then finish requests within ``grace``.

    Exits at once, with one line, when the configuration is invalid or the address is in use.
    """
    try:
        settings = config.load(os.environ)
    except config.ConfigError as error:
        raise SystemExit(f"web: {error.message}") from None
    server = settings["SERVER"]
    refuse_second(server["host"], server["port"])
    Server(
        target,
        factory=True,
        interface=Interfaces.WSGI,
        address=server["host"],
        port=server["port"],
        workers=server["workers"],
        blocking_threads=server["threads"],
        # HTTP/2 without TLS is not needed behind nginx, and would accept headers of 16 MB
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=idle // timedelta(milliseconds=1)),
        respawn_failed_workers=True,
        workers_kill_timeout=int(grace.total_seconds()),
        websockets=False,
        log_level=LogLevels.warning if QUIET else LogLevels.info,
        log_dictconfig=_begin_log(settings),
    ).serve()


def _begin_log(settings: dict[str, Any]) -> dict[str, Any]:
    """The set-up of ``logging``, after a first line that says who may write."""
    logs = log.configuration(settings["LOG_LEVEL"])
    everybody = "everybody may write, because API_KEYS is not set"
    if not QUIET:
        logging.config.dictConfig(logs)
        logging.getLogger("web").info("writing needs a key" if settings["API_KEYS"] else everybody)
    return logs


def load() -> DeadMan:
    """The application of one worker."""
    app = create_app()
    return DeadMan(app, app.config["SERVER"]["threads"])


def refuse_second(host: str, port: int) -> None:
    """Exit if another program listens on ``port``: two granian servers would share it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SystemExit(
                f"web: cannot listen on port {port} of {host} ({error.strerror}). Stop the other "
                "program, or choose another PORT."
            ) from None


if __name__ == "__main__":
    main()
