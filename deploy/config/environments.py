"""The environments of devops/environments.toml, and their settings."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.base.errors import Failure, InvalidConfig
from deploy.base.settings import CONFIG, REGION, Settings, read_text
from deploy.base.tables import Rule, check, kind, parse_toml
from deploy.base.template_parameters import as_text, as_texts, read_outputs, read_rules
from deploy.config import names, options

NAME = "devops/environments.toml"
SECRETS = "aws:elasticbeanstalk:application:environmentsecrets"
GROUP, INSTANCES = "aws:autoscaling:asg", "aws:ec2:instances"
UPDATES = "aws:autoscaling:updatepolicy:rollingupdate"
IN_SERVICE = "MinInstancesInService"  # CloudFormation: below the group's maximum
BATCH = 50  # percent more instances during a deployment, as in .ebextensions/20-deployment.config
PRODUCTION = "prod"
# The entries of a table besides Beanstalk's namespaces
STACK, ALARMS, BACKUPS, PLAIN_HTTP = "stack", "alarms", "backups", "PlainHttp"
DESTINATIONS = "Destinations"  # of backups
TABLE = kind(dict, "a table, which begins with a line such as [staging]")
SWITCH = kind(bool, "true or false")
NAMESPACES = {"aws:*": kind(dict, 'a table, such as [staging."aws:autoscaling:asg"]')}
OWN = {STACK: TABLE, ALARMS: TABLE, BACKUPS: TABLE, PLAIN_HTTP: SWITCH} | NAMESPACES
BUDGET, FOUNDATION = "devops/budget.yml", "devops/foundation.yml"
TEMPLATE = "devops/environment.yml"
OPERATIONS, PLAN = "devops/operations.yml", "devops/backups.yml"
PROBE = "devops/probe.yml"
REPLICATION, VAULT = "devops/replication.yml", "devops/vault.yml"
CERTIFICATE = {"Certificate", "PublicName"}  # outputs that are empty without a certificate
STORAGE, STORAGE_LIMIT = "DatabaseStorage", "DatabaseStorageLimit"  # GiB


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
        return as_texts(self.tables[self.short][STACK])

    def thresholds(self) -> dict[str, str]:
        """The parameters of devops/operations.yml that say when an alarm fires."""
        return as_texts(self.tables["all"][ALARMS] | self.tables[self.short].get(ALARMS, {}))

    def destinations(self) -> tuple[str, str] | None:
        """The two regions to which its backups are copied, or None if it has no backups."""
        table = self.tables[self.short].get(BACKUPS)
        return None if table is None else tuple(table[DESTINATIONS])

    def copy_regions(self, region: str, home: str) -> tuple[str, ...]:
        """The two of its three regions other than ``region``; empty without backups."""
        found = self.destinations()
        return tuple(one for one in (home, *found) if one != region) if found else ()

    def renamed(self, short: str, application: str) -> "Environment":
        """Another environment with the same settings. Raises InvalidConfig for its name."""
        _refuse_name(application, short, self.destinations() or ())
        own = self.tables.get(short, self.tables[self.short])
        return Environment(short, f"{application}-{short}", {**self.tables, short: own})

    def number(self, namespace: str, option: str, default: int | None = None) -> int:
        """The value of an option that is a number; without ``default``, Beanstalk's own applies."""
        fallback: Any = options.default(namespace, option) if default is None else default
        return int(self._options(self._certificate).get((namespace, option), fallback))

    def retention(self) -> dict[str, str]:
        """The parameters of devops/backups.yml that say for how long backups are kept."""
        table = self.tables[self.short][BACKUPS]
        return as_texts({name: value for name, value in table.items() if name != DESTINATIONS})

    @property
    def _certificate(self) -> str:
        return self.parameters().get("Certificate", "")

    def _options(self, certificate: str) -> dict[tuple[str, str], Any]:
        """Its options as the file has them, by namespace and name, with or without HTTPS."""
        applying = ("all", *(["certificate"] if certificate else []), self.short)  # the last wins
        return {
            key: value
            for table in applying
            for key, value in options.collect(self.tables.get(table, {})).items()
        }

    def most_instances(self) -> tuple[list[str], int]:
        """The instance types, and the number of instances at MaxSize during a deployment."""
        named = self._options(self._certificate).get((INSTANCES, "InstanceTypes"), "")
        types = str(named).replace(",", " ").split()
        size = self.number(GROUP, "MaxSize")
        return types, size + math.ceil(size * BATCH / 100)

    def refuse_plain_http(self) -> None:
        """Raise InvalidConfig for production without a certificate, unless the file allows that."""
        if not self.is_production or self._certificate or self.tables[self.short].get(PLAIN_HTTP):
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
        return [
            {"Namespace": namespace, "OptionName": name, "Value": _fill(value, outputs)}
            for (namespace, name), value in sorted(
                self._options(outputs.get("Certificate", "")).items()
            )
        ]

    def unwanted(self, wanted: list[dict[str, str]]) -> set[tuple[str, str]]:
        """The options of environments with a certificate that are not ``wanted``.

        By namespace and name. They stay set when an environment has no certificate any more.
        """
        https = options.collect(self.tables.get("certificate", {}))
        return https.keys() - {(one["Namespace"], one["OptionName"]) for one in wanted}


def read(settings: Settings) -> dict[str, Environment]:
    """All environments of the checkout, by their short names. Raises InvalidConfig."""
    tables = parse_toml(NAME, read_text(settings.root, NAME))
    own = [one for one in tables if one not in names.RESERVED]
    for short in own:
        _refuse_name(settings.application, short, ())
    _refuse_invalid(settings, tables)
    found = {one: Environment(one, settings.name(one), tables) for one in own}
    if not found:
        raise InvalidConfig(NAME, f"there is no environment: expected a table [staging.{STACK}]")
    for one in found.values():
        _refuse_name(settings.application, one.short, (settings.home, *(one.destinations() or ())))
        _refuse_contradictions(settings, one)
    return found


def find(settings: Settings, short: str) -> Environment:
    """The environment ``short``. Raises InvalidConfig when the file does not have it."""
    known = read(settings)
    if short not in known:
        raise InvalidConfig(NAME, f"there is no {short!r}. There are: {', '.join(known)}")
    return known[short]


def find_any(settings: Settings, short: str) -> Environment:
    """The same for one that the file may not have, such as that of an exercise.

    It has the settings of the first environment then. Raises InvalidConfig for an invalid name.
    """
    known = read(settings)
    return known.get(short) or next(iter(known.values())).renamed(short, settings.application)


def find_regions(settings: Settings) -> tuple[str, ...]:
    """The regions of all environments and their backups, home first. Raises InvalidConfig."""
    destinations = (one.destinations() or () for one in read(settings).values())
    return tuple(dict.fromkeys([settings.home, *(one for pair in destinations for one in pair)]))


def refuse_region(settings: Settings) -> None:
    """Raise Failure if nothing is to be created in the region, which may be that of a shell."""
    known = find_regions(settings)
    if settings.region not in known:
        raise Failure(
            f"{settings.region} ({settings.region_variable}) is not a region of this service, "
            f"which has {', '.join(known)}",
            next=f"unset {settings.region_variable}; or, if the service is to move, change "
            f"default_region in {CONFIG}, or {DESTINATIONS} in {NAME}",
        )


def _refuse_name(application: str, short: str, regions: tuple[str, ...]) -> None:
    if problem := names.find_problem(application, short, regions):
        raise InvalidConfig(NAME, f"{short!r}: {problem}")


def _refuse_contradictions(settings: Settings, environment: Environment) -> None:
    """Raise InvalidConfig for valid values that AWS would refuse together."""
    certificate, name = (environment.parameters()[one] for one in ("Certificate", "PublicName"))
    least, most = (environment.number(GROUP, one) for one in ("MinSize", "MaxSize"))
    shared = re.findall(rf"{IN_SERVICE}: (\d+)", options.read_extensions(settings.root))
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


def _refuse_invalid(settings: Settings, tables: Mapping[str, Any]) -> None:
    """Raise InvalidConfig for what would be ignored, for what is missing, and for wrong values."""
    root = settings.root
    shapes = {
        "account": read_rules(root, BUDGET),
        "all": {ALARMS: TABLE} | NAMESPACES,
        "certificate": NAMESPACES,
    }
    check(NAME, "", tables, {"*": TABLE}, optional="*")
    for short, table in tables.items():
        shape = shapes.get(short, OWN)
        check(NAME, f"[{short}] ", table, shape, optional=shape.keys() - {STACK})
    outputs = read_outputs(root, FOUNDATION, TEMPLATE)
    for short, table in tables.items():
        has_certificate = short == "certificate" or table.get(STACK, {}).get("Certificate")
        found = outputs if has_certificate else outputs - CERTIFICATE
        if problem := options.find_first_problem(root, table, found):
            raise InvalidConfig(NAME, f"[{short}] {problem}")
        if short not in names.RESERVED:
            check(NAME, f"[{short}.{STACK}] ", table[STACK], read_rules(root, TEMPLATE))
            alarms = tables.get("all", {}).get(ALARMS, {}) | table.get(ALARMS, {})
            check(NAME, f"[{short}.{ALARMS}] ", alarms, read_rules(root, OPERATIONS))
            if BACKUPS in table:
                rules = {DESTINATIONS: _two_regions(settings.home)} | read_rules(root, PLAN)
                check(NAME, f"[{short}.{BACKUPS}] ", table[BACKUPS], rules)


def _two_regions(home: str) -> Rule:
    return Rule(
        f'expected two different regions other than {home}, such as ["eu-central-1", "eu-north-1"]',
        lambda found: (
            isinstance(found, list)
            and len(found) == len({str(one) for one in found} - {home}) == 2
            and all(REGION.fullmatch(str(one)) for one in found)
        ),
    )


def _fill(value: Any, outputs: Mapping[str, str]) -> str:
    text = as_text(value)
    for name in options.find_outputs(text):
        if not outputs.get(name):
            raise InvalidConfig(NAME, f"{{{name}}} is not an output of a stack, or is empty")
        text = text.replace(f"{{{name}}}", outputs[name])
    return text
