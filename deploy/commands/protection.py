"""Nightly backups: vaults, a plan and its alarms, and what else a recovery elsewhere needs."""

from typing import Any

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.commands import parts
from deploy.config import owner
from deploy.config.environments import PLAN, REPLICATION, VAULT, Environment
from deploy.delivery import history, image, version
from deploy.resources import account, backups, beanstalk, stacks


def install(run: Run, environment: Environment) -> None:
    """Create or update vaults, plan and alarms of ``environment`` in its three regions.

    Safe to run again. In the destinations, the stack that all environments share is made as well,
    for their images and messages, and the running version is copied there. Raises InvalidConfig
    if devops/environments.toml configures no backups for it, and Failure.
    """
    destinations = backups.find_destinations(environment)
    at_home = run.at(run.settings.home)
    _refuse_other_replication(at_home, destinations)
    protect(at_home, environment)
    with state("the plan exists"):
        stacks.apply(
            at_home,
            f"{run.settings.application}-replication",
            REPLICATION,
            {"First": destinations[0], "Second": destinations[1]},
        )
        _copy_running(at_home, environment, destinations)
    run.changes.done(
        f"{environment.name} is backed up every night, with copies in {', '.join(destinations)}"
    )


def protect(run: Run, environment: Environment) -> None:
    """Create or update vaults and plan of ``environment``, which runs in the region of ``run``.

    After a recovery, no request is sent to the home region; copies to it fail until it is back.
    Raises Failure.
    """
    region, home = run.settings.region, run.settings.home
    others = [one for one in environment.copy_regions(region, home) if one != home]
    for one in (region, *others):
        with state(f"the regions before {one} are done"):
            _install_vault(run.at(one), environment)
    with state("the vaults exist"):
        _install_plan(run, environment)


def _install_vault(run: Run, environment: Environment) -> None:
    """Create or update the vault in the region of ``run``, and what else a recovery there needs.

    Raises Failure.
    """
    is_home = run.settings.region == run.settings.home
    if not is_home:
        account.refuse_unsafe(run, environment)
        parts.apply_foundation(run)
    days = environment.retention()["HomeDays" if is_home else "CopyDays"]
    parameters = {"Environment": environment.name, "KeptDays": days}
    stacks.apply(run, f"{environment.name}-vault", VAULT, parameters)


def _install_plan(run: Run, environment: Environment) -> None:
    """Create or update the plan, which copies to the other two regions, and its alarms.

    No request is sent to those two, which may be unavailable. Raises Failure.
    """
    first, second = environment.copy_regions(run.settings.region, run.settings.home)
    parameters = {
        "Environment": environment.name,
        "Foundation": run.settings.foundation,
        "Repository": owner.read(run.settings.root).repository,
        "Vault": backups.name_vault(environment, run.settings.region),
        "FirstVaultArn": _vault_arn(run, environment, first),
        "SecondVaultArn": _vault_arn(run, environment, second),
    }
    name = f"{environment.name}-backups"
    if stacks.find(run, name) is None:  # before the first night, no copy is late
        metrics: list[dict[str, Any]] = [{"MetricName": one, "Value": 1} for one in backups.COPIES]
        namespace = f"{environment.name}/backups"
        run.aws.change("cloudwatch", "put_metric_data", Namespace=namespace, MetricData=metrics)
    stacks.apply(run, name, PLAN, parameters | environment.retention())


def _vault_arn(run: Run, environment: Environment, region: str) -> str:
    partition, number = run.aws.caller().split(":")[1], run.aws.account()
    vault = backups.name_vault(environment, region)
    return f"arn:{partition}:backup:{region}:{number}:backup-vault:{vault}"


def _refuse_other_replication(run: Run, destinations: tuple[str, str]) -> None:
    """Raises Failure for a registry that replicates already: it has only one configuration."""
    if stacks.find(run, f"{run.settings.application}-replication"):
        return
    found = run.aws.ask("ecr", "describe_registry")["replicationConfiguration"]["rules"]
    if found:
        raise Failure(
            f"the account's registry in {run.settings.region} already has a replication "
            f"configuration, which ours would replace: {found}",
            next=f"add a rule for {run.settings.application} to {', '.join(destinations)} there, "
            "and let the owner of that configuration create the stack of devops/replication.yml",
        )


def _copy_running(run: Run, environment: Environment, destinations: tuple[str, str]) -> None:
    """Copy the images of the running version and the one before: both precede the replication."""
    current = beanstalk.find(run, environment.name)
    if current is None or not current.version:
        return
    log = history.read(run, environment.name)
    run.tools.require("docker")
    for label in filter(None, (history.version_before(log, current.version), current.version)):
        if run.changes.dry_run:  # which has not made the registries there
            where = ", ".join(destinations)
            run.console.say(f"version {label} would be copied to {where}, where it is missing")
            continue
        found = version.find(run, label)
        for region in destinations:
            image.copy(run, run.at(region), label)
            history.add(run.at(region), environment.name, "deploy", found)
