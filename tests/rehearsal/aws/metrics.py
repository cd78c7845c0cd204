"""CloudWatch's metrics of an environment, measured on its containers while a scenario runs.

Measured is what a container shows; tests/support/cloudwatch.py has the metrics that AWS sends. A container without
a limit counts as an instance with two CPUs. Not measured: free storage, certificates, backups, and deliveries.
"""

import json
import time
from typing import NamedTuple

from deploy.resources import logs
from tests.rehearsal.aws.logs import lines
from tests.rehearsal.machines.docker import docker
from tests.rehearsal.machines.instance import LOGS
from tests.rehearsal.waiting import wait_for
from tests.support import cloudwatch

CPUS = 2  # of an instance, as of t3.micro, t3.small, and db.t4g
# https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/health-enhanced-cloudwatch.html
HEALTH = {"Ok": 0, "Info": 1, "Warning": 15, "Severe": 25}
MIB = 1024 * 1024


class Metrics:
    """What CloudWatch gets about ``environment`` from now on. ``filters`` are the metric filters of its log."""

    def __init__(self, environment, filters):
        self._environment, self._filters = environment, filters
        self._began = int(time.time() * 1000)
        self._before = environment.balancer.counts()

    def read(self, is_enough):
        """The values, once ``is_enough()``, by namespace, name and dimensions.

        None stands for a metric that AWS does not send, as it does not send a count of zero.
        """
        running, database = self._running(), self._environment.database
        taken = used([*(one.application for one in running), database.container])
        wait_for(is_enough)
        values = self._balancing(running) | self._instances(running, taken)
        values |= self._database(database, taken) | self._logged(running)
        return {(space, name, frozenset(of)): value for (space, name, *of), value in values.items()}

    def _balancing(self, running):
        space, one = "AWS/ApplicationELB", self._environment
        balancer = ("LoadBalancer", one.load_balancer_arn.partition("loadbalancer/")[2])
        target = ("TargetGroup", one.target_group_arn.rpartition(":")[2])
        counts = one.balancer.counts()
        since = {name: counts[name] - self._before[name] for name in counts}
        found = {
            "RequestCount": since["requests"],
            "HTTPCode_Target_5XX_Count": since["target_5xx"],
            "HTTPCode_ELB_5XX_Count": since["all_5xx"] - since["target_5xx"],
        }
        values = {(space, name, balancer): value or None for name, value in found.items()}
        times = sorted(self._times(running))
        slow = times[len(times) * 95 // 100] if times else None
        values[space, "TargetResponseTime", balancer] = slow
        return values | {(space, "HealthyHostCount", balancer, target): counts["healthy"]}

    def _times(self, running):
        """The response times of users' requests, in seconds, as nginx measures them."""
        for instance in running:
            for at, text in lines(instance, logs.PROXY):
                line = json.loads(text)
                # The time of a line has no fraction of a second
                if at >= self._began // 1000 * 1000 and line["route"].startswith("/hello/"):
                    yield line["duration_s"]

    def _instances(self, running, taken):
        one = self._environment
        name, group = ("EnvironmentName", one.name), ("AutoScalingGroupName", one.group)
        cpus = [taken[instance.application].cpu for instance in running]
        values = {
            ("AWS/AutoScaling", "GroupDesiredCapacity", group): one.wanted_instances,
            ("AWS/AutoScaling", "GroupInServiceInstances", group): len(running),
            ("AWS/ElasticBeanstalk", "EnvironmentHealth", name): HEALTH[one.colour()[1]],
            ("AWS/EC2", "CPUUtilization", group): sum(cpus) / len(cpus),
        }
        for instance in running:
            each, memory = ("InstanceId", instance.id), taken[instance.application]
            values["CWAgent", "mem_used_percent", group, each] = 100 * memory.used / memory.limit
            full = instance.run(f"df --output=pcent {LOGS} | tail -n 1 | tr -d %")
            values["AWS/ElasticBeanstalk", "RootFilesystemUtil", name, each] = int(full)
        return values

    def _running(self):
        ids = docker("ps", "--quiet", "--no-trunc").stdout.split()
        return [one for one in self._environment.instances if one.machine in ids]

    def _database(self, database, taken):
        name, of = ("DBInstanceIdentifier", self._environment.name), taken[database.container]
        [sessions] = database.query("SELECT count(*) FROM pg_stat_activity", "postgres")
        return {
            ("AWS/RDS", "CPUUtilization", name): of.cpu,
            ("AWS/RDS", "FreeableMemory", name): of.limit - of.used,
            ("AWS/RDS", "DatabaseConnections", name): int(sessions),
        }

    def _logged(self, running):
        """By the metric filters, from the lines of the application."""
        texts = [
            text
            for instance in running
            for at, text in lines(instance, logs.APPLICATION)
            if at >= self._began
        ]
        return {
            (one["MetricNamespace"], one["MetricName"]): sum(
                cloudwatch.matches(known["FilterPattern"], text) for text in texts
            )
            for known in self._filters
            for one in known["MetricTransformations"]
            if one["MetricValue"] == "1"
        }


class Used(NamedTuple):
    """What a container uses: CPU in percent of what it may, memory and its limit in bytes."""

    cpu: float
    used: float
    limit: float


def used(containers):
    """What each of ``containers`` used during a second or two."""
    shown = docker("stats", "--no-stream", "--no-trunc", "--format={{json .}}", *containers).stdout
    limits = docker("inspect", "--format={{.HostConfig.NanoCpus}}", *containers).stdout.split()
    cpus = {one: int(nano) / 1e9 or CPUS for one, nano in zip(containers, limits, strict=True)}
    found = {}
    for line in map(json.loads, shown.splitlines()):
        memory, limit = map(_bytes, line["MemUsage"].split(" / "))
        cpu = float(line["CPUPerc"].rstrip("%")) / cpus[line["ID"]]
        found[line["ID"]] = Used(cpu, memory, limit)
    return found


def _bytes(text):
    """The number of a size that docker has written."""
    units = {"GiB": MIB * 1024, "MiB": MIB, "KiB": 1024, "B": 1}
    unit = next(unit for unit in units if text.endswith(unit))
    return float(text.removesuffix(unit)) * units[unit]
