"""What is typed in `make cloud`: a night, a region that is lost, and one that returns."""

from collections import defaultdict
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tests.rehearsal import disaster
from tests.rehearsal.__main__ import Cloud
from tests.support.aws import PROD, REGION

OTHER = "eu-central-1"
TEN, ELEVEN = (datetime(2026, 11, 27, hour, tzinfo=UTC) for hour in (10, 11))


class Account:
    """A cloud with backups, of which it only notes what is done to it."""

    def __init__(self):
        self.lost, self.plans, self.done, self.confirmed = set(), defaultdict(dict), [], False
        self.snapshots = {
            number: SimpleNamespace(kind=kind, database=PROD, at=at)
            for number, (kind, at) in enumerate(
                [("awsbackup", ELEVEN), ("awsbackup", TEN), ("manual", ELEVEN.replace(hour=12))]
            )
        }
        self.cloudformation = SimpleNamespace(at=lambda region: {disaster.PLAN: self.plans[region]})

    def region(self, name):
        def run_plans(unfinished):
            self.done.append(f"a night in {name}")
            return [(one, "the region does not answer") for one in self.lost]

        return SimpleNamespace(
            backup=SimpleNamespace(run_plans=run_plans),
            databases=SimpleNamespace(snapshots=self.snapshots),
        )

    def lose(self, region):
        self.lost.add(region)

    def return_(self, region):
        self.lost.remove(region)


@pytest.fixture
def account():
    return Account()


@pytest.fixture
def type_line(account, capsys):
    """Types a line in `make cloud`, and returns what it prints."""
    project = SimpleNamespace(git=lambda *_: "0123456789ab")
    terminal = Cloud(SimpleNamespace(project=project, cloud=account))

    def act(line):
        terminal.obey(line.split())
        return capsys.readouterr().out

    return act


def test_night_reports_what_was_backed_up(account, type_line):
    account.plans[REGION]["one"] = {}
    said = type_line("night")
    assert (
        said == f"cloud: a night has passed in {REGION}: {PROD} is backed up as of 11:00:00 UTC\n"
    )
    assert account.done == [f"a night in {REGION}"]


def test_copies_to_a_lost_region_fail_and_others_succeed(account, type_line):
    for region in (REGION, OTHER):
        account.plans[region]["one"] = {}
    assert f"{REGION} is down" in type_line(f"lose {REGION}")
    assert f"the copy to {REGION} failed: the region does not answer" in type_line("night")
    assert account.done == [f"a night in {OTHER}"]
    assert f"{REGION} is back" in type_line(f"return {REGION}")
    assert "failed" not in type_line("night")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("night", "no nightly backups are installed in a region that answers"),
        ("lose eu-west-9", "there is no region 'eu-west-9'; there are eu-west-1, "),
        (f"lose {OTHER}", f"{OTHER} is down already"),
        (f"return {REGION}", f"'{REGION}' is not down"),
    ],
)
def test_impossible_actions_are_refused_with_a_reason(account, type_line, line, why):
    type_line(f"lose {OTHER}")
    with pytest.raises(disaster.Impossible, match=why):
        type_line(line)


def test_night_without_a_backup_plan_is_refused_in_scenarios_too(account):
    with pytest.raises(disaster.Impossible, match=f"installed in {REGION}"):
        disaster.night(account)


def test_help_lists_each_command(type_line):
    for word in (
        "confirm",
        "connect",
        "approve",
        "reject",
        "night",
        "lose REGION",
        "return REGION",
    ):
        assert f"\n    {word} " in type_line("help")
    assert "there is no 'lose'" in type_line("lose")
