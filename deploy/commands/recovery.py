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
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, Unhealthy, state
from deploy.commands import create, protection, writes
from deploy.config.environments import NAME, Environment
from deploy.delivery import bundle, history, image, notify, smoke, standby, version
from deploy.resources import (
    account,
    backups,
    beanstalk,
    bucket,
    certificates,
    lock,
    monitoring,
    secretsmanager,
    stacks,
)
from deploy.resources.backups import Backup
from deploy.resources.beanstalk import State

CUSTOM = "aws:elasticbeanstalk:customoption"
SNAPSHOT, STORAGE, LIMIT = "DatabaseSnapshot", "DatabaseStorage", "DatabaseStorageLimit"
SECRETS = {"application": "ApplicationSecret", "smoke-test": "SmokeTestSecret"}  # and their outputs
MINUTES = 45  # on AWS: two stacks, a copy of the snapshot, an environment with its database


@dataclass(frozen=True)
class Wish:
    """The options of the command; None means the newest."""

    short: str  # of the new environment
    snapshot: str | None = None
    label: str | None = None
    user: str | None = None  # the user who must be greeted afterwards; never shown
    protect: bool = True  # whether to back the new environment up


@dataclass(frozen=True)
class Plan:
    """What will be created, and from which backup and version."""

    source: Environment
    target: Environment
    backup: Backup
    label: str
    digest: str
    bundle: bytes | None  # as it was deployed elsewhere; None where the version is here already
    certificate: str  # its ARN, or empty


def start(
    run: Run, source: Environment, region: str | None, wish: Wish, confirm: Callable[[], bool]
) -> None:
    """Plan the recovery, say what it does and loses, and carry it out if ``confirm`` says so.

    In ``region``, else in that of the run if it is not home, else in the first destination of the
    backups. Raises Failure.
    """
    began, here = datetime.now(UTC), run.settings
    if region is None and here.region != here.home:
        region = here.region
    there = run.at(region or backups.find_destinations(source)[0])
    found = plan(there, source, wish)
    for line in explain(there, found, began):
        run.console.say(line)
    if run.changes.dry_run:
        return
    if not confirm():
        raise Failure("the recovery was not confirmed", next="run it with --yes")
    recover(there, found, wish, began)


def plan(run: Run, source: Environment, wish: Wish) -> Plan:
    """What a recovery in the region of ``run`` would make. Changes nothing. Raises Failure."""
    target = source.renamed(wish.short, run.settings.application)
    _refuse_region(run, source, wish.snapshot)
    is_home = run.settings.region == run.settings.home
    if is_home and target.name == source.name:
        raise Failure(
            f"{source.name}, or a remnant of it, exists in {run.settings.region}",
            next=f"give the new environment another name: {run.settings.program} recover "
            f"{source.short} --region {run.settings.region} --as NAME",
        )
    source.refuse_plain_http()
    account.refuse_unsafe(run, source)
    backup = _choose_backup(run, source, wish.snapshot, _find_begun(run, target))
    _refuse_key(run, backup.key)
    label, digest, packed = _choose_version(run, source, wish.label)
    return Plan(source, target, backup, label, digest, packed, certificates.find(run, source))


def explain(run: Run, plan: Plan, now: datetime) -> list[str]:
    """Human-readable lines: what will be created, and what will be lost."""
    backup = plan.backup
    lines = [
        f"{plan.target.name} in {run.settings.region}, from a backup of {plan.source.name}:",
        f"  recovery point  {_point(backup, now)}; data saved later is not in it",
        f"  backup          {backup.identifier}, {backup.size} GiB"
        + (f", expires {backup.expires:%Y-%m-%d}" if backup.expires else ""),
        f"  version         {plan.label}, image {plan.digest}",
        f"  takes           about {MINUTES} min on AWS",
    ]
    if plan.source.destinations():
        unfinished = backups.find_unfinished(run, plan.source, backup)
        lines += [f"  NOT USED        {one}" for one in unfinished]
    return lines


def recover(run: Run, plan: Plan, wish: Wish, began: datetime) -> None:
    """Carry out the plan, or continue it. Raises Failure; whatever was created by then remains."""
    started = time.monotonic()
    create.apply_foundation(run)  # which has the bucket of the lock
    with (
        lock.hold(run, plan.target.name),
        notify.reporting(run, plan.target, plan.label),
        state("what was created so far remains; the old environment is unchanged"),
    ):
        snapshot = backups.begin_copy(run, plan.backup, plan.target.name)
        outputs = _make_stacks(run, plan)
        _make_environment(run, plan, outputs, snapshot)
        current, dns = _verify(run, plan, wish.user)
        create.restrict_instances(run, plan.target)
        history.record(run, plan.target.name, "deploy", plan.label)
        monitoring.watch(run, plan.target, outputs["Certificate"])
        if wish.protect:
            _protect(run, plan)
    minutes = (time.monotonic() - started) / 60
    for line in _report(run, plan, current, dns, began, minutes):
        run.console.say(line)


# --- What to recover from ------------------------------------------------------------------------


def _refuse_region(run: Run, source: Environment, snapshot: str | None) -> None:
    """Raises Failure for a region without backups, whose name may be mistyped.

    A snapshot made by hand needs none.
    """
    if snapshot and source.destinations() is None:
        return
    known = backups.find_regions(run, source)
    if run.settings.region not in known:
        raise Failure(
            f"{source.name} has no backups in {run.settings.region}",
            next=f"name one of its regions with --region: {', '.join(known)}",
        )


def _find_begun(run: Run, target: Environment) -> str | None:
    """The snapshot from which a recovery began to make ``target``, or None. Raises Failure."""
    if beanstalk.find(run, target.name) is None:
        return None
    begun = beanstalk.find_option(run, target.name, CUSTOM, SNAPSHOT)
    if begun:
        return begun
    raise Failure(
        f"{target.name} already exists in {run.settings.region}, and was not created by a recovery",
        next="give the new environment another name: --as NAME",
    )


def _choose_backup(run: Run, source: Environment, wanted: str | None, begun: str | None) -> Backup:
    if begun:
        if wanted and wanted != begun:
            raise Failure(
                f"the recovery in progress is from {begun}, not from {wanted}",
                next="to continue it, leave --to-snapshot out; or choose another name: --as NAME",
            )
        return backups.find_snapshot(run, begun)
    if wanted:
        return backups.find_snapshot(run, wanted)
    found = backups.find_newest(run, source)
    if isinstance(found, str):
        raise Failure(
            f"there is no backup of {source.name} in {run.settings.region}: {found}",
            next="see the other regions, then name one with --region: "
            f"{run.settings.program} backups list {source.short}",
        )
    return found


def _refuse_key(run: Run, key: str) -> None:
    """Raises Failure unless the key is usable: without it, nobody can read the backup."""
    found = run.aws.ask("kms", "describe_key", KeyId=key)["KeyMetadata"]["KeyState"]
    if found == "Enabled":
        return
    remedy = run.settings.aws(f"kms enable-key --key-id {key}")
    if found == "PendingDeletion":
        remedy = f"{run.settings.aws(f'kms cancel-key-deletion --key-id {key}')} && {remedy}"
    raise Failure(f"the key of the backup, {key}, is {found}", next=f"{remedy}; then run it again")


def _choose_version(
    run: Run, source: Environment, wanted: str | None
) -> tuple[str, str, bytes | None]:
    """Label, digest, and the bundle if this region does not have the version yet."""
    kept = standby.find(run, source, wanted)
    if kept is None:
        label = wanted or _find_running(run, source)
        if label and version.exists(run, label):
            return label, version.find(run, label).digest, None
        known = " ".join(standby.labels(run, source))
        raise Failure(
            f"{wanted or f'the last version of {source.name}'} is not recorded in "
            f"{run.settings.region}",
            next=f"name another version with --version: {known or '(none is recorded)'}",
        )
    found = image.find_digest(run, kept.label)
    if found != kept.digest:
        there = [one for one in standby.labels(run, source) if image.find_digest(run, one)]
        raise Failure(
            f"the image of version {kept.label} is not in {run.settings.region}: it is "
            f"{found or 'missing'}, and was {kept.digest}",
            next=f"name another one with --version: {' '.join(there) or '(none has its image)'}; "
            f"or build the commit {version.commit(kept.label)} with AWS_REGION="
            f"{run.settings.region} and name the version which that publishes",
        )
    return kept.label, kept.digest, kept.bundle


def _find_running(run: Run, source: Environment) -> str | None:
    found = beanstalk.find(run, source.name)
    return found.version if found else None


# --- Carrying it out -----------------------------------------------------------------------------


def _make_stacks(run: Run, plan: Plan) -> dict[str, str]:
    create.create_application(run)
    outputs = create.apply_stack(run, plan.target, _parameters(run, plan))
    if outputs is None:
        raise Failure(f"the stacks of {plan.target.name} are gone", next="run it again")
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
    name = plan.target.name
    if plan.bundle is not None and not version.exists(run, plan.label):
        packed = bundle.replace_image(plan.bundle, f"{image.repository(run)}@{plan.digest}")
        bucket.create_bundles(run)
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
    if beanstalk.find(run, name) is None:
        create.launch(run, plan.target, options, plan.label)
        return
    current = beanstalk.wait_until_ready(run, plan.target)
    beanstalk.refuse_stuck(run, current)
    if current.version != plan.label:  # its creation failed half-way
        run.aws.change(
            "elasticbeanstalk", "update_environment",
            EnvironmentName=name, VersionLabel=plan.label, OptionSettings=options,
        )  # fmt: skip


def _verify(run: Run, plan: Plan, user: str | None) -> tuple[State, str]:
    """The environment, once it serves, and what DNS lacks. Raises Failure."""
    name = plan.target.name
    current = beanstalk.wait_until_ready(run, plan.target)
    key = smoke.find_key(run, plan.target)
    place = smoke.locate(run, plan.target)
    try:
        if not current.version:
            raise Unhealthy("its creation failed")
        beanstalk.wait_until_running(run, name, plan.label)
        beanstalk.refuse_ignored_files(run, name, beanstalk.Mark())
        detour = smoke.check_url(run, place.url, key, plan.label, place.host)
        if user is not None:
            smoke.refuse_unknown(run, place, user)
    except Unhealthy as failure:
        beanstalk.show_events(run, name)
        beanstalk.refuse_stuck(run, current)
        raise Failure(
            f"{name} exists, but does not serve as it should: {failure.what}",
            f"{name} has version {current.version or 'none'}; the old environment is unchanged",
            "fix the cause shown in the events above, and run this command again",
        ) from failure
    if not place.host:
        return current, f"point the public name to {current.cname}"
    return current, place.remedy(detour) if detour else f"{place.name} leads there already"


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


def _point(backup: Backup, now: datetime) -> str:
    return f"{backup.at:%Y-%m-%d %H:%M:%S} UTC, {_age(now, backup)} ago"


def _age(now: datetime, backup: Backup) -> str:
    minutes = int((now - backup.at).total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60} min"


def _report(
    run: Run, plan: Plan, current: State, dns: str, began: datetime, minutes: float
) -> list[str]:
    region, home, name = run.settings.region, run.settings.home, plan.target.name
    lines = [
        f"{name} runs {plan.label} in {region}, and serves: http://{current.cname}",
        f"  recovery point: {plan.backup.at:%Y-%m-%d %H:%M:%S} UTC, {_age(began, plan.backup)} "
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
            "  the pipeline: run bootstrap in this region, which needs a new connection to GitHub",
            f"  copies of backups to {home} fail, and raise alarms, until that region is back",
        ]
    if name != plan.source.name:
        lines.append(f"  {NAME}: add a table [{plan.target.short}], like [{plan.source.short}]")
    return [*lines, "docs/recovery.md says how to do each of them"]
