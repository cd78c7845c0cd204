"""What a recovery will make, from which backup and version; nothing is changed for it."""

from dataclasses import dataclass
from datetime import datetime

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config.environments import Environment
from deploy.delivery import history, image, version
from deploy.resources import account, backups, beanstalk, bucket, certificates
from deploy.resources.backups import Backup

CUSTOM, SNAPSHOT = "aws:elasticbeanstalk:customoption", "DatabaseSnapshot"
MINUTES = 45  # on AWS: two stacks, a copy of the snapshot, an environment with its database


@dataclass(frozen=True)
class Wish:
    """The options of the command; None means the same name, or the newest."""

    short: str | None = None  # of the new environment
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


def make_plan(run: Run, source: Environment, wish: Wish) -> Plan:
    """What a recovery in the region of ``run`` would make. Changes nothing. Raises Failure."""
    target = source.renamed(wish.short or source.short, run.settings.application)
    _refuse_region(run, source, wish.snapshot)
    is_home = run.settings.region == run.settings.home
    if is_home and target.name == source.name:
        raise Failure(
            f"{source.name}, or a remnant of it, exists in {run.settings.region}",
            next=_other_name(run, source),
        )
    source.refuse_plain_http()
    account.refuse_unsafe(run, source)
    backup = _choose_backup(run, source, wish.snapshot, _find_begun(run, source, target))
    _refuse_key(run, backup.key)
    label, digest, packed = _choose_version(run, source, wish.label)
    return Plan(source, target, backup, label, digest, packed, certificates.find(run, source))


def explain(run: Run, plan: Plan, now: datetime) -> list[str]:
    """Human-readable lines: what will be created, and what will be lost."""
    backup = plan.backup
    lines = [
        f"{plan.target.name} in {run.settings.region}, from a backup of {plan.source.name}:",
        f"  recovery point  {backup.at:%Y-%m-%d %H:%M:%S} UTC, {show_age(now, backup)} ago; data "
        "saved later is not in it",
        f"  backup          {backup.identifier}, {backup.size} GiB"
        + (f", expires {backup.expires:%Y-%m-%d}" if backup.expires else ""),
        f"  version         {plan.label}, image {plan.digest}",
        f"  takes           about {MINUTES} min on AWS",
    ]
    if plan.source.destinations():
        unfinished = backups.find_unfinished(run, plan.source, backup)
        lines += [f"  NOT USED        {one}" for one in unfinished]
    return lines


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


def _other_name(run: Run, source: Environment) -> str:
    command = f"{run.settings.program} recover {source.short} --region {run.settings.region}"
    return f"give the new environment another name: {command} --as NAME"


def _find_begun(run: Run, source: Environment, target: Environment) -> str | None:
    """The snapshot from which a recovery began to make ``target``, or None. Raises Failure."""
    if beanstalk.find(run, target.name) is None:
        return None
    begun = beanstalk.find_option(run, target.name, CUSTOM, SNAPSHOT)
    if begun:
        return begun
    raise Failure(
        f"{target.name} already exists in {run.settings.region}, and was not created by a recovery",
        next=_other_name(run, source),
    )


def _choose_backup(run: Run, source: Environment, wanted: str | None, begun: str | None) -> Backup:
    if begun and wanted not in (None, begun):
        raise Failure(
            f"the recovery in progress is from {begun}, not from {wanted}",
            next=f"to continue it, leave --to-snapshot out; or {_other_name(run, source)}",
        )
    if chosen := begun or wanted:
        return backups.find_snapshot(run, chosen)
    found = backups.find_newest(run, source)
    if isinstance(found, str):
        raise Failure(
            f"there is no backup of {source.name} in {run.settings.region}: {found}",
            next=f"{run.settings.program} backups list {source.short}, then name one of the other "
            "regions with --region",
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
    try:
        kept, log = history.find(run, source.name, wanted), history.read(run, source.name)
    except bucket.Missing:  # where no backups were installed
        kept, log = None, []
    label = kept.label if kept else wanted or ""
    if not label and (current := beanstalk.find(run, source.name)):
        label = current.version
    if label and version.exists(run, label):
        return label, version.find(run, label).digest, None
    known = list(dict.fromkeys(reversed(log)))
    if kept is None:
        raise Failure(
            f"{wanted or f'the last version of {source.name}'} is not recorded in "
            f"{run.settings.region}",
            next=f"name another version with --version: {' '.join(known) or '(none is recorded)'}",
        )
    found = image.find_digest(run, kept.label)
    if found != kept.digest:
        there = [one for one in known if image.find_digest(run, one)]
        raise Failure(
            f"the image of version {kept.label} is not in {run.settings.region}: it is "
            f"{found or 'missing'}, and was {kept.digest or 'not recorded'}",
            next=f"name another one with --version: {' '.join(there) or '(none has its image)'}; "
            f"or build the commit {version.commit(kept.label)} with AWS_REGION="
            f"{run.settings.region} and name the version which that publishes",
        )
    return kept.label, kept.digest, kept.bundle


def show_age(now: datetime, backup: Backup) -> str:
    """The age of a backup in hours and minutes."""
    minutes = int((now - backup.at).total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60} min"
