"""One run at a time on one environment: a lock in S3, which only one of two writers can create."""

import getpass
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from deploy.base import signals
from deploy.base.console import duration
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, Locked
from deploy.resources import bucket
from deploy.resources.bucket import Bucket

OLD = timedelta(hours=4)  # longer than a deployment and its rollback can take


@contextmanager
def hold(run: Run, name: str) -> Iterator[None]:
    """Hold the lock of ``name`` within this context, and release it however that ends.

    Raises Locked, with the lock's holder and age, when another run holds it, and Failure.
    """
    key = f"locks/{name}"
    own = (
        f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}, "
        f"since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    ).encode()
    records = bucket.find_records(run)
    ours = True  # assumed until AWS denies it: a signal may arrive before the response
    try:
        try:
            with run.changes.uncounted():
                _take(records, key, own)
        except Failure as failure:
            ours = isinstance(failure, AwsFailure) and failure.transient
            raise
        run.changes.done(f"{name}: locked")
        yield
    finally:
        if ours:
            with signals.deferred(), run.changes.uncounted():
                _give_back(records, key, own)


def _take(records: Bucket, key: str, own: bytes) -> None:
    try:
        records.put(key, own, IfNoneMatch="*")
    except AwsFailure as failure:
        if failure.code not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        found = _read(records, key)
        # After a lost response the client tries again, and finds its own lock
        if found is None or found[0] != own:
            raise _locked(records, key, found) from failure


def _locked(records: Bucket, key: str, found: tuple[bytes, str, datetime] | None) -> Locked:
    name = key.partition("/")[2]
    holder, age = "another run, which ended a moment ago", timedelta()
    if found:
        holder, age = found[0].decode(errors="replace"), datetime.now(UTC) - found[2]
    remove = _remove(records, key)
    if age > OLD:
        return Locked(
            f"the lock of {name} is {duration(age.total_seconds())} old, which is longer than any "
            f"run takes: {holder}",
            f"{name} is unchanged",
            f"make sure that this run has ended, then remove its lock: {remove}",
        )
    return Locked(
        f"another run is working on {name}: {holder}",
        f"{name} is unchanged",
        f"wait until it has ended. If it was killed: {remove}",
    )


def _remove(records: Bucket, key: str) -> str:
    """The command that removes a lock by hand."""
    command = f"s3api delete-object --bucket {records.name} --key {key}"
    return records.run.settings.aws(command)


def _give_back(records: Bucket, key: str, own: bytes) -> None:
    """Remove the lock if it is this run's. Errors are only reported."""
    run = records.run
    try:
        found = None if run.changes.dry_run else _read(records, key)
        if found and found[0] != own:
            run.console.say(f"the lock of {key} is held by another run now: {found[0].decode()}")
        elif found or run.changes.dry_run:
            records.delete(key, found[1] if found else '"..."')
            run.changes.done(f"{key.partition('/')[2]}: unlocked")
    except Failure as failure:
        run.console.say(f"the lock could not be released: {failure.what}", _remove(records, key))


def _read(records: Bucket, key: str) -> tuple[bytes, str, datetime] | None:
    """Content, ETag and time of the lock, or None if there is none."""
    try:
        found = records.get(key)
    except AwsFailure as failure:
        if failure.code == "NoSuchKey":
            return None
        raise
    return found["Body"], found["ETag"], found["LastModified"]
