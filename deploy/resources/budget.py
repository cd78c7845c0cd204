"""The monthly budget of the account, which is the same one wherever home is."""

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config import environments, owner
from deploy.config.environments import BUDGET
from deploy.resources import stacks

REGION = "us-east-1"  # devops/budget.yml says why


def apply(run: Run) -> None:
    """Create, change or remove the budget, as devops/environments.toml says.

    A failure is reported and stops nothing, because no other part depends on this region. Raises
    InvalidConfig.
    """
    there, name = run.at(REGION), f"{run.settings.application}-budget"
    tables = next(iter(environments.read(run.settings).values())).tables
    amount = str(tables.get("account", {}).get("MonthlyBudget", 0))
    email = owner.read_for_use(run.settings.root).email
    try:
        if float(amount):
            parameters = {"OperationsEmail": email, "MonthlyBudget": amount}
            stacks.apply(there, name, BUDGET, parameters)
        else:
            stacks.remove(there, name)
    except Failure as failure:
        again = f"{failure.next}; this command can be repeated"
        run.console.say(f"the budget is unchanged: {failure.what}", again)
