"""A recovery, step by step: an environment from a backup, in another region or beside the old one.

find the newest complete backup, and the version that ran last, from what is stored in this region
say how old it is and what would be lost, and ask
create what all environments share, lock, and create whatever else is missing: stacks, secrets,
version, environment with its database
verify: version, health, smoke test, and the greeting of a user saved before the backup
watch it, back it up, and say what remains to be done by hand

No request is sent to the home region, unless it is the one to recover in. Each step checks what
exists, so that the same command continues after an interruption.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, state
from deploy.commands import parts, protection, writes
from deploy.commands.recovery_plan import CUSTOM, SNAPSHOT, Plan, Wish, explain, make_plan, show_age
from deploy.config.environments import NAME, Environment
from deploy.delivery import bundle, history, image, notify, smoke, version
from deploy.resources import (
    backups,
    beanstalk,
    database,
    events,
    lock,
    monitoring,
    secretsmanager,
    stacks,
    stuck,
)
from deploy.resources.beanstalk import State

STORAGE, LIMIT = "DatabaseStorage", "DatabaseStorageLimit"
SECRETS = {"application": "ApplicationSecret", "smoke-test": "SmokeTestSecret"}  # and their outputs


def start(
    run: Run, source: Environment, region: str | None, wish: Wish, confirm: Callable[[str], bool]
) -> None:
    """Plan the recovery, say what it does and loses, and carry it out if ``confirm`` says so.

    In ``region``, else in that of the run if it is not home, else in the first destination of the
    backups. Raises Failure.
    """
    began, here = datetime.now(UTC), run.settings
    if region is None and here.region != here.home:
        region = here.region
    there = run.at(region or backups.find_destinations(source)[0])
    found = make_plan(there, source, wish)
    for line in explain(there, found, began):
        run.console.say(line)
    if run.changes.dry_run:
        return
    if not confirm("Begin?"):
        raise Failure("the recovery was not confirmed", next="run it with --yes")
    recover(there, found, wish, began)


def recover(run: Run, plan: Plan, wish: Wish, began: datetime) -> None:
    """Carry out the plan, or continue it. Raises Failure; whatever was created by then remains."""
    started = time.monotonic()
    parts.apply_foundation(run)  # which has the bucket of the lock
    with (
        lock.hold(run, plan.target.name),
        notify.reporting(run, plan.target, plan.label),
        state("what was created so far remains; the old environment is unchanged"),
    ):
        snapshot = backups.begin_copy(run, plan.backup, plan.target.name)
        outputs = _make_stacks(run, plan)
        _make_environment(run, plan, outputs, snapshot)
        current, dns = _verify(run, plan, wish.user)
        parts.restrict_instances(run, plan.target)
        history.record(run, plan.target, "deploy", plan.label, elsewhere=False)
        database.remember(run, plan.target.name)
        monitoring.watch(run, plan.target, outputs["Certificate"])
        if wish.protect:
            _protect(run, plan)
    minutes = (time.monotonic() - started) / 60
    for line in _report(run, plan, current, dns, began, minutes):
        run.console.say(line)


# --- Carrying it out -----------------------------------------------------------------------------


def _make_stacks(run: Run, plan: Plan) -> dict[str, str]:
    outputs = parts.apply_stack(run, plan.target, _parameters(run, plan))
    begun = beanstalk.find(run, plan.target.name)
    if begun and begun.version:  # its secrets may have been changed since
        return outputs
    for kind in SECRETS:
        stored = secretsmanager.read(run, f"{plan.source.name}/{kind}") or {}
        value = writes.allowed(stored)
        if value != stored:
            run.console.say(f"writes were stopped in {plan.source.name}: here they are allowed")
        own = f"{plan.target.name}/{kind}"  # the same secret, if the name is the same
        if stored and value != secretsmanager.read(run, own):
            secretsmanager.write(run, own, value)
    return outputs


def _parameters(run: Run, plan: Plan) -> dict[str, str]:
    """Parameters of a new stack that the file does not set; later updates keep their values."""
    own = {"Certificate": plan.certificate}
    if not plan.certificate:
        own["PublicName"] = ""
    if stacks.find(run, plan.target.name) is not None:
        return own
    own["DatabaseKey"] = plan.backup.key
    if plan.target.name == plan.source.name:
        for kind, output in SECRETS.items():
            own[f"{output}Arn"] = _make_independent(run, f"{plan.source.name}/{kind}")
    return own


def _make_independent(run: Run, name: str) -> str:
    """The ARN of a replica, whose original is not needed any more; empty if there is none."""
    try:
        found = run.aws.ask("secretsmanager", "describe_secret", SecretId=name)
    except AwsFailure as failure:
        if failure.code != "ResourceNotFoundException":
            raise
        run.console.say(f"the secret {name} has no replica here: it is created without a value")
        return ""
    if found.get("PrimaryRegion", run.settings.region) != run.settings.region:
        run.aws.change("secretsmanager", "stop_replication_to_replica", SecretId=found["ARN"])
    return str(found["ARN"])


def _make_environment(run: Run, plan: Plan, outputs: dict[str, str], snapshot: str) -> None:
    if plan.bundle is not None and not version.exists(run, plan.label):
        packed = bundle.replace_image(plan.bundle, f"{image.repository(run)}@{plan.digest}")
        about = f"As deployed in another region {version.seal(packed)}"
        version.publish(run, plan.label, packed, about)
    backups.wait_for(run, snapshot)
    size = plan.backup.size
    own = {
        SNAPSHOT: snapshot,
        STORAGE: str(max(size, plan.target.number(CUSTOM, STORAGE))),
        LIMIT: str(max(math.ceil(size * 1.5), plan.target.number(CUSTOM, LIMIT))),
    }
    options = [one for one in plan.target.options(outputs) if one["OptionName"] not in own]
    options += [
        {"Namespace": CUSTOM, "OptionName": option, "Value": value} for option, value in own.items()
    ]
    if beanstalk.find(run, plan.target.name) is None:
        parts.launch(run, plan.target, options, plan.label)
        return
    stuck.wait_until_usable(run, plan.target)
    if not parts.runs(run, plan.target, plan.label):  # its creation failed half-way
        parts.change(run, plan.target, options, plan.label)


def _verify(run: Run, plan: Plan, user: str | None) -> tuple[State, str]:
    """The environment, once it serves, and what DNS lacks. Raises Failure."""
    current = stuck.wait_until_usable(run, plan.target)
    key, place = smoke.find_key(run, plan.target), smoke.locate(run, plan.target)
    with parts.serving(run, plan.target, current.version and plan.label, events.Mark()):
        detour = smoke.check_url(run, place.url, key, plan.label, place.host)
        if user is not None:
            smoke.refuse_unknown(run, place, user)
    if not place.host:
        return current, f"point the public name to {current.cname}"
    return current, place.remedy(detour) if detour else f"{place.name} already points there"


def _protect(run: Run, plan: Plan) -> None:
    """Back it up from this region. A failure is only reported: the environment serves."""
    if plan.source.destinations() is None:
        return
    try:
        protection.protect(run, plan.target)
    except Failure as failure:
        run.console.say(f"{plan.target.name} HAS NO BACKUPS yet: {failure.what}")
        run.console.say(f"  next: {failure.next}; then run it again")


# --- Messages ------------------------------------------------------------------------------------


def _report(
    run: Run, plan: Plan, current: State, dns: str, began: datetime, minutes: float
) -> list[str]:
    region, home, name = run.settings.region, run.settings.home, plan.target.name
    lines = [
        f"{name} runs {plan.label} in {region}, and serves: http://{current.cname}",
        f"  recovery point: {plan.backup.at:%Y-%m-%d %H:%M:%S} UTC, {show_age(began, plan.backup)} "
        "before this command; data saved later is missing",
        f"  recovery time: {minutes:.1f} min, most of it spent waiting for AWS",
        "to do by hand:",
        f"  DNS: {dns}",
    ]
    if region != home:
        lines += [
            f"  to work on it: export AWS_REGION={region}. To stay in {region}: change "
            f"default_region in .elasticbeanstalk/config.yml, and Destinations in {NAME}",
            f"  messages: confirm the SNS subscription e-mails from {region}, if nobody has yet",
            f"  the pipeline: {run.settings.program} bootstrap, with a new connection to GitHub",
            f"  copies of backups to {home} fail, and raise alarms, until that region is back",
        ]
    if name != plan.source.name:
        lines.append(f"  {NAME}: add a table [{plan.target.short}], like [{plan.source.short}]")
    return [*lines, "docs/recovery.md says how to do each of them"]
