"""The budget, which belongs to the account: it is the same one wherever home is."""

import pytest

from tests.support.account import made
from tests.support.aws import APPLICATION, REGION

ELSEWHERE = "us-east-1"
BUDGET = f"{ELSEWHERE}/{APPLICATION}-budget"
BOOTSTRAP = ("bootstrap", "--main-is-protected")


@pytest.fixture
def amount(project):
    """Changes the budget of environments.toml."""

    def change(new):
        path = project / "devops/environments.toml"
        path.write_text(path.read_text().replace("MonthlyBudget = 350", new))

    return change


@pytest.fixture
def move(project):
    """Makes another region the home, as after a disaster."""

    def change(region):
        path = project / ".elasticbeanstalk/config.yml"
        path.write_text(path.read_text().replace(REGION, region))
        path = project / "devops/environments.toml"
        path.write_text(path.read_text().replace(f'"{region}"', f'"{REGION}"'))

    return change


def test_the_budget_is_created_once_and_notifies_the_team(aws, command):
    code, output = command(*BOOTSTRAP)
    assert code == 0, output
    assert aws.stacks[BUDGET]["parameters"] == {
        "OperationsEmail": "team@greetings.test",
        "MonthlyBudget": "350",
    }
    assert f"the stack {APPLICATION}-budget is up to date" in command(*BOOTSTRAP)[1]


@pytest.mark.parametrize("region", ["eu-central-1", "eu-north-1"])
def test_a_new_home_region_keeps_the_same_budget(aws, command, move, region):
    """Also in a region without AWS Budgets, which is a destination of backups by default."""
    command(*BOOTSTRAP)
    move(region)
    code, output = command(*BOOTSTRAP)
    assert code == 0, output
    assert f"{region}/{APPLICATION}-pipeline" in aws.stacks
    assert [name for name in aws.stacks if name.endswith("-budget")] == [BUDGET]
    assert "budget is unchanged" not in output


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_an_unreachable_region_of_the_budget_does_not_fail_bootstrap(aws, command, code):
    aws.fail("cloudformation:DescribeStacks", code, when=lambda _: aws.region == ELSEWHERE)
    exit_code, output = command(*BOOTSTRAP)
    assert exit_code == 0, output
    assert "the budget is unchanged: " in output
    assert "; this command can be repeated" in output
    assert f"{APPLICATION}-pipeline" in aws.stacks


@pytest.mark.parametrize("new", ["MonthlyBudget = 0", ""])
def test_without_an_amount_no_budget_is_created(aws, command, amount, new):
    amount(new)
    assert command(*BOOTSTRAP)[0] == 0
    assert BUDGET not in aws.stacks


@pytest.mark.parametrize("new", ["MonthlyBudget = 0", ""])
def test_a_budget_is_removed_with_its_amount(aws, command, amount, new):
    command(*BOOTSTRAP)
    amount(new)
    assert (
        f"+ aws cloudformation delete-stack --stack-name {APPLICATION}-budget"
        in command(*BOOTSTRAP, "--dry-run")[1]
    )
    assert BUDGET in aws.stacks
    assert command(*BOOTSTRAP)[0] == 0
    assert BUDGET not in aws.stacks


def test_an_invalid_amount_is_refused(aws, fails, amount):
    made(aws, "foundation")
    amount("MonthlyBudget = -1")
    assert "MonthlyBudget -1: expected a whole number, 0 to" in fails(*BOOTSTRAP)
