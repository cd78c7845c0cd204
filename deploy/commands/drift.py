"""Changes made in the console, or by another program: they stay until they are reverted.

AWS does not say where a setting comes from. A direct one permanently overrides .ebextensions
(docs.aws.amazon.com/elasticbeanstalk/latest/dg/command-options.html, "Precedence";
github.com/aws/elastic-beanstalk-roadmap/issues/154), so a value that differs from the files was set
directly. Not detectable, and not reported: a direct setting with the value of the file, an
option of .ebextensions with Beanstalk's default, one that is not in any file and has a default, and
values that Beanstalk computes.
"""

from collections.abc import Iterator

from deploy.base.context import Run
from deploy.base.findings import NOT_READY, Finding
from deploy.base.template_parameters import as_text
from deploy.commands import credentials
from deploy.commands.recovery_plan import CUSTOM, SNAPSHOT
from deploy.config import environments, options
from deploy.config.environments import SECRETS, STORAGE, STORAGE_LIMIT, Environment
from deploy.delivery import bundle, history, version
from deploy.resources import addresses, beanstalk, database
from deploy.resources.beanstalk import State

Option = tuple[str, str]  # namespace and name

VARIABLES = "aws:elasticbeanstalk:application:environment"
HIDDEN = (VARIABLES, SECRETS)  # whose values may be secret
# In which Beanstalk sets nothing by itself on this platform
EMPTY = (VARIABLES, SECRETS, CUSTOM, "aws:autoscaling:scheduledaction")
EMPTY_OPTIONS = {
    ("aws:autoscaling:launchconfiguration", "EC2KeyName"),
    ("aws:elasticbeanstalk:sns:topics", "Notification Endpoint"),
}
OURS = {  # set by `recover`, and by `writes stop`
    *((CUSTOM, name) for name in (SNAPSHOT, STORAGE, STORAGE_LIMIT)),
    (SECRETS, "API_KEYS"),
}


def find_version(run: Run, environment: Environment, state: State) -> list[Finding]:
    """Whether the version was deployed by other means. Raises Failure."""
    last, short = history.read(run, environment.name)[-1:], environment.short
    if not last or not state.version or last == [state.version]:
        return []
    [newest] = history.find_last(run, environment.name, 1)
    if newest.label == state.version:  # it failed, and so did the rollback
        return []
    what = f"version {state.version} was deployed by other means; the last one here was {last[0]}"
    program = run.settings.program
    remedy = (
        f"{program} deploy {short} --version {last[0]}; or, to keep it, --version {state.version}"
    )
    return [Finding(NOT_READY, what, remedy)]


def find_swapped(run: Run, environment: Environment, state: State) -> list[Finding]:
    """Whether its address is that of another environment."""
    other = addresses.find_swapped(run, state)
    if not other:
        return []
    what = f"it has the address {state.cname} of {other}"
    return [Finding(NOT_READY, what, addresses.swap_back(run, environment.name, other))]


def find_database(run: Run, environment: Environment, state: State) -> list[Finding]:
    """Whether another database took the place of the one with the data. Raises Failure."""
    return [one for one in database.check(run, environment) if one.is_open]


def find_options(run: Run, environment: Environment, state: State) -> list[Finding]:
    """The settings that differ from the files. Raises Failure."""
    if state.status != "Ready" or not state.version:  # they are being changed
        return []
    found = beanstalk.find_options(run, environment.name)
    direct = {
        (one["Namespace"], one["OptionName"]): one["Value"]
        for one in environment.options(credentials.find_outputs(run, environment))
    }
    files = bundle.read_options(version.read_bundle(run, state.version))
    return [
        Finding(NOT_READY, what, remedy)
        for option, value in sorted(found.items())
        for what, remedy in _compare(run, environment, option, value, direct, files)
    ]


def _compare(
    run: Run,
    environment: Environment,
    option: Option,
    value: str,
    direct: dict[Option, str],
    files: dict[Option, object],
) -> Iterator[tuple[str, str]]:
    """What is wrong with the ``value`` of ``option``, and how to take it back; mostly nothing."""
    name, program = " ".join(option), run.settings.program
    if option in OURS:
        return
    if option in direct:
        if not _are_same(direct[option], value):
            what = f"{name} is {_show(option, value)}, and {environments.NAME} says otherwise"
            yield what, f"{program} create {environment.short}"
        return
    remove = run.settings.aws(
        f"elasticbeanstalk update-environment --environment-name {environment.name} "
        f"--options-to-remove 'Namespace={option[0]},OptionName={option[1]}'"
    )
    if option in files:
        wanted = files[option]
        is_computed = isinstance(wanted, dict | list) or str(wanted).startswith("`")
        if is_computed or value == options.default(*option) or _are_same(as_text(wanted), value):
            return
        yield f"{name} is {_show(option, value)}, and .ebextensions cannot change it", remove
    elif option[0] in EMPTY or option in EMPTY_OPTIONS:
        yield f"{name} is not in any file", remove


def _show(option: Option, value: str) -> str:
    return "another one" if option[0] in HIDDEN else value


def _are_same(wanted: str, found: str) -> bool:
    """AWS answers some lists in another order, with spaces, and some ARNs as names, or in reverse.

    See github.com/hashicorp/terraform-provider-aws/issues/1471 and 461.
    """
    first, second = (
        {one.strip().rpartition("/")[2].casefold() for one in text.split(",")}
        for text in (wanted, found)
    )
    return first == second


QUESTIONS = {
    "address": find_swapped,
    "version": find_version,
    "database": find_database,
    "settings": find_options,
}
