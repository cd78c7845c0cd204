"""The environments of devops/environments.toml, and their settings."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.base import template_parameters
from deploy.base.errors import Failure, InvalidConfig
from deploy.base.settings import CONFIG, REGION, Settings, read_text
from deploy.config import options

NAME = "devops/environments.toml"
COMMON = ("account", "all", "certificate")  # tables that are not environments
SECRETS = "aws:elasticbeanstalk:application:environmentsecrets"
GROUP, INSTANCES = "aws:autoscaling:asg", "aws:ec2:instances"
UPDATES = "aws:autoscaling:updatepolicy:rollingupdate"
IN_SERVICE = "MinInstancesInService"  # CloudFormation: below the group's maximum
FILES = ".ebextensions"
BATCH = 50  # percent more instances during a deployment, as in .ebextensions/20-deployment.config
PRODUCTION = "prod"
# Limits in characters. CloudFormation names a role after its stack and its logical name, adds up to
# 13, and cuts what exceeds IAM's 64; the patterns of devops/pipeline.yml would not match what is
# left. CreateEnvironment itself accepts 40
NAME_MAX = 64 - len("-InstanceRole-") - 13
FOUNDATION_MAX = 64 - len("-MonitoringRole-") - 13
VAULT_MAX = 50  # of CreateBackupVault
# The entries of a table besides Beanstalk's namespaces
STACK, ALARMS, BACKUPS, PLAIN_HTTP = "stack", "alarms", "backups", "PlainHttp"
DESTINATIONS = "Destinations"  # of backups
BUDGET, FOUNDATION = "devops/budget.yml", "devops/foundation.yml"
TEMPLATE = "devops/environment.yml"
OPERATIONS, PLAN = "devops/operations.yml", "devops/backups.yml"
REPLICATION, VAULT = "devops/replication.yml", "devops/vault.yml"
OUTPUT = r"{(\w+)}"  # of a stack, in the value of an option
CERTIFICATE = {"Certificate", "PublicName"}  # outputs that are empty without a certificate
STORAGE, STORAGE_LIMIT = "DatabaseStorage", "DatabaseStorageLimit"  # GiB
# Parameters that depend on the owner, AWS or the name of the environment
GIVEN = {
    "OperationsEmail", "EscalationEmail", "Environment", "Foundation", "Repository", "Escalate",
    "LoadBalancer", "TargetGroup", "AutoScalingGroup", "ApplicationLog", "ProxyLog",
    "WatchedCertificate", "Vault", "FirstVaultArn", "SecondVaultArn", "DatabaseKey",
    "ApplicationSecretArn", "SmokeTestSecretArn", "FirstCopyRegion", "SecondCopyRegion",
    "EnvironmentId",
}  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """One environment by its short name, such as "staging"."""

    short: str
    name: str  # the name of the Beanstalk environment and of its stack
    tables: Mapping[str, Any]

    @property
    def is_production(self) -> bool:
        """Whether its failures are sent to the escalation address."""
        return self.short == PRODUCTION

    def parameters(self) -> dict[str, str]:
        """The parameters of its stack, devops/environment.yml."""
        return _as_text(self.tables[self.short][STACK])

    def thresholds(self) -> dict[str, str]:
        """The parameters of devops/operations.yml that say when an alarm fires."""
        return _as_text(self.tables["all"][ALARMS] | self.tables[self.short].get(ALARMS, {}))

    def destinations(self) -> tuple[str, str] | None:
        """The two regions to which its backups are copied, or None if it has no backups."""
        table = self.tables[self.short].get(BACKUPS)
        return None if table is None else tuple(table[DESTINATIONS])

    def copy_regions(self, region: str, home: str) -> tuple[str, ...]:
        """The two of its three regions other than ``region``; empty without backups."""
        found = self.destinations()
        return tuple(one for one in (home, *found) if one != region) if found else ()

    def renamed(self, short: str, application: str) -> "Environment":
        """Another environment, with the same settings.

        Raises InvalidConfig if its name is invalid.
        """
        _refuse_name(short)
        own = self.tables.get(short, self.tables[self.short])
        other = Environment(short, f"{application}-{short}", {**self.tables, short: own})
        _refuse_long(other, "")
        return other

    def number(self, namespace: str, option: str, default: int | None = None) -> int:
        """The value of an option that is a number; without ``default``, Beanstalk's own applies."""
        fallback: Any = options.default(namespace, option) if default is None else default
        return int(self.settings(namespace).get(option, fallback))

    def retention(self) -> dict[str, str]:
        """The parameters of devops/backups.yml that say for how long backups are kept."""
        table = self.tables[self.short][BACKUPS]
        return _as_text({name: value for name, value in table.items() if name != DESTINATIONS})

    def settings(self, namespace: str) -> dict[str, Any]:
        """Its settings in a namespace of Beanstalk, those of all environments included."""
        found: dict[str, Any] = {}
        for table in self._applying(self.parameters().get("Certificate", "")):
            found |= self.tables.get(table, {}).get(namespace, {})
        return found

    def _applying(self, certificate: str) -> list[str]:
        """The tables with its settings; a later one takes precedence."""
        return ["all", *(["certificate"] if certificate else []), self.short]

    def most_instances(self) -> tuple[list[str], int]:
        """The instance types, and the number of instances at MaxSize during a deployment."""
        types = str(self.settings(INSTANCES).get("InstanceTypes", "")).replace(",", " ").split()
        size = self.number(GROUP, "MaxSize")
        return types, size + math.ceil(size * BATCH / 100)

    def refuse_plain_http(self) -> None:
        """Raise InvalidConfig for production without a certificate, unless the file allows that."""
        table = self.tables[self.short]
        if not self.is_production or table[STACK].get("Certificate") or table.get(PLAIN_HTTP):
            return
        raise InvalidConfig(
            NAME,
            f"{self.short} has no certificate, so anyone between users and the service can read "
            "and change names, dates of birth and keys. Give "
            f"[{self.short}.{STACK}] a Certificate and a PublicName. To accept that, "
            f"set {PLAIN_HTTP} = true in [{self.short}]",
        )

    def options(self, outputs: Mapping[str, str]) -> list[dict[str, str]]:
        """The option settings, by namespace and name, with the stacks' ``outputs`` filled in.

        Includes the settings for environments with a certificate if ``outputs`` has one. Raises
        InvalidConfig when a setting refers to a missing output.
        """
        settings = {
            (namespace, name): _fill(value, outputs)
            for table in self._applying(outputs.get("Certificate", ""))
            for namespace, values in self.tables.get(table, {}).items()
            if ":" in namespace
            for name, value in values.items()
        }
        return [
            {"Namespace": namespace, "OptionName": name, "Value": value}
            for (namespace, name), value in sorted(settings.items())
        ]

    def unwanted(self, wanted: list[dict[str, str]]) -> set[tuple[str, str]]:
        """The options of environments with a certificate that are not ``wanted``.

        By namespace and name. They stay set when an environment has no certificate any more.
        """
        https = self.tables.get("certificate", {})
        return {(namespace, name) for namespace, values in https.items() for name in values} - {
            (one["Namespace"], one["OptionName"]) for one in wanted
        }


def read(settings: Settings) -> dict[str, Environment]:
    """All environments of the checkout, by their short names. Raises InvalidConfig."""
    try:
        tables = tomllib.loads(read_text(settings.root, NAME))
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(NAME, f"invalid TOML: {error}") from error
    found = {}
    for short, table in tables.items():
        if not isinstance(table, dict):
            raise InvalidConfig(
                NAME, f"{short!r} is not a table: begin it with a line such as [{short}]"
            )
        _refuse_unknown(short, table)
        if short not in COMMON:
            _refuse_name(short)
            found[short] = Environment(short, settings.name(short), tables)
    if not found:
        raise InvalidConfig(NAME, f"there is no environment: expected a table [staging.{STACK}]")
    _refuse_invalid(settings, tables, found)
    return found


def read_budget(settings: Settings) -> str:
    """The monthly budget of the account in USD, 0 for none. Raises InvalidConfig."""
    account = next(iter(read(settings).values())).tables.get("account", {})
    return template_parameters.as_text(account.get("MonthlyBudget", 0))


def refuse_region(settings: Settings) -> None:
    """Raise Failure if nothing is to be created in the region, which may be that of a shell."""
    destinations = (one.destinations() or () for one in read(settings).values())
    known = dict.fromkeys([settings.home, *(one for pair in destinations for one in pair)])
    if settings.region not in known:
        raise Failure(
            f"{settings.region} ({settings.region_variable}) is not a region of this service, "
            f"which has {', '.join(known)}",
            next=f"unset {settings.region_variable}; or, if the service is to move, change "
            f"default_region in {CONFIG}, or {DESTINATIONS} in {NAME}",
        )


def _refuse_name(short: str) -> None:
    if not re.fullmatch(r"[a-z0-9]{2,20}", short) or short in COMMON:
        raise InvalidConfig(NAME, f"{short!r}: expected 2 to 20 lower-case letters or digits")


def _refuse_long(environment: Environment, home: str) -> None:
    """Raise InvalidConfig for names that AWS would refuse, half an hour into a command."""
    foundation = f"{environment.name.removesuffix(environment.short)}foundation"
    names = [
        (foundation, FOUNDATION_MAX, "the stack of devops/foundation.yml"),
        (environment.name, NAME_MAX, "an environment"),
    ]
    if found := environment.destinations():
        vaults = (f"{environment.name}-{region}" for region in (home, *found))
        names += [(name, VAULT_MAX, "a backup vault") for name in vaults]
    for name, limit, owner in names:
        if len(name) > limit:
            raise InvalidConfig(
                NAME,
                f"{environment.short!r}: {name} has {len(name)} characters, and the name of "
                f"{owner} at most {limit}: use a shorter name",
            )


def _refuse_options(root: Path, table: str, values: Mapping[str, Any]) -> None:
    """Raise InvalidConfig for options that Beanstalk, or .ebextensions, would ignore or refuse."""
    used = re.findall(r"OptionName\"?: \"?(\w+)", "".join(_read_files(root)))
    outputs = template_parameters.read_outputs(root, FOUNDATION, TEMPLATE)
    if table != "certificate" and not values.get(STACK, {}).get("Certificate"):
        outputs -= CERTIFICATE  # which are empty
    for namespace in (one for one in values if ":" in one):
        for name, value in values[namespace].items():
            problem = options.find_problem(namespace, name, value)
            if unknown := set(re.findall(OUTPUT, str(value))) - outputs:
                problem = (
                    f"{name}: {{{min(unknown)}}} is not an output of {FOUNDATION} or {TEMPLATE}"
                )
            if namespace == options.CUSTOM and name not in used:
                problem = f"no file of {FILES} uses {name}"
            if problem:
                raise InvalidConfig(NAME, f"[{table}] {problem}")


def _refuse_contradictions(settings: Settings, environment: Environment) -> None:
    """Raise InvalidConfig for valid values that AWS would refuse together."""
    certificate, name = (environment.parameters()[one] for one in ("Certificate", "PublicName"))
    least, most = (environment.number(GROUP, one) for one in ("MinSize", "MaxSize"))
    shared = re.findall(rf"{IN_SERVICE}: (\d+)", "".join(_read_files(settings.root)))
    kept = environment.number(UPDATES, IN_SERVICE, max(map(int, shared), default=0))
    storage, limit = (environment.number(options.CUSTOM, one) for one in (STORAGE, STORAGE_LIMIT))
    region = certificate.split(":")[3] if certificate else settings.home
    for is_wrong, problem in (
        (bool(certificate) != bool(name), "give both Certificate and PublicName, or neither"),
        (region != settings.home, f"Certificate is in {region}: expected one in {settings.home}"),
        (least > most, f"MinSize {least} is more than MaxSize {most}"),
        (
            kept >= most,
            f"MaxSize {most} is not more than {IN_SERVICE}, which is {kept}: set "
            f"[{environment.short}.{UPDATES!r}] {IN_SERVICE} = {most - 1}",
        ),
        (  # github.com/ministryofjustice/cloud-platform-environments/pull/24422 has RDS's message
            limit * 10 < storage * 11,
            f"{STORAGE_LIMIT} {limit} is less than 10 % above {STORAGE}, which is {storage}",
        ),
    ):
        if is_wrong:
            raise InvalidConfig(NAME, f"[{environment.short}] {problem}")


def _read_files(root: Path) -> list[str]:
    """The texts of .ebextensions. Raises InvalidConfig."""
    files = sorted((root / FILES).glob("*.config"))
    return [read_text(root, str(path.relative_to(root))) for path in files]


def _refuse_unknown(short: str, table: Mapping[str, Any]) -> None:
    """Raise InvalidConfig for keys that are missing, or that would be ignored."""
    if short == "account":
        return
    if short not in COMMON and STACK not in table:
        raise InvalidConfig(NAME, f"[{short}.{STACK}] is missing")
    known = {"all": (ALARMS,), "certificate": ()}.get(short, (STACK, ALARMS, BACKUPS))
    for key, value in table.items():
        if key == PLAIN_HTTP and short not in COMMON:
            if not isinstance(value, bool):
                raise InvalidConfig(NAME, f"[{short}] {key}: expected true or false")
        elif not (isinstance(value, dict) and (key in known or ":" in key)):
            names = [PLAIN_HTTP] if short not in COMMON else []
            names += [f"[{short}.{name}]" for name in known]
            raise InvalidConfig(
                NAME,
                f"[{short}] has {key!r}: expected {', '.join([*names, 'or a namespace such as '])}"
                f'[{short}."aws:autoscaling:asg"]',
            )


def _refuse_invalid(
    settings: Settings, tables: Mapping[str, Any], found: Mapping[str, Environment]
) -> None:
    """Raise InvalidConfig for values that the templates do not allow, and for missing values."""
    watched = template_parameters.read_parameters(settings.root, OPERATIONS)
    stack = template_parameters.read_parameters(settings.root, TEMPLATE)
    account = template_parameters.read_parameters(settings.root, BUDGET)
    for table, values in tables.items():
        _refuse_options(settings.root, table, values)
    _check("account", tables.get("account", {}), account, is_whole=False)
    for short, one in found.items():
        _check(f"{short}.{STACK}", one.tables[short][STACK], stack)
        merged = tables.get("all", {}).get(ALARMS, {}) | tables[short].get(ALARMS, {})
        _check(f"{short}.{ALARMS}", merged, watched)
        if BACKUPS in tables[short]:
            _check_backups(settings, f"{short}.{BACKUPS}", tables[short][BACKUPS])
        _refuse_long(one, settings.home)
        _refuse_contradictions(settings, one)


def _check_backups(settings: Settings, where: str, table: Mapping[str, Any]) -> None:
    regions = table.get(DESTINATIONS)
    if not (
        isinstance(regions, list)
        and len(regions) == len(set(map(str, regions))) == 2
        and all(REGION.fullmatch(str(one)) for one in regions)
        and settings.home not in regions
    ):
        raise InvalidConfig(
            NAME,
            f"[{where}] {DESTINATIONS} {regions!r}: expected two different regions other than "
            f'{settings.home}, such as ["eu-central-1", "eu-north-1"]',
        )
    days = {name: value for name, value in table.items() if name != DESTINATIONS}
    _check(where, days, template_parameters.read_parameters(settings.root, PLAN))


def _check(where: str, values: Any, declared: Mapping[str, Any], *, is_whole: bool = True) -> None:
    settable = {name: one for name, one in declared.items() if name not in GIVEN}
    if not isinstance(values, dict):
        raise InvalidConfig(NAME, f"[{where}]: expected a table of {', '.join(settable)}")
    for name, value in values.items():
        if name not in settable:
            raise InvalidConfig(
                NAME, f"[{where}] has {name!r}: expected one of {', '.join(settable)}"
            )
        if problem := template_parameters.find_problem(settable[name], value):
            raise InvalidConfig(NAME, f"[{where}] {name} {value!r}: {problem}")
    missing = [one for one in settable if one not in values] if is_whole else []
    if missing:
        raise InvalidConfig(NAME, f"[{where}] has no {', '.join(missing)}")


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: template_parameters.as_text(value) for name, value in values.items()}


def find(settings: Settings, short: str) -> Environment:
    """The environment ``short``. Raises InvalidConfig when the file does not have it."""
    known = read(settings)
    if short not in known:
        raise InvalidConfig(NAME, f"there is no {short!r}. There are: {', '.join(known)}")
    return known[short]


def _fill(value: Any, outputs: Mapping[str, str]) -> str:
    text = template_parameters.as_text(value)
    for name in re.findall(OUTPUT, text):
        if not outputs.get(name):
            raise InvalidConfig(NAME, f"{{{name}}} is an output of no stack, or is empty")
    return re.sub(OUTPUT, lambda match: outputs[match[1]], text)
