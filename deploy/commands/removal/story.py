"""A removal, step by step.

ask AWS what goes and what stays, print both, and ask for the name
hold the locks, so that nothing is removed during a deployment
look at each part again when its turn comes, and remove it
look at everything again, and print what stays

So the same command continues after an interruption, and finds nothing to do after the last step. A
question that AWS does not answer ends it: nothing counts as removed unless AWS says so.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.resources import bucket, lock

COSTS = "https://console.aws.amazon.com/costmanagement"


class Step(NamedTuple):
    """Something that is there, and how it is removed."""

    what: str
    act: Callable[[], object]


class Found(NamedTuple):
    """What there is of a part: what goes, in this order, and what stays, for which reason."""

    goes: Sequence[Step] = ()
    stays: Sequence[str] = ()


Part = Callable[[], Found]  # asks AWS each time that it is called. Raises Failure


@dataclass(frozen=True)
class Target:
    """What is to be removed: its name, which people type, and its parts, in this order."""

    name: str
    regions: Sequence[str]  # those that are looked at
    parts: Sequence[Part]
    locks: Sequence[tuple[Run, str]]  # held meanwhile
    last: Sequence[Part] = field(default=())  # what the locks are kept in
    protected: Sequence[str] = field(default=())  # why it must be meant


def remove(run: Run, target: Target, is_meant: bool, confirm: Callable[[str], bool]) -> None:
    """Remove ``target``, if ``confirm`` says so for its name. Raises Failure.

    What is protected must be meant, too. A dry run needs neither.
    """
    found = _look(target)
    if not found.goes:
        where = ", ".join(target.regions)
        run.console.say(f"nothing of {target.name} is left to remove in {where}")
        _tell_what_stays(run, found)
        return
    run.console.say(f"{target.name}: this will remove")
    for one in found.goes:
        run.console.say(f"  {one.what}")
    _tell_what_stays(run, found)
    if not run.changes.dry_run:
        _refuse_unmeant(target, is_meant, confirm)
    with state("what was removed stays removed, the rest is unchanged; the same command continues"):
        _carry_out(run, target)
    if not run.changes.dry_run:
        _refuse_rest(run, target)


def _refuse_unmeant(target: Target, is_meant: bool, confirm: Callable[[str], bool]) -> None:
    if target.protected and not is_meant:
        raise Failure(f"{'; '.join(target.protected)}", next="to remove it, add --protected")
    if not confirm(target.name):
        raise Failure(
            "the removal was not confirmed",
            next=f"type the name, or run it with --confirm {target.name}",
        )


def _carry_out(run: Run, target: Target) -> None:
    with ExitStack() as held:
        for place, name in target.locks:
            if bucket.exists(place):  # else nobody else could have a lock
                held.enter_context(lock.hold(place, name))
        _remove_parts(run, target.parts)
    _remove_parts(run, target.last)


def _remove_parts(run: Run, parts: Sequence[Part]) -> None:
    for part in parts:
        for step in part().goes:
            run.changes.done(f"removing {step.what}")
            step.act()


def _refuse_rest(run: Run, target: Target) -> None:
    found = _look(target)
    if found.goes:
        raise Failure(
            f"still there: {'; '.join(one.what for one in found.goes)}",
            "everything else was removed",
            "run it again",
        )
    run.console.say(f"{target.name} is removed")
    _tell_what_stays(run, found)


def _look(target: Target) -> Found:
    found = [part() for part in (*target.parts, *target.last)]
    goes = [step for one in found for step in one.goes]
    return Found(goes, [line for one in found for line in one.stays])


def _tell_what_stays(run: Run, found: Found) -> None:
    if found.stays:
        run.console.say("what stays; its costs are shown in a day or two at " + COSTS)
    for line in found.stays:
        run.console.say(f"  {line}")
