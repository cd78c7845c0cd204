"""The whole report on one screen, in the order of the first day."""

from collections.abc import Iterator
from functools import partial

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.base.findings import Finding, answered, later, not_ready, ready
from deploy.commands import pipeline
from deploy.commands.doctor import environment as one
from deploy.commands.doctor import machine, preflight
from deploy.commands.doctor.preflight import Check
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.resources import account, subscriptions


def show(run: Run, wanted: Environment | None) -> bool:
    """Print what is ready for ``wanted``, or for every environment; return whether everything is.

    Raises InvalidConfig for devops/environments.toml.
    """
    known = [wanted] if wanted else list(environments.read(run.settings).values())
    sections = [("This machine and the account", _shared())]
    sections += [(found.name, _own(run, found)) for found in known]
    is_ready, said = True, set()
    for title, checks in sections:
        run.console.result(f"{title}")
        for name, check in checks:
            for finding in ask(run, check):
                is_ready &= not finding.is_open
                # Without credentials, most checks have the same reason
                is_known = bool(finding.next) and finding.what in said
                what = "as above" if is_known else finding.what
                run.console.result(f"  {finding.state:9}  {name:13}  {what}")
                if finding.next and not is_known:
                    run.console.result(f"{'':28}next: {finding.next}")
                said.add(finding.what)
    return is_ready


def ask(run: Run, check: Check) -> list[Finding]:
    """The findings of ``check``, whatever happens: a failure is not ready, or unknown."""
    try:
        return answered(partial(check, run))
    except Failure as failure:
        return not_ready(failure.what, failure.next)


def _shared() -> Iterator[tuple[str, Check]]:
    yield from machine.CHECKS
    yield "identity", _check_identity
    yield "region", preflight.check_region
    yield "services", preflight.HINTS["services"]
    yield "settings", account.find_unsafe
    yield "vCPUs", preflight.HINTS["vCPUs"]
    yield "VPCs", preflight.HINTS["VPCs"]
    yield "owner", preflight.check_owner
    yield "messages", subscriptions.check
    yield "GitHub", _check_connection
    yield "CodeBuild", _foretell_builds


def _own(run: Run, environment: Environment) -> Iterator[tuple[str, Check]]:
    yield "certificate", partial(one.check_certificate, environment=environment)
    state = None
    try:
        state = one.find_state(run, environment)
    except Failure as failure:
        yield "environment", partial(_fail, failure=failure)
        return
    yield "environment", partial(one.check_state, environment=environment, state=state)
    if state is None:
        return
    yield "DNS", partial(one.check_dns, environment=environment)
    yield "secrets", partial(one.check_secrets, environment=environment)
    yield "backups", partial(one.check_backups, environment=environment)
    yield "alarms", partial(one.check_alarms, environment=environment, state=state)
    yield "probe", partial(one.check_probe, environment=environment)
    yield "by hand", partial(one.check_by_hand, environment=environment, state=state)
    yield "platform", partial(one.check_platform, state=state)


def _fail(_: Run, failure: Failure) -> list[Finding]:
    raise failure


def _check_identity(run: Run) -> list[Finding]:
    profile = run.settings.profile
    return ready(
        f"{run.aws.caller()} in account {run.aws.account()}"
        + (f", by the profile {profile}" if profile else "")
    )


def _check_connection(run: Run) -> list[Finding]:
    status = pipeline.find_connection(run)
    if status == pipeline.CONNECTED:
        return ready(f"the connection is {status}")
    bootstrap = f"{run.settings.program} bootstrap"
    if not status:
        return not_ready("there is no connection, and no pipeline", bootstrap)
    url = f"{run.settings.console_url}/codesuite/settings/connections"
    return not_ready(f"the connection is {status}", f"complete it at {url}, then {bootstrap}")


def _foretell_builds(_: Run) -> list[Finding]:
    """No query tells it before the first build is refused."""
    return later(
        'a new account may be refused its first build ("Cannot have more than 0 builds in queue")',
        'write to AWS Support, "Account and billing": "Please let this account start builds in '
        'CodeBuild; Service Quotas does not show why it may not."',
    )
