"""The state of everything, on one screen: "unknown" where AWS does not answer, never "none"."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, Interrupted, NotFound
from deploy.base.settings import Settings
from deploy.commands import credentials, pipeline
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.delivery import approval, history
from deploy.delivery.history import Entry
from deploy.resources import backups, beanstalk, certificates, monitoring, secretsmanager
from deploy.resources.backups import Backup
from deploy.resources.beanstalk import State

T = TypeVar("T")
DEPLOYMENTS = 3  # lines of history for each environment
NO_PIPELINE = "PipelineNotFoundException"
WORDS = {"deploy": "succeeded", "rollback": "rolled back to", "failed": "FAILED"}


@dataclass(frozen=True)
class Alarm:
    """An alarm that fires, or that has no data."""

    name: str
    since: datetime | None
    description: str
    has_data: bool = True


@dataclass
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
    watched: bool | None = None  # whether its alarms watch the current load balancer
    pipeline_id: str | None = None  # by which the pipeline knows it; None also without a pipeline
    certificate_days: int | None = None  # None also if there is no certificate
    # By region, or why there is none; None also where none is configured
    backups: dict[str, Backup | str] | None = None
    unknown: list[str] = field(default_factory=list)


@dataclass
class Overview:
    """The whole report: ``shared`` has the alarms of no environment, ``pending`` the approvals."""

    region: str
    environments: list[Report]
    shared: list[Alarm] | None = None
    pending: list[str] | None = None  # stages; None also if there is no pipeline
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
    overview = Overview(run.settings.region, [])
    alarms = _answered(overview.unknown, "alarms", lambda: _find_alarms(run))
    ids = _answered(overview.unknown, "ids in the pipeline", lambda: pipeline.find_ids(run)) or {}
    for name, state in sorted(found.items()):
        if wanted is None or name == wanted.name:
            report = _report(run, name, state, known.get(name), alarms)
            report.pipeline_id = ids.get(name)
            overview.environments.append(report)
    if alarms is not None:
        overview.shared = [
            one for one in alarms if not any(_belongs(one, name) for name in known | found)
        ]
    overview.pending = _answered(overview.unknown, "pipeline", lambda: _find_pending(run))
    return overview


def show(run: Run, wanted: Environment | None, as_json: bool) -> bool:
    """Print the report once.

    Returns whether AWS answered every request; raises the same as ``find``.
    """
    overview = find(run, wanted)
    text = to_json(overview) if as_json else to_text(run.settings, overview, datetime.now(UTC))
    run.console.result(text)
    return overview.is_whole


def watch(run: Run, wanted: Environment | None) -> None:
    """Print the report repeatedly, until a signal ends it. Raises NotFound."""
    try:
        while True:
            now = datetime.now(UTC)
            try:
                text = to_text(run.settings, find(run, wanted), now)
            except AwsFailure as failure:
                text = f"unknown: {failure.what}"
            run.console.screen(
                f"{now:%H:%M:%S} UTC in {run.settings.region}, Ctrl-C ends it\n\n{text}"
            )
            time.sleep(run.settings.poll)
    except Interrupted:
        return


def to_json(overview: Overview) -> str:
    """For programs. Times are in ISO 8601, in UTC."""
    return json.dumps(
        asdict(overview) | {"complete": overview.is_whole}, indent=2,
        default=lambda value: value.isoformat(),
    )  # fmt: skip


def to_text(settings: Settings, overview: Overview, now: datetime) -> str:
    """The report for people; ages are relative to ``now``."""
    lines = []
    for one in overview.environments:
        lines += [*_lines(settings, one, now), ""]
    if not overview.environments:
        lines += [f"there is no environment in {overview.region}", ""]
    for alarm in overview.shared or []:
        lines.append(_alarm(alarm, now))
    lines += [f"pending approval: {stage}" for stage in overview.pending or []]
    lines += [f"unknown: {what}" for what in overview.unknown]
    return "\n".join(lines).rstrip()


def _report(
    run: Run, name: str, state: State, known: Environment | None, alarms: list[Alarm] | None
) -> Report:
    parameters = known.parameters() if known else {}
    public = parameters.get("PublicName")
    report = Report(
        name, state, f"https://{public}" if public else f"http://{state.cname}",
        monitoring.dashboard_url(run, name),
    )  # fmt: skip
    unknown = report.unknown
    if alarms is not None:
        report.alarms = [one for one in alarms if _belongs(one, name)]
    report.instances = _answered(
        unknown, "instances", lambda: dict(beanstalk.find_running(run, name))
    )
    report.deployments = _answered(
        unknown, "deployments",
        lambda: history.find_last(run, name, DEPLOYMENTS),
    )  # fmt: skip
    report.writes_stopped = _answered(
        unknown, "whether writes are stopped",
        lambda: credentials.KEYS_BEFORE in (secretsmanager.read(run, f"{name}/application") or {}),
    )  # fmt: skip
    report.watched = _answered(unknown, "dashboard", lambda: monitoring.is_watched(run, name))
    if known and parameters.get("Certificate"):
        report.certificate_days = _answered(
            unknown, "certificate", lambda: _days_left(run, certificates.find(run, known))
        )
    if known and known.destinations():
        report.backups = _find_backups(run, known, unknown)
    return report


def _find_backups(
    run: Run, environment: Environment, unknown: list[str]
) -> dict[str, Backup | str]:
    """The newest backup of each region, also while another region does not answer."""
    found: dict[str, Backup | str] = {}
    for region in backups.find_regions(run, environment):
        try:
            found[region] = backups.find_newest(run.at(region), environment)
        except AwsFailure as failure:
            unknown.append(f"backups in {region}: {failure.what}")
    return found


def _answered(unknown: list[str], what: str, question: Callable[[], T]) -> T | None:
    try:
        return question()
    except Failure as failure:
        unknown.append(f"{what}: {failure.what}")
        return None


def _find_alarms(run: Run) -> list[Alarm]:
    """Our alarms that are firing or have no data; not Beanstalk's alarms for scaling."""
    pages = run.aws.pages(
        "cloudwatch", "describe_alarms",
        AlarmNamePrefix=f"{run.settings.application}-",
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )  # fmt: skip
    found = [
        one
        for page in pages
        for kind in ("MetricAlarms", "CompositeAlarms")
        for one in page.get(kind, [])
    ]
    return [
        Alarm(one["AlarmName"], one.get("StateUpdatedTimestamp"), one.get("AlarmDescription", ""),
              one["StateValue"] == "ALARM")
        for one in found
        if one["StateValue"] != "OK" and one.get("AlarmActions")
    ]  # fmt: skip


def _belongs(alarm: Alarm, name: str) -> bool:
    return alarm.name.startswith(f"{name}-")


def _find_pending(run: Run) -> list[str] | None:
    try:
        found = approval.find_pending(run, run.settings.application)
    except AwsFailure as failure:
        if failure.code == NO_PIPELINE:
            return None
        raise
    return [f"{one.action}, in the stage {one.stage}" for one in found]


def _days_left(run: Run, certificate: str) -> int:
    found = run.aws.ask("acm", "describe_certificate", CertificateArn=certificate)["Certificate"]
    if "NotAfter" not in found:
        raise AwsFailure(f"the certificate {certificate} is {found['Status']}", "see ACM")
    days: int = (found["NotAfter"] - datetime.now(UTC)).days
    return days


def _lines(settings: Settings, report: Report, now: datetime) -> list[str]:
    state, short = report.state, report.name.removeprefix(settings.name(""))
    health = f"{state.colour}/{state.health}"
    lines = [f"{report.name}  {state.status}  {health}  {state.version or 'no version'}"]
    lines.append(f"  address      {report.address}")
    if not report.address.endswith(f"/{state.cname}"):
        lines.append(f"  host         {state.cname}, to which DNS points that name")
    if report.instances is not None:
        running = ", ".join(
            f"{count} run {label}" for label, count in sorted(report.instances.items())
        )
        lines.append(f"  instances    {running or 'none'}")
    for entry in report.deployments or []:
        detail = f": {entry.detail}" if entry.detail else ""
        lines.append(
            f"  deployed     {_age(entry.at, now)} ago  {WORDS[entry.kind]} {entry.label}  "
            f"{entry.who or 'unknown'}{detail}"
        )
    if report.alarms is not None:
        lines += [f"  {_alarm(one, now)}" for one in report.alarms]
        if not report.alarms:
            lines.append("  alarms       none firing")
    if report.certificate_days is not None:
        lines.append(f"  certificate  {report.certificate_days} days left")
    if report.backups:
        remedy = f"{settings.program} backups install {short}"
        lines.append(f"  backups      {_describe_backups(report.backups, remedy, now)}")
    lines += _faults(settings, report, short)
    lines.append(f"  dashboard    {report.dashboard}")
    return lines + [f"  unknown      {what}" for what in report.unknown]


def _faults(settings: Settings, report: Report, short: str) -> list[str]:
    """What is not as it should be, and the command that ends it."""
    other, program = report.pipeline_id, settings.program
    where = f"it may deploy to {other}, and this is {report.state.id}"
    found = (
        (report.writes_stopped, "NO WRITES    they are stopped", f"writes allow {short}"),
        (
            report.watched is False,
            "NOT WATCHED  its alarms are missing, or on another load balancer",
            f"create {short}",
        ),
        (other not in (None, report.state.id), f"NO PIPELINE  {where}", "bootstrap"),
    )
    return [f"  {what}: {program} {remedy}" for is_so, what, remedy in found if is_so]


def _describe_backups(found: dict[str, Backup | str], remedy: str, now: datetime) -> str:
    if set(found.values()) == {backups.ABSENT}:
        return f"{backups.ABSENT}: {remedy}"
    return ", ".join(_describe_backup(region, one, now) for region, one in found.items())


def _describe_backup(region: str, backup: Backup | str, now: datetime) -> str:
    age = backup if isinstance(backup, str) else f"{_age(backup.at, now)} old"
    return f"{region} {age}{' LATE' if backups.is_late(backup, now) else ''}"


def _alarm(alarm: Alarm, now: datetime) -> str:
    since = f" for {_age(alarm.since, now)}" if alarm.since else ""
    sentence = alarm.description.partition("What to do:")[0].strip()
    word = "ALARM       " if alarm.has_data else "no data     "
    return f"{word} {alarm.name}{since}: {sentence}"


def _age(moment: datetime, now: datetime) -> str:
    minutes = int((now - moment).total_seconds()) // 60
    if minutes < 120:
        return f"{max(minutes, 0)} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
