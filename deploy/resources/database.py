"""Which database has the data of an environment: one that was rebuilt is green, and empty."""

from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure
from deploy.base.findings import Finding, not_ready, ready
from deploy.base.waiting import Pending, wait_until
from deploy.config.environments import Environment
from deploy.resources import bucket

FOLDER = "databases"
ABSENT = "DBInstanceNotFound"


def remember(run: Run, name: str) -> None:
    """Record that the present database of the environment ``name`` has its data. Raises Failure."""
    found = _find(run, name)
    if found:
        identity = str(found["DbiResourceId"])
        shown = {"Body": identity}
        bucket.find_records(run).put(f"{FOLDER}/{name}", identity.encode(), shown)


def is_known(run: Run, name: str) -> bool:
    """Whether it is recorded which database has the data of ``name``. Raises Failure."""
    return _read(run, name) is not None


def is_protected(run: Run, name: str) -> bool:
    """Whether ``name`` has a database that AWS refuses to delete. Raises AwsFailure."""
    found = _find(run, name)
    return bool(found and found.get("DeletionProtection"))


def unprotect(run: Run, name: str) -> None:
    """Let the database of the environment ``name``, if any, be deleted with it. Raises Failure."""

    def look() -> Pending | None:
        return Pending("still protected") if is_protected(run, name) else None

    if not is_protected(run, name):
        return
    run.aws.change(
        "rds",
        "modify_db_instance",
        DBInstanceIdentifier=name,
        DeletionProtection=False,
        ApplyImmediately=True,
    )
    if not run.changes.dry_run:
        wait_until(run, f"the database {name}", look, run.settings.health_timeout)


def refuse_single(run: Run, name: str) -> None:
    """Raise Failure if there is a database ``name``, without the environment that had it."""
    if _find(run, name) is None:
        return
    aws = run.settings.aws
    one = f"--db-instance-identifier {name}"
    delete = f"rds delete-db-instance {one} --final-db-snapshot-identifier {name}-final"
    raise Failure(
        f"the database {name} exists without its environment",
        next=f"{aws(delete)}; {aws(f'rds wait db-instance-deleted {one}')}; then run it again",
    )


def check(run: Run, environment: Environment) -> list[Finding]:
    """Whether the database is the one that was recorded. Raises Failure.

    Its name is always the same; another DbiResourceId is another database:
    docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBInstance.html.
    """
    name, known, found = (
        environment.name,
        _read(run, environment.name),
        _find(run, environment.name),
    )
    if known is None:
        return ready("no record says which database has the data")
    if found and found["DbiResourceId"] == known:
        return ready(f"{known} has the data")
    now = "there is none"
    if found:
        now = f"{found['DbiResourceId']}, created {found['InstanceCreateTime']:%Y-%m-%d %H:%M} UTC"
    records, short = bucket.find_records(run), environment.short
    accept = run.settings.aws(f"s3 rm s3://{records.name}/{FOLDER}/{name}")
    snapshots = run.settings.aws(f"rds describe-db-snapshots --db-instance-identifier {name}")
    recover = f"recover {short} --region {run.settings.region} --as NAME --to-snapshot ID"
    return not_ready(
        f"{known} had the data, and now {now}: the environment was rebuilt or restored",
        f"{snapshots}; {run.settings.program} {recover}. If nothing is missing: {accept}; "
        f"{run.settings.program} create {short}",
    )


def _read(run: Run, name: str) -> str | None:
    try:
        content: bytes = bucket.find_records(run).get(f"{FOLDER}/{name}")["Body"]
    except bucket.Missing:
        return None
    except AwsFailure as failure:
        if failure.code != "NoSuchKey":
            raise
        return None
    return content.decode().strip()


def _find(run: Run, name: str) -> dict[str, Any] | None:
    answer = run.aws.find("rds", "describe_db_instances", ABSENT, DBInstanceIdentifier=name)
    found: dict[str, Any] | None = answer["DBInstances"][0] if answer else None
    return found
