"""A small control plane of Elastic Beanstalk, for the Docker platform.

It does what is documented of the real one: versions from S3, settings by precedence (direct before
saved before .ebextensions before defaults), a file with a mistake ignored with a warning, rolling
deployments with an additional batch and immutable ones, hooks, secrets fetched when an instance
starts or is updated, enhanced health, events in Beanstalk's words, one operation at a time.
Everything that runs is real. Waiting times are shortened.

Not done: scaling, managed updates, settings that need other instances, a version together with
settings, resources other than the database and its parameters, and changes of these, https,
termination, IAM, worker environments, and what AWS's own network does.
"""

import io
import json
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from moto.core.exceptions import ServiceException

from tests import ebextensions
from tests.rehearsal.machines import Database, Failed, Instance, LoadBalancer, TrustStore, remove

PLATFORM = "Docker running on 64bit Amazon Linux 2023"
STACK = "64bit Amazon Linux 2023 v4.13.7 running Docker"
REGION, ACCOUNT = "eu-west-1", "123456789012"
PLATFORM_ARN = f"arn:aws:elasticbeanstalk:{REGION}::platform/{PLATFORM}/4.13.7"
BUCKET = f"elasticbeanstalk-{REGION}-{ACCOUNT}"
HEALTHY_WITHIN = 10  # seconds; of Beanstalk's own some 10 minutes
SECRETS = "aws:elasticbeanstalk:application:environmentsecrets"
PROPERTIES = "aws:elasticbeanstalk:application:environment"
CATALOGUE = ebextensions.Catalogue()
# A change of these is a replacement, which CloudFormation refuses for what has a name of its own
REPLACED = (
    "DBInstanceIdentifier", "DBName", "MasterUsername", "Port", "StorageEncrypted", "KmsKeyId",
    "DBSubnetGroupName", "Engine",
)  # fmt: skip


class Invalid(ServiceException):
    code = "InvalidParameterValue"


class Denied(ServiceException):
    code = "AccessDenied"


class Release:
    """A version's bundle, and what its .ebextensions say."""

    def __init__(self, label, bundle, warn):
        self.label, self.bundle = label, bundle
        self.options, self.resources, self.files = {}, {}, {}
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            names = sorted(n for n in archive.namelist() if n.startswith(".ebextensions/"))
            for name in names:
                try:
                    content = ebextensions.parse(archive.read(name).decode(), Path(name).name)
                    options = ebextensions.options(content)
                    for option, value in options.items():
                        if not value.startswith("`"):
                            CATALOGUE.check(option, value)
                except ebextensions.Mistake as mistake:
                    warn(f"Configuration files cannot be read and are ignored: {mistake}")
                    continue
                self.options |= options
                self.resources |= content.get("Resources", {})
                self.files |= content.get("files", {})

    def is_set_up_as(self, other):
        """Whether another version's .ebextensions say the same."""
        return (self.options, self.resources, self.files) == (
            other.options, other.resources, other.files,
        )  # fmt: skip


class Environment:
    """One environment, its machines and its events."""

    def __init__(self, name, application, direct, saved, folder, number):
        self.name, self.application = name, application
        self.direct, self.saved = direct, saved
        self.folder, self.id = folder / name, f"e-rehearse{number:02}"
        self.status, self.label, self.release = "Launching", None, None
        self.instances, self.balancer, self.database = [], None, None
        self.events, self.operation_began = [], 0
        self.updated = datetime.now(UTC)
        self.aborted = threading.Event()

    def tell(self, message, severity="INFO"):
        self.updated = datetime.now(UTC)
        self.events.append(
            {
                "EventDate": self.updated,
                "Message": message,
                "ApplicationName": self.application,
                "EnvironmentName": self.name,
                "Severity": severity,
            }
        )

    def options(self):
        """What is set, by Beanstalk's precedence."""
        return self.release.options | self.saved | self.direct

    def option(self, namespace, name):
        """A setting, which may be a default, or None."""
        found = self.options().get((namespace, name))
        return CATALOGUE.default((namespace, name)) if found is None else found

    def colour(self):
        """Colour and health, as enhanced health would see them now."""
        if self.status != "Ready":
            return "Grey", "Info"
        path = self.option("aws:elasticbeanstalk:environment:process:default", "HealthCheckPath")
        wanted = int(self.option("aws:autoscaling:asg", "MinSize"))
        healthy = [one for one in self.instances if one.slot is not None and one.healthy(path)]
        if len(healthy) >= wanted and len(healthy) == len(self.instances):
            return "Green", "Ok"
        return ("Yellow", "Warning") if healthy else ("Red", "Severe")


class Beanstalk:
    """The API: each of ``actions`` is a method of that name, with the API's parameters."""

    actions = (
        "check_dns_availability", "create_application", "describe_applications",
        "create_application_version", "describe_application_versions", "create_storage_location",
        "create_configuration_template", "create_environment", "update_environment",
        "describe_environments", "describe_events",
        "describe_configuration_settings", "describe_instances_health",
        "describe_environment_health", "describe_platform_version", "list_platform_branches",
        "list_platform_versions", "list_available_solution_stacks", "abort_environment_update",
    )  # fmt: skip

    def __init__(self, folder):
        self.folder = folder
        self.trust = TrustStore()
        self.applications, self.versions, self.environments = set(), {}, {}
        self.templates = {}  # saved configurations
        self.denied = set()  # actions for which permission is missing
        self.stalled = False  # whether deployments are begun and never end
        self.calls = []
        self._lock = threading.Lock()

    def connect(self, client, login):
        self._client, self._login = client, login

    def stop(self):
        for environment in self.environments.values():
            for instance in environment.instances:
                instance.terminate()
            if environment.balancer:
                remove(environment.balancer.container)
            if environment.database:
                remove(environment.database.container)

    def wait(self, name, seconds=120):
        """Wait until ``name`` is Ready."""
        deadline = time.monotonic() + seconds
        while self.environments[name].status != "Ready":
            assert time.monotonic() < deadline, self.environments[name].events
            time.sleep(0.1)
        return self.environments[name]

    # --- The API -------------------------------------------------------------------------------

    def create_application(self, ApplicationName, **_):
        self._note("create_application")
        if ApplicationName in self.applications:
            raise Invalid(f"Application {ApplicationName} already exists.")
        self.applications.add(ApplicationName)
        return {"Application": {"ApplicationName": ApplicationName}}

    def describe_applications(self, **_):
        return {"Applications": [{"ApplicationName": name} for name in self.applications]}

    def create_storage_location(self, **_):
        if BUCKET not in self._buckets():
            self._client("s3").create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        return {"S3Bucket": BUCKET}

    def create_application_version(self, ApplicationName, VersionLabel, SourceBundle=None, **more):
        self._note("create_application_version")
        if ApplicationName not in self.applications:
            raise Invalid(f"No Application named '{ApplicationName}' found.")
        if VersionLabel in self.versions:
            raise Invalid(f"Application Version {VersionLabel} already exists.")
        version = {
            "ApplicationName": ApplicationName,
            "VersionLabel": VersionLabel,
            "Description": more.get("Description", ""),
            "SourceBundle": SourceBundle,
            "Status": "UNPROCESSED",
            "DateCreated": datetime.now(UTC),
            "DateUpdated": datetime.now(UTC),
        }
        self.versions[VersionLabel] = version
        return {"ApplicationVersion": version}

    def describe_application_versions(self, VersionLabels=(), **_):
        found = [
            version
            for label, version in reversed(self.versions.items())
            if not VersionLabels or label in VersionLabels
        ]
        return {"ApplicationVersions": found}

    def create_configuration_template(self, ApplicationName, TemplateName, OptionSettings, **_):
        self._note("create_configuration_template")
        self.templates[TemplateName] = self._direct(OptionSettings)
        return {"ApplicationName": ApplicationName, "TemplateName": TemplateName}

    def create_environment(self, ApplicationName, EnvironmentName, **more):
        self._note("create_environment")
        if EnvironmentName in self.environments:
            raise Invalid(f"Environment {EnvironmentName} already exists.")
        label = more["VersionLabel"]
        if label not in self.versions:
            raise Invalid(f"No Application Version named '{label}' found.")
        direct = self._direct(more.get("OptionSettings", []))
        saved = self.templates[more["TemplateName"]] if "TemplateName" in more else {}
        environment = Environment(
            EnvironmentName, ApplicationName, direct, saved, self.folder, len(self.environments)
        )
        self.environments[EnvironmentName] = environment
        environment.tell("createEnvironment is starting.")
        self._begin(environment, "Launching", lambda: self._launch(environment, label))
        return self._describe(environment)

    def update_environment(self, EnvironmentName, VersionLabel=None, OptionSettings=(), **_):
        self._note("update_environment")
        environment = self._find(EnvironmentName)
        if VersionLabel and VersionLabel not in self.versions:
            raise Invalid(f"No Application Version named '{VersionLabel}' found.")
        changed = self._direct(OptionSettings)
        with self._lock:
            if environment.status != "Ready":
                raise Invalid(
                    f"Environment named {EnvironmentName} is in an invalid state for this "
                    "operation. Must be Ready."
                )
            environment.status = "Updating"
        environment.operation_began = len(environment.events)
        environment.tell("Environment update is starting.")
        if VersionLabel:
            work = lambda: self._update(environment, VersionLabel)  # noqa: E731
        else:
            work = lambda: self._configure(environment, changed)  # noqa: E731
        self._begin(environment, "Updating", work)
        return self._describe(environment)

    def abort_environment_update(self, EnvironmentName, **_):
        self._note("abort_environment_update")
        self._find(EnvironmentName).aborted.set()
        return {}

    def describe_environments(self, EnvironmentNames=(), **_):
        found = [
            self._describe(environment)
            for name, environment in self.environments.items()
            if not EnvironmentNames or name in EnvironmentNames
        ]
        return {"Environments": found}

    def describe_events(self, EnvironmentName=None, StartTime=None, RequestId=None, **more):
        environment = self._find(EnvironmentName)
        events = list(environment.events)
        if RequestId:  # operations do not overlap, so that it is the one that began last
            events = events[environment.operation_began :]
        events = [one for one in events if not StartTime or one["EventDate"] >= _aware(StartTime)]
        if more.get("Severity") == "ERROR":
            events = [one for one in events if one["Severity"] in ("ERROR", "FATAL")]
        return {"Events": events[::-1]}

    def describe_configuration_settings(self, EnvironmentName, **_):
        settings = [
            {"Namespace": namespace, "OptionName": name, "Value": value}
            for (namespace, name), value in sorted(self._find(EnvironmentName).options().items())
        ]
        return {"ConfigurationSettings": [{"OptionSettings": settings}]}

    def describe_instances_health(self, EnvironmentName, **_):
        environment = self._find(EnvironmentName)
        colour, status = environment.colour()
        health = [
            {
                "InstanceId": one.id,
                "HealthStatus": status,
                "Color": colour,
                "Deployment": {"VersionLabel": one.version, "Status": "Deployed"},
            }
            for one in environment.instances
        ]
        return {"InstanceHealthList": health}

    def describe_environment_health(self, EnvironmentName, **_):
        colour, status = self._find(EnvironmentName).colour()
        return {"EnvironmentName": EnvironmentName, "HealthStatus": status, "Color": colour}

    def check_dns_availability(self, CNAMEPrefix, **_):
        return {"Available": True, "FullyQualifiedCNAME": CNAMEPrefix}

    def describe_platform_version(self, **_):
        described = {
            "PlatformArn": PLATFORM_ARN,
            "PlatformName": PLATFORM,
            "PlatformVersion": "4.13.7",
            "PlatformBranchName": PLATFORM,
            "PlatformLifecycleState": "Recommended",
        }
        return {"PlatformDescription": described}

    def list_platform_branches(self, **_):
        branch = {"PlatformName": "Docker", "BranchName": PLATFORM, "LifecycleState": "Supported"}
        return {"PlatformBranchSummaryList": [branch]}

    def list_platform_versions(self, **_):
        summary = {"PlatformArn": PLATFORM_ARN, "PlatformVersion": "4.13.7"}
        return {"PlatformSummaryList": [summary]}

    def list_available_solution_stacks(self, **_):
        older = STACK.replace("4.13.7", "4.12.0")
        return {"SolutionStacks": ["64bit Amazon Linux 2023 v6.6.0 running ECS", STACK, older]}

    # --- RDS, for the databases of environments ------------------------------------------------

    def change_password(self, name, password):
        self._find(name).database.change_password(password)
        return self.describe_database(name)

    def describe_database(self, name):
        self._find(name)
        return {
            "DBInstanceIdentifier": name,
            "DBInstanceStatus": "available",
            "PendingModifiedValues": {},
        }

    # --- What it does --------------------------------------------------------------------------

    def _note(self, action):
        if action in self.denied:
            raise Denied(f"User is not authorized to perform: elasticbeanstalk:{action}")
        self.calls.append(action)

    def _find(self, name):
        if name not in self.environments:
            raise Invalid(f"No Environment found for EnvironmentName = '{name}'.")
        return self.environments[name]

    def _buckets(self):
        return {bucket["Name"] for bucket in self._client("s3").list_buckets()["Buckets"]}

    def _direct(self, settings):
        direct = {}
        for one in settings:
            option = (one["Namespace"], one["OptionName"])
            try:
                CATALOGUE.check(option, one["Value"])
            except ebextensions.Mistake as mistake:
                raise Invalid(f"Invalid option specification: {mistake}") from mistake
            direct[option] = one["Value"]
        return direct

    def _describe(self, environment):
        colour, health = environment.colour()
        return {
            "EnvironmentName": environment.name,
            "EnvironmentId": environment.id,
            "ApplicationName": environment.application,
            "VersionLabel": environment.label,
            "SolutionStackName": STACK,
            "PlatformArn": PLATFORM_ARN,
            "Tier": {"Name": "WebServer", "Type": "Standard", "Version": "1.0"},
            "CNAME": environment.balancer.cname if environment.balancer else "",
            "EnvironmentArn": f"arn:aws:elasticbeanstalk:{REGION}:{ACCOUNT}:environment/"
            f"{environment.application}/{environment.name}",
            "Status": environment.status,
            "Health": colour,
            "HealthStatus": health,
            "DateCreated": environment.updated,
            "DateUpdated": environment.updated,
        }

    def _begin(self, environment, status, work):
        environment.status = status
        environment.aborted.clear()

        def run():
            try:
                work()
            except Exception as error:  # whatever it is, it ends the operation
                words = str(error).replace("\n", " ")[:600]
                environment.tell(words, "ERROR")
                environment.status = "Ready"
                launching = status == "Launching"
                environment.tell(
                    "Failed to launch environment."
                    if launching
                    else "Failed to deploy application.",
                    "ERROR",
                )

        threading.Thread(target=run, daemon=True).start()

    def _launch(self, environment, label):
        environment.release = self._release(environment, label)
        environment.balancer = LoadBalancer(
            environment.option(
                "aws:elasticbeanstalk:environment:process:default", "HealthCheckPath"
            ),
            environment.option("aws:elbv2:loadbalancer", "IdleTimeout"),
        )
        environment.tell(f"Created load balancer named: {environment.balancer.cname}")
        self._make_database(environment)
        count = int(environment.option("aws:autoscaling:asg", "MinSize"))
        environment.instances = self._add(environment, environment.release, count)
        environment.label, environment.status = label, "Ready"
        environment.tell(f"Successfully launched environment: {environment.name}")

    def _update(self, environment, label):
        release = self._release(environment, label)
        before, environment.release = environment.release, release
        environment.tell("Deploying new version to instance(s).")
        while self.stalled:
            self._stop_if_aborted(environment)
            time.sleep(0.2)
        try:
            policy = environment.option("aws:elasticbeanstalk:command", "DeploymentPolicy")
            deploy = {"Immutable": self._immutable, "RollingWithAdditionalBatch": self._rolling}
            if policy not in deploy:
                raise Failed(f"The policy {policy} has a downtime, and is not rehearsed.")
            if policy == "Immutable" and not release.is_set_up_as(before):
                raise Failed(
                    "You cannot perform an immutable deployment concurrently with changes of "
                    "configuration settings or resources."
                )
            self._make_database(environment)
            deploy[policy](environment, release)
        except Exception:
            environment.release = before
            raise
        environment.label, environment.status = label, "Ready"
        environment.tell("New application version was deployed to running EC2 instances.")
        environment.tell("Environment update completed successfully.")

    def _configure(self, environment, changed):
        before = environment.direct
        environment.direct = before | changed
        environment.tell("Updating environment's configuration settings.")
        try:
            self._configure_instances(environment)
        except Failed as failed:
            environment.tell(str(failed), "ERROR")
            environment.direct = before
            self._configure_instances(environment)
            environment.tell(
                "The environment was reverted to the previous configuration setting.", "ERROR"
            )
            environment.status = "Ready"
            return
        environment.status = "Ready"
        environment.tell("Successfully deployed new configuration to environment.")
        environment.tell("Environment update completed successfully.")

    def _configure_instances(self, environment):
        for instance in environment.instances:
            self._out(environment, instance)
            instance.configure(self._environment(environment))
            self._in(environment, instance)

    def _immutable(self, environment, release):
        old, count = (
            environment.instances,
            int(environment.option("aws:autoscaling:asg", "MinSize")),
        )
        environment.tell(
            "Immutable deployment policy enabled. Launching one instance with the new settings to verify health."
        )
        new = self._add(environment, release, 1)
        try:
            environment.instances = old + new
            self._stop_if_aborted(environment)
            if count > 1:
                new += self._add(environment, release, count - 1)
            environment.instances = old + new
            self._stop_if_aborted(environment)
        except Exception:
            self._terminate(environment, new)
            environment.instances = old
            raise
        environment.instances = new
        self._terminate(environment, old)

    def _rolling(self, environment, release):
        count = int(environment.option("aws:autoscaling:asg", "MinSize"))
        percentage = int(environment.option("aws:elasticbeanstalk:command", "BatchSize"))
        batch = max(1, count * percentage // 100)
        old = list(environment.instances)
        extra = self._add(environment, release, batch)
        environment.instances = old + extra
        for instance in old[:count]:
            self._stop_if_aborted(environment)
            self._out(environment, instance)
            self._install(environment, instance, release)
            self._in(environment, instance)
        environment.instances = old[:count]
        self._terminate(environment, extra + old[count:])

    def _add(self, environment, release, count):
        """New instances with ``release``, serving; none at all if one of them fails."""
        instances = [Instance(environment.folder) for _ in range(count)]

        def launch(instance):
            self._install(environment, instance, release)
            self._in(environment, instance)

        try:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(launch, instances))
        except Exception:
            self._terminate(environment, instances)
            raise
        environment.tell(
            f"Added instances [{', '.join(one.id for one in instances)}] to your environment."
        )
        return instances

    def _install(self, environment, instance, release):
        try:
            instance.deploy(
                release.label, release.bundle, release.files, self._environment(environment),
                self._login, self.trust,
            )  # fmt: skip
        except Failed as failed:
            raise Failed(
                f"[Instance: {instance.id}] Command failed on instance. {failed}"
            ) from failed

    def _in(self, environment, instance):
        path = environment.option(
            "aws:elasticbeanstalk:environment:process:default", "HealthCheckPath"
        )
        deadline = time.monotonic() + HEALTHY_WITHIN
        in_a_row = 0
        while in_a_row < 4:
            self._stop_if_aborted(environment)
            instance.check()
            in_a_row = in_a_row + 1 if instance.healthy(path) else 0
            if time.monotonic() > deadline:
                raise Failed(
                    f"[Instance: {instance.id}] is not healthy: Target.ResponseCodeMismatch at {path}"
                )
            time.sleep(0.1)
        environment.balancer.add(instance)

    def _out(self, environment, instance):
        drain = environment.option(
            "aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay"
        )
        environment.balancer.remove(instance, float(drain))

    def _terminate(self, environment, instances):
        def end(instance):
            self._out(environment, instance)
            instance.terminate()

        with ThreadPoolExecutor(len(instances) or 1) as pool:
            list(pool.map(end, instances))

    def _stop_if_aborted(self, environment):
        if environment.aborted.is_set():
            raise Failed("Environment update was aborted by the user.")

    def _release(self, environment, label):
        where = self.versions[label]["SourceBundle"]
        stored = self._client("s3").get_object(Bucket=where["S3Bucket"], Key=where["S3Key"])
        return Release(label, stored["Body"].read(), lambda text: environment.tell(text, "WARN"))

    # --- Resources and settings ----------------------------------------------------------------

    def _environment(self, environment):
        """The environment of the container: properties, and secrets as they are now."""
        options = environment.options()
        values = {
            name: str(
                ebextensions.evaluate(value, environment.option, self._reference(environment))
            )
            for (namespace, name), value in options.items()
            if namespace == PROPERTIES
        }
        for (namespace, name), arn in options.items():
            if namespace == SECRETS:
                values[name] = self._secret(arn)
        return values

    def _secret(self, arn):
        parts = arn.split(":")
        try:
            found = self._client("secretsmanager").get_secret_value(SecretId=":".join(parts[:7]))
            text = found["SecretString"]
            return json.loads(text)[parts[7]] if len(parts) > 7 else text
        except Exception as error:
            raise Failed(
                f"Instance deployment failed to get one or more secrets: {error}"
            ) from error

    def _reference(self, environment):
        def look_up(name, attribute):
            if (name, attribute) == ("AWSEBEnvironmentName", None):
                return environment.name
            if name == "Database":
                return {
                    "Endpoint.Address": environment.database.host,
                    "Endpoint.Port": environment.database.port,
                }[attribute]
            return f"{environment.name}-{name}"

        return look_up

    def _make_database(self, environment):
        declared = environment.release.resources.get("Database")
        if not declared:
            return
        properties = self._evaluated(environment, "Database")
        if environment.database is None:
            parameters = self._evaluated(environment, "DatabaseParameters")["Parameters"]
            environment.tell("Creating the database.")
            properties["MasterUserPassword"] = self._resolved(properties["MasterUserPassword"])
            environment.database = Database(
                properties, parameters, self.trust, environment.folder / "database"
            )
            return
        before = environment.database.properties
        for name in REPLACED:
            if before.get(name) != properties.get(name):
                raise Failed(
                    "CloudFormation cannot update a stack when a custom-named resource requires "
                    f"replacing: Database, {name}"
                )

    def _evaluated(self, environment, name):
        """The properties of a resource."""
        return ebextensions.evaluate(
            environment.release.resources[name]["Properties"],
            environment.option,
            self._reference(environment),
        )

    def _resolved(self, text):
        """A dynamic reference to a secret, resolved as CloudFormation does at creation."""
        secret, _, key = text.removeprefix("{{resolve:secretsmanager:")[:-2].split(":")
        found = self._client("secretsmanager").get_secret_value(SecretId=secret)
        return json.loads(found["SecretString"])[key]


def _aware(moment):
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
