"""The state of everything on one screen, or for programs: see status.py for what it has."""

import json
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Interrupted
from deploy.base.settings import Settings
from deploy.commands import status
from deploy.commands.status import Alarm, Overview, Report
from deploy.config.environments import Environment
from deploy.resources import backups
from deploy.resources.backups import Backup

DETAIL = 160  # characters of why a deployment failed; --json has them all
WORDS = {"deploy": "succeeded", "rollback": "rolled back to", "failed": "FAILED"}


def show(run: Run, wanted: Environment | None, as_json: bool) -> bool:
    """Print the report once.

    Returns whether AWS answered every request; raises the same as ``status.find``.
    """
    overview = status.find(run, wanted)
    text = to_json(overview) if as_json else to_text(run.settings, overview, datetime.now(UTC))
    run.console.result(text)
    return overview.is_whole


def watch(run: Run, wanted: Environment | None) -> None:
    """Print the report repeatedly, until a signal ends it. Raises NotFound."""
    try:
        while True:
            now = datetime.now(UTC)
            try:
                text = to_text(run.settings, status.find(run, wanted), now)
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
        asdict(overview) | {"complete": overview.is_whole},
        indent=2,
        default=lambda value: value.isoformat(),
    )


def to_text(settings: Settings, overview: Overview, now: datetime) -> str:
    """The report for people; ages are relative to ``now``."""
    lines = []
    for one in overview.environments:
        lines += [*_lines(settings, one, now), ""]
    if not overview.environments:
        lines += [f"there is no environment in {overview.region}", ""]
    for alarm in overview.shared or []:
        lines.append("{:12} {}".format(*_alarm(alarm, now)))
    lines += [f"pending approval: {stage}" for stage in overview.pending or []]
    lines += [f"NO MESSAGES  {one.what}: {one.next}" for one in overview.unconfirmed]
    lines += [f"unknown: {what}" for what in overview.unknown]
    return "\n".join(lines).rstrip()


def _lines(settings: Settings, report: Report, now: datetime) -> list[str]:
    state = report.state
    health = f"{state.colour}/{state.health}"
    return [
        f"{report.name}  {state.status}  {health}  {state.version or 'no version'}",
        *(f"  {word:12} {text}" for word, text in _rows(settings, report, now)),
    ]


def _rows(settings: Settings, report: Report, now: datetime) -> Iterator[tuple[str, str]]:
    state, short = report.state, report.name.removeprefix(settings.name(""))
    cname = state.cname
    yield "address", report.address
    if not report.address.endswith(f"/{cname}"):
        yield "host", f"{cname}, to which DNS points that name"
    if report.instances is not None:
        running = [f"{count} run {label}" for label, count in sorted(report.instances.items())]
        yield "instances", ", ".join(running) or "none"
    if state.platform:
        yield "platform", state.platform
    if report.locked_by:
        yield "working", report.locked_by
    for entry in report.deployments or []:
        detail = f": {textwrap.shorten(entry.detail, DETAIL)}" if entry.detail else ""
        result = f"{WORDS[entry.kind]} {entry.label}  {entry.who or 'unknown'}{detail}"
        yield "deployed", f"{_age(entry.at, now)} ago  {result}"
    yield from (_alarm(one, now) for one in report.alarms or [])
    if report.alarms == []:
        yield "alarms", "none firing"
    if report.certificate_days is not None:
        yield "certificate", f"{report.certificate_days} days left"
    if report.backups:
        remedy = f"{settings.program} backups install {short}"
        yield "backups", _describe_backups(report.backups, remedy, now)
    yield from _faults(settings.program, report, short)
    yield "dashboard", report.dashboard
    yield from (("unknown", what) for what in report.unknown)


def _faults(program: str, report: Report, short: str) -> Iterator[tuple[str, str]]:
    """The problems, each with the command that solves it."""
    if report.writes_stopped:
        yield "NO WRITES", f"they are stopped: {program} writes allow {short}"
    if report.watched is False:
        what = "its alarms are missing, or on another load balancer"
        yield "NOT WATCHED", f"{what}: {program} create {short}"
    if report.probed is False:
        what = f"no alarm fires if nobody gets to {report.address}; once DNS leads to it"
        yield "NOT PROBED", f"{what}: {program} create {short}"
    if report.pipeline_id not in (None, report.state.id):
        what = f"it may deploy to {report.pipeline_id}, and this is {report.state.id}"
        yield "NO PIPELINE", f"{what}: {program} bootstrap"
    yield from (("BY HAND", f"{one.what}: {one.next}") for one in report.by_hand)


def _describe_backups(found: dict[str, Backup | str], remedy: str, now: datetime) -> str:
    if set(found.values()) == {backups.ABSENT}:
        return f"{backups.ABSENT}: {remedy}"
    return ", ".join(
        f"{region} {one if isinstance(one, str) else f'{_age(one.at, now)} old'}"
        f"{' LATE' if backups.is_late(one, now) else ''}"
        for region, one in found.items()
    )


def _alarm(alarm: Alarm, now: datetime) -> tuple[str, str]:
    since = f" for {_age(alarm.since, now)}" if alarm.since else ""
    sentence = alarm.description.partition("What to do:")[0].strip()
    return "ALARM" if alarm.has_data else "no data", f"{alarm.name}{since}: {sentence}"


def _age(moment: datetime, now: datetime) -> str:
    minutes = int((now - moment).total_seconds()) // 60
    if minutes < 120:
        return f"{max(minutes, 0)} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
