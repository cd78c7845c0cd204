"""A deployment, step by step: deploy and verify, and if anything is wrong, roll back.

lock the environment
wait until it is ready, see that it has its own address, and remember the version that it runs
deploy, and see that every instance runs the new version, healthy
smoke test it by its public name
record it, in the other regions too, send the notification, unlock

Each step says so when it is done.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NoReturn

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, state
from deploy.config.environments import Environment
from deploy.delivery import history, notify, smoke, version
from deploy.delivery.version import Version
from deploy.resources import addresses, beanstalk, events, lock, monitoring, stuck

LOOK = "the cause is shown above, before the events; for more, see {}; fix it and build again"


@dataclass(frozen=True)
class _Rollout:
    """One deployment in progress: the state that its steps share."""

    run: Run
    environment: Environment
    before: str  # the label that ran when it began
    label: str
    key: str  # of the smoke test

    def install(self, label: str) -> None:
        """Deploy ``label`` and see that it serves. Raises Failure."""
        beanstalk.update(self.run, self.environment.name, label)
        self.run.changes.done(f"{self.environment.name}: every instance runs {label}")
        smoke.check(self.run, self.environment, self.key, label)

    def serves(self, label: str) -> bool:
        """Whether ``label`` is the only version that runs, and serves.

        False if that is unknown: it does no harm to deploy it again.
        """
        try:
            if beanstalk.find_difference(self.run, self.environment.name, label):
                return False
            smoke.check(self.run, self.environment, self.key, label)
        except Failure:
            return False
        return True


def deploy(
    run: Run,
    environment: Environment,
    target: Version,
    forward: bool = False,
    kind: history.Kind = "deploy",
    is_locked: bool = False,
) -> None:
    """Deploy ``target`` to ``environment``; with ``forward`` only if the running version is older.

    ``is_locked`` says that the caller holds the lock. Raises Failure if the environment does not
    run ``target`` afterwards; the previous version is restored then.
    """
    name, label = environment.name, target.label
    run.tools.require("eb", *(["git"] if forward else []))
    key = smoke.find_key(run, environment)
    with nullcontext() if is_locked else lock.hold(run, name):
        current = stuck.wait_until_usable(run, environment)
        addresses.refuse_swapped(run, current)
        before = current.version
        if forward:
            version.refuse_older(run, name, before, label)
        since = events.find_mark(run, name)
        # Deployed by other means, such as the console: a later rollback must know of it
        if before not in (label, *history.read(run, name)[-1:]):
            history.record(run, environment, "deploy", before)
        run.console.say(f"{name}: from {before} to {label}")
        if before == label:
            run.console.say("  the same version: its instances are replaced, and get new secrets")
        rollout = _Rollout(run, environment, before, label, key)
        with notify.reporting(run, environment, label), monitoring.announced(run, environment):
            try:
                rollout.install(label)
                run.changes.quietly(lambda: events.refuse_ignored_files(run, name, since))
            except Failure as failure:
                history.record(run, environment, "failed", label, failure.what)
                _restore(rollout, failure)
            history.record(run, environment, kind, label)
    run.changes.done(f"{name} runs {label}")


def rollback(run: Run, environment: Environment) -> None:
    """Deploy the version that ``environment`` ran before the present one. Raises Failure."""
    with lock.hold(run, environment.name):
        target = version.find(run, _find_before(run, environment))
        deploy(run, environment, target, kind="rollback", is_locked=True)


def _find_before(run: Run, environment: Environment) -> str:
    current = beanstalk.wait_until_ready(run, environment).version
    before = history.version_before(history.read(run, environment.name), current)
    if before is None:
        remedy = f"{run.settings.program} build, as there is no other version"
        others = [one for one in version.newest(run, 6) if one != current]
        if others:
            remedy = f"{run.settings.program} deploy {environment.short} --version {others[0]}"
        if others[1:]:
            remedy += f"; or another one: {' '.join(others[1:])}"
        raise Failure(
            f"the history of {environment.name} has no version before {current}", next=remedy
        )
    return before


def _restore(rollout: _Rollout, failure: Failure) -> NoReturn:
    """Roll every instance back to the version before. Always raises Failure."""
    run, short, name = rollout.run, rollout.environment.short, rollout.environment.name
    before, failed = rollout.before, rollout.label
    logs = f"{run.settings.program} logs {short}"
    run.console.say(f"{name}: version {failed} failed: {failure.what}. The last events:")
    events.show(run, name)
    with state(f"some instances of {name} may run {failed}, and others {before}"):
        beanstalk.stop_update(run, rollout.environment)
    if before == failed:
        raise Failure(
            f"version {failed} was already deployed, and does not serve: {failure.what}",
            f"{name} still has version {failed}",
            f"{run.settings.program} rollback {short}, or see: {logs}",
        )
    if rollout.serves(before):
        raise Failure(
            f"version {failed} was not deployed to {short}: {failure.what}",
            f"all instances of {name} still run {before}, and serve",
            LOOK.format(logs),
        )
    run.console.say(f"{name}: rolling back to {before}")
    try:
        version.read_bundle(run, before)  # if it is unchanged since it was built
        rollout.install(before)
    except Failure as second:
        raise Failure(
            f"version {failed} failed in {short}, and the rollback to {before} failed too: "
            f"{second.what}",
            _how_it_is(rollout),
            f"see NOW: {run.settings.eb(f'events {name}')}; {logs}; then: "
            f"{run.settings.program} deploy {short} --version LABEL",
        ) from failure
    history.record(run, rollout.environment, "rollback", before)
    raise Failure(
        f"version {failed} failed in {short} and was rolled back: {failure.what}",
        f"{name} runs {before}, and serves; the database keeps the migrations of {failed}, which "
        f"{before} can work with",
        LOOK.format(logs),
    )


def _how_it_is(rollout: _Rollout) -> str:
    name, before = rollout.environment.name, rollout.before
    try:
        return beanstalk.find_difference(rollout.run, name, before) or f"{name} runs {before}"
    except AwsFailure as failure:
        return f"AWS does not report the state of {name}: {failure.what}"
