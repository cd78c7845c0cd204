"""What runs where."""

from deploy import beanstalk
from deploy.environments import Environment
from deploy.errors import NotFound
from deploy.run import Run
from deploy.settings import PROGRAM

HEADINGS = ("Environment", "Status", "Version", "Health", "Address")


def table(run: Run, environment: Environment | None = None) -> str:
    """A table of all environments, or of one. Raises NotFound and AwsFailure."""
    found = beanstalk.find_all(run)
    if environment is not None:
        if environment.name not in found:
            raise NotFound(
                f"there is no environment {environment.name}",
                "nothing was changed",
                f"{PROGRAM} create {environment.short}",
            )
        found = {environment.name: found[environment.name]}
    rows = [HEADINGS] + [
        (name, one.status, one.version or "-", f"{one.colour}/{one.health}", one.cname or "-")
        for name, one in sorted(found.items())
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
