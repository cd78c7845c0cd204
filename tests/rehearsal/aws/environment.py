"""An environment of Beanstalk: its version, its settings by precedence, its machines and its events."""

import io
import threading
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from deploy.config import options
from tests.support import ebextensions
from tests.support.aws import ACCOUNT, REGION


class Release:
    """A version's bundle, and the settings in its .ebextensions."""

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
                            ebextensions.check(option, value)
                except ebextensions.Mistake as mistake:
                    warn(f"Error processing file (Skipping): '{name}' - {mistake}")
                    continue
                self.options |= options
                self.resources |= content.get("Resources", {})
                self.files |= content.get("files", {})

    def is_set_up_as(self, other):
        """Whether another version has the same .ebextensions."""
        return (self.options, self.resources, self.files) == (
            other.options,
            other.resources,
            other.files,
        )


class Environment:
    """One environment, its machines and its events."""

    def __init__(self, name, application, direct, saved, folder, number, region=REGION, wanted=""):
        """``wanted`` is the version of its creation: https://docs.aws.amazon.com/cli/latest/reference/elasticbeanstalk/create-environment.html
        shows it as the environment's from the beginning."""
        self.name, self.application, self.region = name, application, region
        self.direct, self.saved, self.wanted = direct, saved, wanted
        self.id = f"e-rehearse{number:02}"
        self.folder = folder / self.id
        self.status, self.label, self.release = "Launching", None, None
        self.stack, self.instances, self.balancer, self.database = None, [], None, None
        self.events, self.operation_began = [], 0
        self.updated = datetime.now(UTC)
        self.aborted = threading.Event()

    @property
    def _balancing(self):
        return f"arn:aws:elasticloadbalancing:{self.region}:{ACCOUNT}"

    @property
    def load_balancer_arn(self):
        """By which AWS knows its load balancer."""
        return f"{self._balancing}:loadbalancer/app/awseb-{self.id}/0123456789abcdef"

    @property
    def cname(self):
        """Its host: with HTTPS a name, which machines/nameserver.py resolves; else a port of this machine."""
        if not self.balancer.certificate:
            return self.balancer.cname
        letters = self.balancer.address.replace(".", "-")
        return f"{self.name}.eba-{letters}.{self.region}.elasticbeanstalk.com"

    @property
    def group(self):
        """The name of the Auto Scaling group of its instances."""
        return f"awseb-{self.id}-AWSEBAutoScalingGroup"

    @property
    def wanted_instances(self):
        """The capacity of that group."""
        return int(self.option("aws:autoscaling:asg", "MinSize"))

    @property
    def target_group_arn(self):
        """By which AWS knows its instances behind the load balancer."""
        return f"{self._balancing}:targetgroup/awseb-{self.id}/0123456789abcdef"

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
        """The effective settings, by Beanstalk's precedence."""
        return self.release.options | self.saved | self.direct

    def option(self, namespace, name):
        """A setting, which may be a default, or None."""
        found = self.options().get((namespace, name))
        return options.default(namespace, name) if found is None else found

    def colour(self):
        """Colour and health, as enhanced health reporting would show them now."""
        if self.status != "Ready":
            return "Grey", "Info"
        path = self.option("aws:elasticbeanstalk:environment:process:default", "HealthCheckPath")
        healthy = [one for one in self.instances if one.slot is not None and one.ask(path) == 200]
        if len(healthy) >= self.wanted_instances and len(healthy) == len(self.instances):
            return "Green", "Ok"
        return ("Yellow", "Warning") if healthy else ("Red", "Severe")
