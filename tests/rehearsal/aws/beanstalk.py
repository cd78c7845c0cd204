"""The API of Elastic Beanstalk, for the Docker platform.

It imitates the documented behaviour: versions from S3, settings by precedence (direct before
saved before .ebextensions before defaults), a file with a mistake skipped with a warning, events in
Beanstalk's words, one operation at a time. The operations themselves are in ``deployments``; waiting times are
shortened.

Not imitated: scaling, managed updates, settings that need other instances, a version together with
settings, resources other than the database, its parameters and the redirect to HTTPS, and changes to these,
worker environments, and AWS's own network.
"""

import functools
import itertools
import threading
from datetime import UTC, datetime

from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.aws.deployments import Deployments
from tests.rehearsal.aws.environment import Environment
from tests.rehearsal.waiting import limit, wait_for
from tests.support import ebextensions
from tests.support.aws import ACCOUNT
from tests.support.certificates import Authority

PLATFORM = "Docker running on 64bit Amazon Linux 2023"
STACK = "64bit Amazon Linux 2023 v4.13.7 running Docker"
# The last event of an operation that fails; see
# docs.aws.amazon.com/elasticbeanstalk/latest/dg/AWSHowTo.eventbridge.html
FAILURES = {
    "Launching": (
        "Create environment operation is complete, but with errors. For more information, see "
        "troubleshooting documentation.",
        "ERROR",
    ),
    "Updating": ("Failed to deploy application.", "ERROR"),
    "Terminating": (
        "The environment termination step failed because at least one of the environment "
        "termination workflows failed.",
        "INFO",
    ),
}


class Invalid(Refused):
    """Parameters that Beanstalk does not take."""

    def __init__(self, message):
        super().__init__("InvalidParameterValue", message)


class Beanstalk:
    """The API: each of ``actions`` is a method of that name, with the API's parameters."""

    actions = (
        "check_dns_availability",
        "create_application",
        "describe_applications",
        "create_application_version",
        "describe_application_versions",
        "create_storage_location",
        "delete_application",
        "delete_application_version",
        "create_configuration_template",
        "create_environment",
        "update_environment",
        "terminate_environment",
        "describe_environments",
        "describe_events",
        "describe_configuration_settings",
        "describe_instances_health",
        "describe_environment_health",
        "describe_environment_resources",
        "describe_platform_version",
        "list_platform_branches",
        "list_platform_versions",
        "list_available_solution_stacks",
        "abort_environment_update",
    )

    def __init__(self, folder, region, on_version):
        """``on_version(label)`` is called when a version has been created; its image has been pushed by then."""
        self.folder, self.region, self._on_version = folder, region, on_version
        self.bucket = f"elasticbeanstalk-{region}-{ACCOUNT}"
        self._platform_arn = f"arn:aws:elasticbeanstalk:{region}::platform/{PLATFORM}/4.13.7"
        self.trust = Authority()
        self.applications, self.versions, self.environments = set(), {}, {}
        self.terminated, self._numbers = [], itertools.count()
        self.templates = {}  # saved configurations
        self.denied = set()  # actions for which permission is missing
        self.calls = []
        self._threads = []
        self._lock = threading.Lock()

    def connect(self, client, login, databases, rights):
        """``client(service)`` makes clients; ``login`` is the command with which instances log in to the registry."""
        self._client, self._rights = client, rights
        self.deployments = Deployments(client, login, self.trust, self.versions, databases, rights)

    def stop(self):
        """Abort running operations; the machines are removed together with all other containers."""
        if self.environments:
            self.deployments.stalled = False
        for environment in self.environments.values():
            environment.aborted.set()
        for thread in self._threads:
            thread.join(limit(60))

    def wait(self, name):
        """Wait until ``name`` is Ready."""
        environment = self.environments[name]
        wait_for(lambda: environment.status == "Ready", 900, lambda: environment.events)
        return environment

    # --- The API -------------------------------------------------------------------------------

    def create_application(self, ApplicationName, **_):
        self._note("create_application")
        if ApplicationName in self.applications:
            raise Invalid(f"Application {ApplicationName} already exists.")
        self.applications.add(ApplicationName)
        return {"Application": {"ApplicationName": ApplicationName}}

    def describe_applications(self, ApplicationNames=(), **_):
        found = [
            one for one in self.applications if not ApplicationNames or one in ApplicationNames
        ]
        return {"Applications": [{"ApplicationName": name} for name in found]}

    def delete_application(self, ApplicationName, **_):
        """Not while it has environments: docs.aws.amazon.com/elasticbeanstalk/latest/api/API_DeleteApplication.html"""
        self._note("delete_application")
        if self.environments:
            raise Invalid(
                f"Unable to delete application {ApplicationName} because it has running environments."
            )
        self.applications.discard(ApplicationName)

    def delete_application_version(
        self, ApplicationName, VersionLabel, DeleteSourceBundle="false", **_
    ):
        """Not one that is deployed: docs.aws.amazon.com/elasticbeanstalk/latest/api/API_DeleteApplicationVersion.html"""
        self._note("delete_application_version")
        if any(one.label == VersionLabel for one in self.environments.values()):
            raise Refused("SourceBundleDeletionFailure", f"Version {VersionLabel} is deployed.")
        version = self.versions.pop(VersionLabel)
        if DeleteSourceBundle == "true":
            source = version["SourceBundle"]
            self._client("s3").delete_object(Bucket=source["S3Bucket"], Key=source["S3Key"])

    def create_storage_location(self, **_):
        self._note("create_storage_location")
        if self.bucket not in self._buckets():
            self._client("s3").create_bucket(
                Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": self.region}
            )
        return {"S3Bucket": self.bucket}

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
        self._on_version(VersionLabel)
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
            EnvironmentName,
            ApplicationName,
            direct,
            saved,
            self.folder,
            next(self._numbers),
            self.region,
            label,
        )
        for before in self.terminated:  # whose events have the same name
            if before.name == EnvironmentName:
                environment.events = list(before.events)
        environment.operation_began = len(environment.events)
        self.environments[EnvironmentName] = environment
        environment.tell("createEnvironment is starting.")
        self._begin(environment, "Launching", lambda: self.deployments.launch(environment, label))
        return self._describe(environment)

    def update_environment(
        self, EnvironmentName, VersionLabel=None, OptionSettings=(), OptionsToRemove=(), **_
    ):
        self._note("update_environment")
        environment = self._find(EnvironmentName)
        if VersionLabel and VersionLabel not in self.versions:
            raise Invalid(f"No Application Version named '{VersionLabel}' found.")
        changed = self._direct(OptionSettings)
        removed = {(one["Namespace"], one["OptionName"]) for one in OptionsToRemove}
        self._leave_ready(environment, "Updating")
        environment.tell("Environment update is starting.")
        if refusal := self._rights.refuse_update(environment):
            work = functools.partial(self.deployments.refuse, refusal)
        elif VersionLabel:
            work = lambda: self.deployments.update(environment, VersionLabel)  # noqa: E731
        else:
            work = lambda: self.deployments.configure(environment, changed, removed)  # noqa: E731
        self._begin(environment, "Updating", work)
        return self._describe(environment)

    def terminate_environment(self, EnvironmentName, **_):
        self._note("terminate_environment")
        environment = self._find(EnvironmentName)
        self._leave_ready(environment, "Terminating")
        environment.tell("terminateEnvironment is starting.")

        def work():
            self.deployments.terminate(environment)
            self.terminated.append(self.environments.pop(EnvironmentName))
            environment.status = "Terminated"

        self._begin(environment, "Terminating", work)
        return self._describe(environment)

    def abort_environment_update(self, EnvironmentName, **_):
        self._note("abort_environment_update")
        self._find(EnvironmentName).aborted.set()
        return {}

    def describe_environments(self, EnvironmentNames=(), IncludeDeleted="true", **_):
        """With those that were terminated, unless asked otherwise: the AWS CLI's `wait environment-terminated` needs it."""
        deleted = self.terminated if IncludeDeleted == "true" else []
        found = [
            self._describe(environment)
            for environment in (*self.environments.values(), *deleted)
            if not EnvironmentNames or environment.name in EnvironmentNames
        ]
        return {"Environments": found}

    def describe_events(self, EnvironmentName=None, StartTime=None, RequestId=None, **more):
        environment = self._find(EnvironmentName)
        events = list(environment.events)
        if RequestId:  # operations do not overlap, so this is the most recent one
            events = events[environment.operation_began :]
        events = [one for one in events if not StartTime or one["EventDate"] >= _aware(StartTime)]
        if more.get("Severity") == "ERROR":
            events = [one for one in events if one["Severity"] in ("ERROR", "FATAL")]
        return {"Events": events[::-1][: int(more.get("MaxRecords", 1000))]}

    def describe_configuration_settings(self, EnvironmentName, **_):
        settings = [
            {"Namespace": namespace, "OptionName": name, "Value": value}
            for (namespace, name), value in sorted(self._find(EnvironmentName).options().items())
        ]
        deployed = {"DeploymentStatus": "deployed", "OptionSettings": settings}
        return {"ConfigurationSettings": [deployed]}

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

    def describe_environment_resources(self, EnvironmentName, **_):
        environment = self._find(EnvironmentName)
        found = {
            "EnvironmentName": EnvironmentName,
            "LoadBalancers": [{"Name": environment.load_balancer_arn}],
            "AutoScalingGroups": [{"Name": environment.group}],
        }
        if not environment.balancer:
            found |= {"LoadBalancers": [], "AutoScalingGroups": []}
        return {"EnvironmentResources": found}

    def check_dns_availability(self, CNAMEPrefix, **_):
        return {"Available": True, "FullyQualifiedCNAME": CNAMEPrefix}

    def describe_platform_version(self, **_):
        described = {
            "PlatformArn": self._platform_arn,
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
        summary = {"PlatformArn": self._platform_arn, "PlatformVersion": "4.13.7"}
        return {"PlatformSummaryList": [summary]}

    def list_available_solution_stacks(self, **_):
        older = STACK.replace("4.13.7", "4.12.0")
        return {"SolutionStacks": ["64bit Amazon Linux 2023 v6.6.0 running ECS", STACK, older]}

    # --- Implementation ----------------------------------------------------------------------

    def _note(self, action):
        if action in self.denied:
            raise Refused(
                "AccessDenied", f"User is not authorized to perform: elasticbeanstalk:{action}"
            )
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
                ebextensions.check(option, one["Value"])
            except ebextensions.Mistake as mistake:
                raise Invalid(f"Invalid option specification: {mistake}") from mistake
            direct[option] = one["Value"]
        return direct

    def _describe(self, environment):
        colour, health = environment.colour()
        known = {"VersionLabel": environment.label or environment.wanted}
        if environment.balancer:
            known["CNAME"] = environment.cname
        return known | {
            "EnvironmentName": environment.name,
            "EnvironmentId": environment.id,
            "ApplicationName": environment.application,
            "SolutionStackName": STACK,
            "PlatformArn": self._platform_arn,
            "Tier": {"Name": "WebServer", "Type": "Standard", "Version": "1.0"},
            "EnvironmentArn": f"arn:aws:elasticbeanstalk:{self.region}:{ACCOUNT}:environment/"
            f"{environment.application}/{environment.name}",
            "Status": environment.status,
            "Health": colour,
            "HealthStatus": health,
            "DateCreated": environment.updated,
            "DateUpdated": environment.updated,
        }

    def _leave_ready(self, environment, status):
        with self._lock:
            if environment.status != "Ready":
                raise Invalid(
                    f"Environment named {environment.name} is in an invalid state for this "
                    "operation. Must be Ready."
                )
            environment.status = status
        environment.operation_began = len(environment.events)

    def _begin(self, environment, status, work):
        environment.status = status
        environment.aborted.clear()

        def run():
            try:
                work()
            except Exception as error:  # any exception ends the operation
                words = str(error).replace("\n", " ")[:600]
                environment.tell(words, "ERROR")
                environment.tell(*FAILURES[status])
                environment.status = "Ready"

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()


def _aware(moment):
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
