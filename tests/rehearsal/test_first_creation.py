"""The first creation of an environment, when a resource of it or something outside of it is missing.

With a certificate and a public name, as environments are meant to be: the script runs on this machine, but
with another name server.
"""

import contextlib
import http.client
import re

import pytest

from tests.rehearsal.machines.names import Names
from tests.rehearsal.project import replace
from tests.rehearsal.waiting import limit
from tests.support.aws import APPLICATION, REGION, STAGING
from tests.support.certificates import Authority

DOMAIN = "greetings.test"
NAMES = {"staging": f"staging.{DOMAIN}", "prod": f"hello.{DOMAIN}"}


class Account:
    """An account with a certificate for all names of a domain, and the domain's name server."""

    def __init__(self, world):
        self._world = world
        folder = world.folder / "names"
        folder.mkdir()
        self.names = Names(folder)
        authority = Authority()
        authority.issue(f"*.{DOMAIN}", folder)
        (folder / "authority.pem").write_bytes(authority.pem)
        self._env = {"SSL_CERT_FILE": str(folder / "authority.pem"), "SMOKE_TIMEOUT": "1"}
        arn = world.cloud.client("acm").import_certificate(
            Certificate=(folder / "server.crt").read_bytes(),
            PrivateKey=(folder / "server.key").read_bytes(),
        )["CertificateArn"]
        self._edits = [replace("devops/environments.toml", "MinSize = 2", "MinSize = 1")] * 2
        self._edits += [
            replace(
                "devops/environments.toml",
                f'[{short}.stack]\nNetwork = "{network}"\nCertificate = ""\nPublicName = ""',
                f'[{short}.stack]\nNetwork = "{network}"\nCertificate = "{arn}"\nPublicName = "{name}"',
            )
            for (short, name), network in zip(NAMES.items(), ("10.20", "10.21"), strict=True)
        ]

    def script(self, *arguments, **more):
        """Run the deploy script of a commit in which both environments have the certificate, a name and one instance."""
        with self._world.project.commit(*self._edits):
            return self._world.project.script(*arguments, names=self.names, **self._env, **more)


@pytest.fixture
def account(world):
    return world.once(Account)


class Staging:
    """Staging, which was created without success at first, because of its database. What was printed, and the version."""

    def __init__(self, world):
        account, databases = world.once(Account), world.cloud.region(REGION).databases
        quota, databases.quota = databases.quota, 0
        try:
            self.failed = account.script(
                "create", "staging", fails=True, BUILD_NUMBER="0", HEALTH_TIMEOUT="2"
            )
        finally:
            databases.quota = quota
        self.label = re.search(r"version (\S+) is published", self.failed)[1]
        self.stack = world.environment("staging").stack.name
        self.repeated = account.script("create", "staging", fails=True, HEALTH_TIMEOUT="2")
        self.calls = list(world.beanstalk.calls)
        client = world.cloud.client("elasticbeanstalk")
        client.terminate_environment(EnvironmentName=STAGING)
        wait = client.get_waiter("environment_terminated")
        wait.wait(EnvironmentNames=[STAGING], WaiterConfig={"Delay": 1})
        self.created = account.script("create", "staging", "--version", self.label)
        account.names.point(NAMES["staging"], world.environment("staging").cname)


@pytest.fixture
def staging(world):
    return world.once(Staging)


def test_a_launch_whose_database_failed_is_terminated_and_repeated(world, staging):
    reason = "Database: Resource handler returned message: .*DB Instance quota exceeded"
    for printed in (staging.failed, staging.repeated):
        assert re.search(f"FAILED: a resource of {STAGING} failed: {reason}", printed)
        assert f"now: its stack {staging.stack} is CREATE_FAILED, which AWS" in printed
        first, second = (
            f"aws elasticbeanstalk {command} {STAGING} --region {REGION}"
            for command in (
                "terminate-environment --environment-name",
                "wait environment-terminated --environment-names",
            )
        )
        ways = f"{first}; until {second}; do sleep 5; done; run this again"
        assert re.search(f"next: .*{ways}", printed)
        assert "modify-db-instance" not in printed
    assert "update_environment" not in staging.calls
    assert f"{STAGING} runs {staging.label}: https://{NAMES['staging']}" in staging.created


def test_a_public_name_is_tested_before_and_after_its_dns_record_exists(world, account, staging):
    name, label = NAMES["prod"], staging.label
    printed = account.script("create", "prod", "--version", label)
    host = world.environment("prod").cname
    missing = "[Errno -2] Name or service not known"
    assert f"only DNS is missing: point {name} to {host}: it is not reachable yet: " in printed
    assert missing in printed
    assert f"{APPLICATION}-prod runs {label}: https://{name}" in printed
    alarms = world.cloud.client("cloudformation").describe_stacks(
        StackName=f"{APPLICATION}-prod-operations"
    )
    assert alarms["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    printed = account.script("status", "prod")
    assert re.search(rf"^  address +https://{name}$", printed, re.M)
    assert re.search(rf"^  host +{host}, to which DNS points that name$", printed, re.M)
    assert "NOT PROBED" in printed
    refusal = f"FAILED: {name} does not point to {APPLICATION}-prod: "
    printed = account.script("smoke", "prod", fails=True)
    assert f"{refusal}it is not reachable yet: " in printed
    assert missing in printed
    assert f"make sure that DNS points {name} to {host}" in printed

    account.names.point(name, host)
    assert f"{name} points to {APPLICATION}-prod" in account.script("smoke", "prod")
    printed = account.script("create", "prod")
    assert "the user is deleted: ok" in printed
    assert "DNS" not in printed
    [alarm] = world.cloud.client("cloudwatch", "us-east-1").describe_alarms()["MetricAlarms"]
    assert alarm["AlarmName"] == f"{APPLICATION}-prod-unreachable"
    assert "NOT PROBED" not in account.script("status", "prod")

    account.names.point(name, world.environment("staging").cname)  # which has the same version
    printed = account.script("deploy", "prod", "--version", label)
    assert f"point {name} to {host}: another service answers there, with 404" in printed
    printed = account.script("smoke", "prod", fails=True)
    assert f"{refusal}another service answers there, with 404" in printed
    assert f"make sure that DNS points {name} to {host}" in printed


def test_requests_without_tls_are_redirected(world, staging):
    address = world.environment("staging").balancer.address
    with contextlib.closing(http.client.HTTPConnection(address, timeout=limit(10))) as connection:
        connection.request("GET", "/hello/john?x=1", headers={"Host": NAMES["staging"]})
        response = connection.getresponse()
        assert response.status == 301
        assert response.headers["Location"] == f"https://{NAMES['staging']}:443/hello/john?x=1"
