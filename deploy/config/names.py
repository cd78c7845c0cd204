"""Names of environments, and the AWS names derived from them: how long they may be."""

import re
from collections.abc import Iterable

# Limits in characters. CloudFormation names a role after its stack and its logical name, adds up to
# 13, and cuts what exceeds IAM's 64; the patterns of devops/pipeline.yml would not match what is
# left. CreateEnvironment itself accepts 40
NAME_MAX = 64 - len("-InstanceRole-") - 13
FOUNDATION_MAX = 64 - len("-MonitoringRole-") - 13
VAULT_MAX = 50  # of CreateBackupVault
RESERVED = ("account", "all", "certificate")  # tables that are not environments
SHARED = ("budget", "foundation", "pipeline", "replication")  # in the names of other stacks


def find_problem(application: str, short: str, regions: Iterable[str]) -> str:
    """What AWS would refuse, half an hour into a command, of an environment called ``short``.

    ``regions`` are those of its backups. Empty if it is a valid name.
    """
    if not re.fullmatch(r"[a-z0-9]{2,20}", short) or short in RESERVED:
        return "expected 2 to 20 lower-case letters or digits"
    if short in SHARED:
        return f"{application}-{short} is the name of a stack that environments share"
    name = f"{application}-{short}"
    for made, limit, owner in (
        (f"{application}-foundation", FOUNDATION_MAX, "the stack of devops/foundation.yml"),
        (name, NAME_MAX, "an environment"),
        *((f"{name}-{region}", VAULT_MAX, "a backup vault") for region in regions),
    ):
        if len(made) > limit:
            return (
                f"{made} has {len(made)} characters, and the name of {owner} at most {limit}: use "
                "a shorter name"
            )
    return ""
