"""What `create` and `bootstrap` look at before they change anything: a part of what doctor does."""

from collections.abc import Callable
from functools import partial

from deploy.base.context import Run
from deploy.base.findings import NOT_READY, Finding, answered, ready
from deploy.base.settings import CONFIG
from deploy.config import environments, owner
from deploy.config.environments import Environment
from deploy.config.owner import Owner
from deploy.resources import account, services

Check = Callable[[Run], list[Finding]]

# Those whose answer stops nothing: it may be about another environment, or be unknown
HINTS: dict[str, Check] = {
    "services": services.check,
    "vCPUs": account.check_vcpus,
    "VPCs": account.check_vpcs,
}


def require(run: Run, environment: Environment | None = None) -> Owner:
    """Refuse what would fail later, for ``environment`` or the pipeline; print what else is open.

    Returns the owner. Raises Failure.
    """
    environments.refuse_region(run.settings)
    if environment:
        environment.refuse_plain_http()
    responsible = owner.read_for_use(run.settings.root)
    if environment:
        account.refuse_unsafe(run, environment)
    for name, check in HINTS.items():
        hint(run, name, check)
    return responsible


def hint(run: Run, name: str, check: Check) -> None:
    """Print what ``check`` finds open about ``name``; it is no failure if AWS does not answer."""
    for one in answered(partial(check, run)):
        if one.state == NOT_READY:
            run.console.say(f"{name}: {one.what}", one.next)
        elif one.is_open:
            run.console.say(f"{name}: unknown: {one.what}")


def check_region(run: Run) -> list[Finding]:
    """Which region the commands act in, and what names it. Raises Failure for a foreign one."""
    settings = run.settings
    environments.refuse_region(settings)
    return ready(
        f"{settings.region}, by {settings.region_variable or f'default_region in {CONFIG}'}"
    )


def check_owner(run: Run) -> list[Finding]:
    """Who is responsible. Raises InvalidConfig for a placeholder."""
    found = owner.read_for_use(run.settings.root)
    return ready(f"{found.team}, {found.email}; urgent: {found.escalation}")
