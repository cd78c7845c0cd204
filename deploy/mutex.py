"""One run at a time on one environment: a lock in S3, which only one of two writers can create."""

import getpass
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from deploy import signals
from deploy.console import duration
from deploy.errors import AwsFailure, Locked, state
from deploy.run import Run

OLD = timedelta(hours=4)  # longer than a deployment and its rollback can take


@contextmanager
def hold(run: Run, name: str, bucket: str) -> Iterator[None]:
    """Hold the lock of ``name`` within this context, and release it however that ends.

    Raises Locked, with the lock's holder and age, when another run holds it.
    """
    key = f"locks/{name}"
    own = (
        f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}, "
        f"since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    ).encode()
    ours = True  # assumed until AWS denies it: a signal may arrive before the response
    try:
        try:
            with state(f"{name} is unchanged"):
                _take(run, bucket, key, own)
        except Locked:
            ours = False
            raise
        except AwsFailure as failure:
            ours = failure.transient
            raise
        yield
    finally:
        if ours:
            with signals.deferred():
                _give_back(run, bucket, key, own)


def _take(run: Run, bucket: str, key: str, own: bytes) -> None:
    try:
        run.aws.change("s3", "put_object", Bucket=bucket, Key=key, Body=own, IfNoneMatch="*")
    except AwsFailure as failure:
        if failure.code not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        found = _read(run, bucket, key)
        # After a lost response the client tries again, and finds its own lock
        if found is None or found[0] != own:
            raise _locked(key, bucket, found) from failure


def _locked(key: str, bucket: str, found: tuple[bytes, str, datetime] | None) -> Locked:
    name = key.partition("/")[2]
    holder, age = "another run, which ended a moment ago", timedelta()
    if found:
        holder, age = found[0].decode(errors="replace"), datetime.now(UTC) - found[2]
    remove = f"aws s3api delete-object --bucket {bucket} --key {key}"
    if age > OLD:
        return Locked(
            f"the lock of {name} is {duration(age.total_seconds())} old, which is longer than any "
            f"run takes: {holder}",
            "nothing was changed by this run",
            f"make sure that this run has ended, then remove its lock: {remove}",
        )
    return Locked(
        f"another run is working on {name}: {holder}",
        "nothing was changed by this run",
        f"wait until it has ended. If it was killed: {remove}",
    )


def _give_back(run: Run, bucket: str, key: str, own: bytes) -> None:
    """Remove the lock if it is this run's. Errors are only reported."""
    try:
        found = None if run.changes.dry_run else _read(run, bucket, key)
        if found and found[0] != own:
            run.console.say(f"the lock of {key} is held by another run now: {found[0].decode()}")
        elif found or run.changes.dry_run:
            etag = found[1] if found else '"..."'
            run.aws.change("s3", "delete_object", Bucket=bucket, Key=key, IfMatch=etag)
    except AwsFailure as failure:
        run.console.say(f"the lock could not be released: {failure.what}")
        run.console.say(f"  next: aws s3api delete-object --bucket {bucket} --key {key}")


def _read(run: Run, bucket: str, key: str) -> tuple[bytes, str, datetime] | None:
    """Content, ETag and time of the lock, or None if there is none."""
    try:
        found = run.aws.ask("s3", "get_object", Bucket=bucket, Key=key)
    except AwsFailure as failure:
        if failure.code == "NoSuchKey":
            return None
        raise
    return found["Body"], found["ETag"], found["LastModified"]
