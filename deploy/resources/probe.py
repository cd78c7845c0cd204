"""The probe of an environment: its public name is asked from outside, as devops/probe.yml says.

It belongs to the name of the environment, whichever region that is in: when DNS moves to another
region, the same probe asks there.
"""

from collections.abc import Iterable

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config import owner
from deploy.config.environments import PROBE, Environment
from deploy.resources import stacks

REGION = "us-east-1"  # devops/probe.yml says why


def name(environment_name: str) -> str:
    """Its stack."""
    return f"{environment_name}-probe"


def alarm(environment_name: str) -> str:
    """Its alarm."""
    return f"{environment_name}-unreachable"


def find(run: Run, environment_name: str) -> dict[str, str]:
    """Its PublicName and Topic; empty if there is none. Raises AwsFailure."""
    return stacks.find_outputs(run.at(REGION), name(environment_name)) or {}


def find_topics(run: Run, environments: Iterable[Environment]) -> list[str]:
    """Those of the ``environments`` that have a public name and a probe. Raises AwsFailure."""
    named = (one for one in environments if one.parameters().get("PublicName"))
    return [found["Topic"] for one in named if (found := find(run, one.name))]


def is_made(run: Run, environment: Environment) -> bool:
    """Whether it asks the public name of ``environment``, which has one. Raises AwsFailure."""
    found = find(run, environment.name)
    return found.get("PublicName") == environment.parameters()["PublicName"]


def install(run: Run, environment: Environment, is_reached: bool) -> bool:
    """Create or change the probe of ``environment``; remove it if there is no public name.

    A new one is made if ``is_reached`` by that name, or it would fire at once. A failure is
    reported and stops nothing, because no other part depends on this region. Returns whether it
    was created or changed. Raises InvalidConfig.
    """
    there, stack = run.at(REGION), name(environment.name)
    public = environment.parameters().get("PublicName")
    parameters = owner.read_for_use(run.settings.root).probe_parameters(environment.is_production)
    try:
        if not public:
            stacks.remove(there, stack)
        elif is_reached or is_made(run, environment):
            own = {"Environment": environment.name, "PublicName": public}
            stacks.apply(there, stack, PROBE, own | parameters)
            return True
        else:
            run.console.say(f"nobody asks {public} from outside before DNS leads to it")
    except Failure as failure:
        again = f"{failure.next}; this command can be repeated"
        run.console.say(f"the probe is unchanged: {failure.what}", again)
    return False
