"""What is ready of one environment."""

import re
from datetime import UTC, datetime
from functools import partial

from deploy.base.context import Run
from deploy.base.findings import Finding, answered, not_ready, ready
from deploy.base.settings import read_text
from deploy.commands import credentials, drift
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.delivery import smoke
from deploy.resources import (
    addresses,
    backups,
    beanstalk,
    certificates,
    metrics,
    monitoring,
    probe,
)
from deploy.resources.beanstalk import State

NGINX = ".platform/nginx/nginx.conf"
MADE_FOR = re.compile(r"^# Platform: (\d+\.\d+)\.\d+", re.MULTILINE)
RUNS_ON = re.compile(r" v((\d+\.\d+)\.\d+) ")


def find_state(run: Run, environment: Environment) -> State | None:
    """The state of ``environment``, or None if there is none. Raises AwsFailure."""
    return beanstalk.find(run, environment.name)


def check_state(run: Run, environment: Environment, state: State | None) -> list[Finding]:
    """Whether it exists, and is healthy."""
    short, program = environment.short, run.settings.program
    if state is None:
        what = f"there is no {environment.name} in {run.settings.region}"
        return not_ready(what, run.settings.elsewhere(f"create {short}"))
    what = f"{state.status} {state.colour}/{state.health}, version {state.version or 'none'}"
    if (state.status, state.colour) == ("Ready", "Green"):
        return ready(what)
    return not_ready(what, f"{program} status {short}")


def check_certificate(run: Run, environment: Environment) -> list[Finding]:
    """Whether it has a certificate that is issued, or may serve without one. Raises Failure."""
    environment.refuse_plain_http()
    arn = certificates.find(run, environment)
    if not arn:
        return ready("none: plain HTTP is accepted for it")
    found = run.aws.ask("acm", "describe_certificate", CertificateArn=arn)["Certificate"]
    if found["Status"] != "ISSUED":
        remedy = run.settings.aws(f"acm describe-certificate --certificate-arn {arn}")
        return not_ready(
            f"{arn} is {found['Status']}", f"create the record in DNS that this shows: {remedy}"
        )
    return ready(f"issued, until {found['NotAfter']:%Y-%m-%d}")


def check_dns(run: Run, environment: Environment) -> list[Finding]:
    """Whether its public name leads to it. Raises Failure."""
    place = smoke.locate(run, environment)
    return (
        addresses.check(place.name, place.host) if place.host else ready(f"{place.name}, AWS's own")
    )


def check_secrets(run: Run, environment: Environment) -> list[Finding]:
    """Whether each secret that it needs has a value. Raises Failure."""
    found = credentials.find(run, environment)
    missing = [one.name for one in found if not one.exists]
    if not missing:
        return ready(", ".join(one.name for one in found))
    program, short = run.settings.program, environment.short
    remedies = "; ".join(f"{program} secrets set {short} {name}" for name in missing)
    return not_ready(f"without a value: {', '.join(missing)}", remedies)


def check_backups(run: Run, environment: Environment) -> list[Finding]:
    """Whether the newest backup of each region is recent. Raises AwsFailure."""
    if environment.destinations() is None:
        return ready(f"none: {environments.NAME} configures none")
    now, findings = datetime.now(UTC), list[Finding]()
    for region in backups.find_regions(run, environment):
        findings += _check_region(run.at(region), environment, now)
    return findings


def _check_region(run: Run, environment: Environment, now: datetime) -> list[Finding]:
    program, found = run.settings.program, backups.find_newest(run, environment)
    line = backups.explain(run.settings.region, found, now).removeprefix("LATE").strip()
    if not backups.is_late(found, now):
        return ready(line)
    verb = "install" if found == backups.ABSENT else "list"
    return not_ready(line, f"{program} backups {verb} {environment.short}")


def check_alarms(run: Run, environment: Environment, state: State) -> list[Finding]:
    """Whether its alarms watch it, and whether each of their metrics has data. Raises Failure."""
    if not monitoring.is_watched(run, state.name):
        what = "its alarms are missing, or on another load balancer"
        return not_ready(what, f"{run.settings.program} create {environment.short}")
    return metrics.check(run, environment, state, datetime.now(UTC))


def check_probe(run: Run, environment: Environment) -> list[Finding]:
    """Whether its public name is asked from outside. Raises AwsFailure."""
    public = environment.parameters().get("PublicName")
    if not public:
        return ready("none: it has no public name")
    if probe.is_made(run, environment):
        return ready(f"{public} is asked from outside")
    what = f"no alarm fires if nobody gets to {public}"
    remedy = f"once DNS leads to it: {run.settings.program} create {environment.short}"
    return not_ready(what, remedy)


def check_by_hand(run: Run, environment: Environment, state: State) -> list[Finding]:
    """What was changed by hand. What AWS does not answer is unknown, beside the rest."""
    found = [
        finding
        for question in drift.QUESTIONS.values()
        for finding in answered(partial(question, run, environment, state))
    ]
    return found or ready("nothing that AWS shows")


def check_platform(run: Run, state: State) -> list[Finding]:
    """Whether its platform is the one that our nginx.conf replaces the file of.

    A patch, the third number, brings no features: docs.aws.amazon.com/elasticbeanstalk/latest/dg/
    environment-platform-update-managed.html. Raises InvalidConfig.
    """
    made, runs = (
        MADE_FOR.search(read_text(run.settings.root, NGINX)),
        RUNS_ON.search(state.platform),
    )
    if made and runs and made[1] == runs[2]:
        return ready(f"{runs[1]}; {NGINX} is for {made[1]}")
    return not_ready(
        f"it is {state.platform or 'unknown'}, and {NGINX} is for {made[1] if made else 'unknown'}",
        f"compare {NGINX} with /etc/nginx/nginx.conf of that version, and write the version there",
    )
