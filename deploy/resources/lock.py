"""One run at a time on one environment: a lock in S3, which only one of two writers can create."""

import getpass
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from deploy.base import signals
from deploy.base.console import duration
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, Locked
from deploy.base.waiting import Pending, wait_until
from deploy.resources import bucket

OLD = timedelta(hours=4)  # longer than a deployment and its rollback can take
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")


@contextmanager
def hold(run: Run, name: str) -> Iterator[None]:
    """Hold the lock of ``name`` within this context, and release it however that ends.

    While another run holds it, waits for as long as ``run`` says. Raises Locked, with the lock's
    holder and age, if that does not suffice, and Failure.
    """
    lock = _Lock(run, name)
    try:
        found = wait_until(run, f"the lock of {name}", lock.take, run.lock_wait)
        if isinstance(found, Pending):
            waited = f", still after {duration(run.lock_wait)}" if run.lock_wait else ""
            raise Locked(
                f"another run is working on {name}{waited}: {found.detail}",
                f"{name} is unchanged",
                "wait until it has ended, such as with --lock-wait MINUTES. If it was killed: "
                + lock.removal,
            )
        run.changes.done(f"{name}: locked")
        yield
    finally:
        if lock.is_ours:
            with signals.deferred(), run.changes.uncounted():
                lock.give_back()


def find_holder(run: Run, name: str) -> str:
    """Who holds the lock of ``name``, since when; empty if nobody does. Raises Failure."""
    found = _Lock(run, name).read()
    return found.holder.decode(errors="replace") if found else ""


class _Content(NamedTuple):
    holder: bytes
    etag: str
    at: datetime


class _Lock:
    """The lock of one environment, and whether this run holds it."""

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name, self._key = run, name, f"locks/{name}"
        self._records = bucket.find_records(run)
        self._own = (
            f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}, "
            f"since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        ).encode()
        self.is_ours = self._was_taken = False

    @property
    def removal(self) -> str:
        """The command that removes the lock by hand."""
        command = f"s3api delete-object --bucket {self._records.name} --key {self._key}"
        return self._run.settings.aws(command)

    def take(self) -> Pending | None:
        """None as soon as this run holds the lock, else who does. Raises Failure."""
        if self._was_taken and (found := self.read()):
            return self._describe(found)
        self.is_ours = True  # until AWS denies it: a signal may arrive before the response
        try:
            with self._run.changes.uncounted():
                self._records.put(self._key, self._own, IfNoneMatch="*")
        except bucket.Missing:
            self.is_ours = False
            raise
        except AwsFailure as failure:
            if failure.code not in TAKEN:
                self.is_ours = failure.transient
                raise
            found = self.read()
            # After a lost response the client tries again, and finds its own lock
            self.is_ours = found is not None and found.holder == self._own
            self._was_taken = not self.is_ours
            return None if self.is_ours else self._describe(found)
        return None

    def _describe(self, found: _Content | None) -> Pending:
        """Who holds it. Raises Locked for a lock that nobody will release."""
        if found is None:
            return Pending("held by another run", "one that ended a moment ago")
        holder, age = found.holder.decode(errors="replace"), datetime.now(UTC) - found.at
        if age > OLD:
            raise Locked(
                f"the lock of {self._name} is {duration(age.total_seconds())} old, which is longer "
                f"than any run takes: {holder}",
                f"{self._name} is unchanged",
                f"make sure that this run has ended, then remove its lock: {self.removal}",
            )
        return Pending("held by another run", holder)

    def give_back(self) -> None:
        """Remove the lock if it is this run's. Errors are only reported."""
        console = self._run.console
        try:
            found = None if self._run.changes.dry_run else self.read()
            if found and found.holder != self._own:
                console.say(
                    f"the lock of {self._name} is held by another run now: {found.holder.decode()}"
                )
            elif found or self._run.changes.dry_run:
                self._records.delete(self._key, found.etag if found else '"..."')
                self._run.changes.done(f"{self._name}: unlocked")
        except Failure as failure:
            # After a lost response the client tries again, and finds no lock
            if isinstance(failure, AwsFailure) and failure.code == "NoSuchKey":
                self._run.changes.done(f"{self._name}: unlocked")
            else:
                console.say(f"the lock could not be released: {failure.what}", self.removal)

    def read(self) -> _Content | None:
        """The content of the lock, or None if there is none."""
        try:
            found = self._records.get(self._key)
        except AwsFailure as failure:
            if failure.code == "NoSuchKey":
                return None
            raise
        return _Content(found["Body"], found["ETag"], found["LastModified"])
