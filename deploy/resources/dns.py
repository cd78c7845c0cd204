"""Whether a public name leads to an environment, by the addresses of both."""

import socket

from deploy.base.findings import UNKNOWN, Finding, not_ready, ready


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
        return not_ready(f"{name} leads to another host than {host}", remedy)
    return ready(f"{name} leads to {host}")


def _find_addresses(name: str) -> set[str]:
    """The addresses of ``name``; empty if it does not exist. Raises OSError without an answer."""
    try:
        found = socket.getaddrinfo(name.partition(":")[0], None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            return set()
        raise
    return {str(address[0]) for *_, address in found}
