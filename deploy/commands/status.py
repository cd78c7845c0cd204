"""The state of everything. What AWS does not answer is None, listed as unknown, never "none"."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound
from deploy.base.findings import UNKNOWN, Finding
from deploy.commands import credentials, drift, pipeline
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.delivery import approval, history
from deploy.delivery.history import Entry
from deploy.resources import (
    backups,
    beanstalk,
    certificates,
    lock,
    monitoring,
    probe,
    subscriptions,
)
from deploy.resources.backups import Backup
from deploy.resources.beanstalk import State

T = TypeVar("T")
DEPLOYMENTS = 3  # lines of history for each environment


@dataclass(frozen=True)
class Alarm:
    """An alarm that fires, or that has no data."""

    name: str
    since: datetime | None
    description: str
    has_data: bool = True


@dataclass(frozen=True)
class Report:
    """The state of one environment; None where AWS did not answer, and ``unknown`` says why."""

    name: str
    state: State
    address: str
    dashboard: str
    instances: dict[str, int] | None = None  # the number of instances that run each version
    deployments: list[Entry] | None = None  # the newest first
    alarms: list[Alarm] | None = None
    writes_stopped: bool | None = None
    locked_by: str | None = None  # the run that works on it; empty if there is none
    watched: bool | None = None  # whether its alarms watch the current load balancer
    probed: bool | None = None  # whether its public name is asked from outside; None also without
    pipeline_id: str | None = None  # by which the pipeline knows it; None also without a pipeline
    certificate_days: int | None = None  # None also if there is no certificate
    # By region, or why there is none; None also where none is configured
    backups: dict[str, Backup | str] | None = None
    by_hand: list[Finding] = field(default_factory=list)  # what was changed; unknown has the rest
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Overview:
    """The whole report.

    ``shared`` has the alarms of no environment, ``pending`` the approvals, and ``unconfirmed`` the
    addresses that get no messages.
    """

    region: str
    environments: list[Report]
    shared: list[Alarm] | None = None
    pending: list[str] | None = None  # stages; None also if there is no pipeline
    unconfirmed: list[Finding] = field(default_factory=list)  # the rest is in unknown
    unknown: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether AWS answered every request."""
        return not (self.unknown or any(one.unknown for one in self.environments))


def find(run: Run, wanted: Environment | None = None) -> Overview:
    """The state of ``wanted``, or of every environment.

    Raises NotFound if ``wanted`` does not exist, and AwsFailure if AWS does not list the
    environments.
    """
    found = beanstalk.find_all(run)
    if wanted is not None and wanted.name not in found:
        raise NotFound(
            f"there is no environment {wanted.name} in {run.settings.region}",
            next=run.settings.elsewhere(f"create {wanted.short}"),
        )
    known = {one.name: one for one in environments.read(run.settings).values()}
    unknown: list[str] = []
    alarms = _answered(unknown, "alarms", lambda: _find_alarms(run))
    outside = _answered(unknown, f"alarms in {probe.REGION}", lambda: _find_outside(run, known))
    ids = _answered(unknown, "ids in the pipeline", lambda: pipeline.find_ids(run)) or {}
    reports = [
        _report(run, state, known.get(name), [alarms, outside], ids.get(name))
        for name, state in sorted(found.items())
        if wanted is None or name == wanted.name
    ]
    shared = alarms and [
        one for one in alarms if not any(_belongs(one, name) for name in known | found)
    ]
    pending = _answered(unknown, "pipeline", lambda: _find_pending(run))
    unconfirmed = _find_unconfirmed(run, unknown) if reports else []
    return Overview(run.settings.region, reports, shared, pending, unconfirmed, unknown)


def _report(
    run: Run,
    state: State,
    known: Environment | None,
    alarms: list[list[Alarm] | None],
    pipeline_id: str | None,
) -> Report:
    name, unknown = state.name, list[str]()
    parameters = known.parameters() if known else {}
    public = parameters.get("PublicName")

    def ask(what: str, question: Callable[[], T]) -> T | None:
        return _answered(unknown, what, question)

    return Report(
        name,
        state,
        f"https://{public}" if public else f"http://{state.cname}",
        monitoring.dashboard_url(run, name),
        ask("instances", lambda: dict(beanstalk.find_running(run, name))),
        ask("deployments", lambda: history.find_last(run, name, DEPLOYMENTS)),
        _select(alarms if public else alarms[:1], name),
        ask("whether writes are stopped", lambda: credentials.are_writes_stopped(run, name)),
        ask("who works on it", lambda: lock.find_holder(run, name)),
        ask("dashboard", lambda: monitoring.is_watched(run, name)),
        ask("probe", lambda: probe.is_made(run, known)) if known and public else None,
        pipeline_id,
        ask("certificate", lambda: _days_left(run, certificates.find(run, known)))
        if known and parameters.get("Certificate")
        else None,
        _find_backups(run, known, unknown) if known and known.destinations() else None,
        _find_by_hand(run, known, state, unknown) if known else [],
        unknown,
    )


def _find_backups(
    run: Run, environment: Environment, unknown: list[str]
) -> dict[str, Backup | str]:
    """The newest backup of each region, also while another region does not answer."""
    found = {}
    for region in backups.find_regions(run, environment):
        question = partial(backups.find_newest, run.at(region), environment)
        newest = _answered(unknown, f"backups in {region}", question)
        if newest is not None:
            found[region] = newest
    return found


def _find_by_hand(
    run: Run, environment: Environment, state: State, unknown: list[str]
) -> list[Finding]:
    found = []
    for what, question in drift.QUESTIONS.items():
        ask = partial(question, run, environment, state)
        found += _answered(unknown, f"changes by hand, {what}", ask) or []
    return found


def _find_unconfirmed(run: Run, unknown: list[str]) -> list[Finding]:
    found = _answered(unknown, "who gets messages", lambda: subscriptions.check(run)) or []
    unknown += [f"who gets messages: {one.what}" for one in found if one.state == UNKNOWN]
    return [one for one in found if one.is_open and one.state != UNKNOWN]


def _answered(unknown: list[str], what: str, question: Callable[[], T]) -> T | None:
    try:
        return question()
    except Failure as failure:
        unknown.append(f"{what}: {failure.what}")
        return None


def _find_alarms(run: Run) -> list[Alarm]:
    """Our alarms that are firing or have no data; not Beanstalk's alarms for scaling."""
    pages = run.aws.pages(
        "cloudwatch",
        "describe_alarms",
        AlarmNamePrefix=f"{run.settings.application}-",
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    return [
        Alarm(
            one["AlarmName"],
            one.get("StateUpdatedTimestamp"),
            one.get("AlarmDescription", ""),
            one["StateValue"] == "ALARM",
        )
        for page in pages
        for one in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]
        if one["StateValue"] != "OK" and one.get("AlarmActions")
    ]


def _find_outside(run: Run, known: Mapping[str, Environment]) -> list[Alarm]:
    """Those of probes, if they are in another region than the environments."""
    names = [probe.alarm(name) for name, one in known.items() if one.parameters().get("PublicName")]
    if not names or run.settings.region == probe.REGION:
        return []
    return [one for one in _find_alarms(run.at(probe.REGION)) if one.name in names]


def _select(answers: list[list[Alarm] | None], name: str) -> list[Alarm] | None:
    """Those of ``name``; None if there are none in the ``answers``, and one of these is missing."""
    found = [one for some in answers for one in some or [] if _belongs(one, name)]
    return None if not found and None in answers else found


def _belongs(alarm: Alarm, name: str) -> bool:
    return alarm.name.startswith(f"{name}-")


def _find_pending(run: Run) -> list[str] | None:
    found = approval.find_pending(run, run.settings.application)
    if found is None:
        return None
    return [f"{one.action}, in the stage {one.stage}" for one in found]


def _days_left(run: Run, certificate: str) -> int:
    found = run.aws.ask("acm", "describe_certificate", CertificateArn=certificate)["Certificate"]
    if "NotAfter" not in found:
        raise AwsFailure(f"the certificate {certificate} is {found['Status']}", "see ACM")
    days: int = (found["NotAfter"] - datetime.now(UTC)).days
    return days
