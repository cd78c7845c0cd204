"""Where an environment is reached: by its own address, and by the public name that leads there."""

import re
import socket

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.base.findings import UNKNOWN, Finding, not_ready, ready
from deploy.resources.beanstalk import State


def find_swapped(run: Run, state: State) -> str:
    """The environment whose address ``state`` has, or empty if it has its own.

    An address begins with the name of its environment, as no other prefix is asked for:
    docs.aws.amazon.com/elasticbeanstalk/latest/api/API_CreateEnvironment.html, CNAMEPrefix.
    """
    prefix = state.cname.partition(".")[0]
    is_ours = re.fullmatch(rf"{re.escape(run.settings.name(''))}[a-z0-9]{{2,20}}", prefix)
    return prefix if is_ours and prefix != state.name else ""


def swap_back(run: Run, name: str, other: str) -> str:
    """The command that swaps the addresses of two environments."""
    return run.settings.aws(
        f"elasticbeanstalk swap-environment-cnames --source-environment-name {name} "
        f"--destination-environment-name {other}"
    )


def refuse_swapped(run: Run, state: State) -> None:
    """Raise Failure if ``state`` has the address of another environment, whose users it serves."""
    if other := find_swapped(run, state):
        raise Failure(
            f"{state.name} has the address of {other}: somebody swapped them, and a deployment "
            f"would be tested by the users of {other}",
            next=f"{swap_back(run, state.name, other)}; then run it again",
        )


def check(name: str, host: str) -> list[Finding]:
    """Whether DNS leads from ``name`` to ``host``. Without an answer, that is unknown."""
    try:
        wanted = _find_addresses(host)
        found = _find_addresses(name)
    except OSError as error:
        return [Finding(UNKNOWN, f"DNS did not answer: {error}", "run it again")]
    remedy = f"in DNS, point {name} to {host}"
    if not found:
        return not_ready(f"{name} does not exist in DNS", remedy)
    if not wanted:
        return [Finding(UNKNOWN, f"{host} has no address yet", "run it again")]
    if not found & wanted:
        return not_ready(f"{name} points to another host than {host}", remedy)
    return ready(f"{name} points to {host}")


def _find_addresses(name: str) -> set[str]:
    """The addresses of ``name``; empty if it does not exist. Raises OSError without an answer."""
    try:
        found = socket.getaddrinfo(name.partition(":")[0], None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            return set()
        raise
    return {str(address[0]) for *_, address in found}
