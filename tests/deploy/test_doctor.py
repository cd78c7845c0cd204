"""`doctor`: everything that a first day needs, when it is ready, when it is not, and when nobody answers."""

import re
import shutil
import socket
from datetime import UTC, datetime, timedelta

import pytest

from deploy.base import answers
from deploy.base.settings import ROOT
from deploy.resources import metrics
from tests.infrastructure.permissions import DOCTOR
from tests.support.account import add_bundle, made
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, STAGING

SCRIPT = "scripts/build_and_deploy.sh"
NAMES = ("RDS_PASSWORD", "RDS_NEXT_PASSWORD")
TOPIC = ["arn:aws:sns:eu-west-1:123456789012:operations"]
LOAD = {
    "Namespace": "AWS/ApplicationELB",
    "MetricName": "TargetResponseTime",
    "Dimensions": [{"Name": "LoadBalancer", "Value": "app/awseb-1/0123456789abcdef"}],
}
SELECT = (
    'SELECT MAX(mem_used_percent) FROM SCHEMA("CWAgent", AutoScalingGroupName, InstanceId) WHERE x'
)
STAT = {"Metric": LOAD | {"MetricName": "HealthyHostCount"}, "Period": 60, "Stat": "Sum"}
RARE = {"Metric": LOAD | {"MetricName": "HTTPCode_ELB_5XX_Count"}, "Period": 60, "Stat": "Sum"}
MATH = {
    "Metrics": [
        {"Id": "one", "MetricStat": STAT},
        {"Id": "two", "MetricStat": RARE},
        {"Id": "three", "Expression": SELECT},
        {"Id": "four", "Expression": "one + two"},
    ]
}


@pytest.fixture
def healthy(aws, staging, plain_http, monkeypatch):
    """An account in which everything is ready, a day after both environments were created."""
    made(aws, "pipeline")
    add_bundle(aws, "old")
    now = datetime.now(UTC)
    for name in (STAGING, PROD):
        made(aws, f"{name.removeprefix(f'{APPLICATION}-')}-operations")
        aws.environments[name]["created"] = now - timedelta(days=2)
        aws.alarms[f"{name}-users-wait"] = ("MetricAlarm", "OK", "Slow.", TOPIC, LOAD)
        aws.alarms[f"{name}-memory"] = ("MetricAlarm", "OK", "Full.", TOPIC, MATH)
    for name in ("database", "application"):
        aws.secrets[f"arn:aws:secretsmanager:{REGION}:123456789012:secret:x/{name}-AbCdEf"] = {
            "password": "x",
            "next_password": "x",
        }
    point = {"awsbackup:job-1": ("COMPLETED", now - timedelta(hours=5))}
    for region in (REGION, "eu-central-1", "eu-north-1"):
        aws.vaults[f"{PROD}-{region}"] = point
    return aws


def lines(output, state):
    """The lines of one state, each with what is to be done."""
    found = re.findall(rf"^  {state:9}  (.*(?:\n {{28}}next: .*)?)", output, re.MULTILINE)
    return [" ".join(one.split()) for one in found]


def test_an_account_that_is_ready_passes_all_checks(healthy, command, tested):
    code, output = command("doctor")
    assert code == 0, output
    assert not lines(output, "NOT READY")
    assert not lines(output, "unknown")
    [later] = lines(output, "later")
    assert "0 builds in queue" in later
    assert "write to AWS Support" in later
    assert f"region {REGION}, by default_region in .elasticbeanstalk/config.yml" in lines(
        output, "ready"
    )
    assert "user/somebody in account 123456789012" in output
    assert "image store Docker's own image store" in lines(output, "ready")
    assert "DNS prod.elasticbeanstalk.test, AWS's own" in lines(output, "ready")
    assert "all 3 metrics of the alarms have data" in output
    assert len(output.splitlines()) < 50


def test_the_documented_permissions_are_those_that_it_uses(healthy, command, project):
    command("doctor")
    prod = project / "devops/environments.toml"
    arn = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"
    text = prod.read_text().replace('Certificate = ""', f'Certificate = "{arn}"')
    prod.write_text(text.replace('PublicName = ""', 'PublicName = "hello.example.com"'))
    command("doctor", "prod")
    asked = {answers.PERMISSIONS.get(name, name) for name, _ in healthy.calls}
    # The keys of the secrets, and what is asked in the region of a recovery only
    assert set(DOCTOR) == asked | {"kms:Decrypt", "acm:ListCertificates"}


def test_doctor_changes_nothing(healthy, command, tested):
    command("doctor")
    changing = re.compile(r":(?!Describe|Get|List)")
    assert not [name for name, _ in healthy.calls if changing.search(name)]
    assert not tested.calls


def test_one_environment_can_be_checked(healthy, command):
    _, output = command("doctor", "staging")
    assert f"\n{STAGING}\n" in output
    assert PROD not in output


def test_the_checks_are_in_the_order_of_a_first_deployment(healthy, command):
    names = re.findall(r"^  (?:ready|later) +(\S.*?)  ", command("doctor", "prod")[1], re.MULTILINE)
    assert list(dict.fromkeys(names)) == [
        "docker",
        "git",
        "make",
        "eb",
        "aws",
        "image store",
        "identity",
        "region",
        "services",
        "settings",
        "vCPUs",
        "VPCs",
        "owner",
        "messages",
        "GitHub",
        "CodeBuild",
        "certificate",
        "environment",
        "DNS",
        "secrets",
        "backups",
        "alarms",
        "probe",
        "by hand",
        "platform",
    ]


def test_the_variable_that_sets_the_region_is_named(healthy, command, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_PROFILE", "greetings")
    _, output = command("doctor")
    assert f"region {REGION}, by AWS_DEFAULT_REGION" in lines(output, "ready")
    assert "by the profile greetings" in output


def test_the_image_store_of_containerd_is_reported(healthy, command, programs):
    programs.answers["^docker info"] = '[["driver-type", "io.containerd.snapshotter.v1"]]'
    _, output = command("doctor")
    assert any("containerd's image store" in one for one in lines(output, "ready"))


# --- Each thing that is not ready


def owner(project):
    shutil.copy(ROOT / "devops/owner.json", project / "devops")


def platform(project):
    path = project / ".platform/nginx/nginx.conf"
    path.write_text(path.read_text().replace("# Platform: 4.13.7", "# Platform: 4.12.7"))


def unrecorded(project):
    path = project / ".platform/nginx/nginx.conf"
    path.write_text(path.read_text().replace("# Platform: ", "# "))


def small(project):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("t3.micro", "t3.mikro"))


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        (
            lambda aws: aws.lacking.update(
                {"/aws/service/global-infrastructure/services/codebuild/regions/eu-west-1"}
            ),
            "services eu-west-1 lacks codebuild (for the pipeline)",
            "choose another region",
        ),
        (
            lambda aws: setattr(aws, "encrypted", False),
            "settings the volumes of new instances are not",
            "aws ec2 enable-ebs-encryption-by-default --region eu-west-1",
        ),
        (
            lambda aws: setattr(aws, "hops", 2),
            "settings a container on a new instance can",
            "--http-put-response-hop-limit 1 --region eu-west-1",
        ),
        (
            lambda aws: setattr(aws, "vcpus", 5),
            "vCPUs the account may run 5 vCPUs",
            "--quota-code L-1216C47A --desired-value 34 --region eu-west-1",
        ),
        (
            lambda aws: (setattr(aws, "vpcs", 2), aws.stacks.pop(STAGING)),
            "VPCs the account may have 2 VPCs in eu-west-1, and has 2; staging needs one each",
            "--service-code vpc --quota-code L-F678F1CE --desired-value 3 --region eu-west-1",
        ),
        (
            lambda aws: aws.pending.add("chief@greetings.test"),
            "messages chief@greetings.test has not confirmed EscalationTopic",
            "click the link",
        ),
        (
            lambda aws: aws.stacks.pop(f"{APPLICATION}-foundation"),
            "messages there are no topics yet",
            f"{SCRIPT} create staging",
        ),
        (
            lambda aws: setattr(aws, "connection", "PENDING"),
            "GitHub the connection is PENDING",
            "/codesuite/settings/connections",
        ),
        (
            lambda aws: aws.stacks.pop(f"{APPLICATION}-pipeline"),
            "GitHub there is no connection",
            f"{SCRIPT} bootstrap",
        ),
        (
            lambda aws: aws.environments.pop(PROD),
            f"environment there is no {PROD} in eu-west-1",
            f"{SCRIPT} create prod",
        ),
        (
            lambda aws: aws.environments[PROD].update(colour="Red"),
            "environment Ready Red/Ok, version old",
            f"{SCRIPT} status prod",
        ),
        (
            lambda aws: aws.secrets.pop(
                f"arn:aws:secretsmanager:{REGION}:123456789012:secret:x/database-AbCdEf"
            ),
            "secrets without a value: RDS_NEXT_PASSWORD, RDS_PASSWORD",
            f"{SCRIPT} secrets set prod RDS_PASSWORD",
        ),
        (
            lambda aws: aws.vaults.pop(f"{PROD}-eu-north-1"),
            "backups eu-north-1: not installed",
            f"{SCRIPT} backups install prod",
        ),
        (
            lambda aws: aws.vaults.update({f"{PROD}-eu-north-1": {}}),
            "backups eu-north-1: no complete backup",
            f"{SCRIPT} backups list prod",
        ),
        (
            lambda aws: setattr(aws, "listed", {"TargetResponseTime"}),
            "under another name: AWS/ApplicationELB HealthyHostCount, CWAgent mem_used_percent",
            f"{SCRIPT} smoke prod",
        ),
        (lambda aws: aws.alarms.clear(), "alarms there are no alarms", f"{SCRIPT} create prod"),
        (
            lambda aws: aws.stacks.pop(f"{PROD}-operations"),
            "alarms its alarms are missing, or on",
            f"{SCRIPT} create prod",
        ),
        (
            lambda aws: aws.environments[PROD].update(
                platform="64bit Amazon Linux 2023 v5.0.0 running Docker"
            ),
            "platform it is 64bit Amazon Linux 2023 v5.0.0 running Docker, and .platform/nginx/nginx.conf is for",
            "compare .platform/nginx/nginx.conf with /etc/nginx/nginx.conf",
        ),
    ],
)
def test_each_fault_of_the_account_is_reported_with_a_remedy(
    healthy, command, change, what, remedy
):
    change(healthy)
    code, output = command("doctor", "prod")
    assert code == 1, output
    assert any(what in one and remedy in one for one in lines(output, "NOT READY")), output


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (owner, "owner devops/owner.json: email 'owner@example.com'"),
        (platform, "and .platform/nginx/nginx.conf is for 4.12"),
        (unrecorded, "and .platform/nginx/nginx.conf is for unknown"),
        (
            small,
            "vCPUs devops/environments.toml: in eu-west-1, The following supplied instance types",
        ),
    ],
)
def test_each_fault_of_the_checkout_is_reported(healthy, command, project, change, what):
    change(project)
    code, output = command("doctor", "staging")
    assert code == 1, output
    assert any(what in one for one in lines(output, "NOT READY")), output


@pytest.mark.parametrize("name", ["docker", "git", "make", "eb", "aws"])
def test_a_missing_program_is_not_ready(healthy, command, programs, name):
    programs.missing.add(name)
    code, output = command("doctor", "staging")
    assert code == 1
    assert f"{name} {name!r} is not installed next: install it" in lines(output, "NOT READY")


def test_a_docker_engine_that_is_not_started_is_not_ready(healthy, command, programs):
    programs.codes["^docker version"] = 1
    code, output = command("doctor", "staging")
    assert code == 1
    assert "docker docker does not work: refused next: start Docker" in lines(output, "NOT READY")


def test_a_certificate_that_is_not_issued_is_not_ready(healthy, command, certificate, monkeypatch):
    healthy.certificate = {"Status": "PENDING_VALIDATION"}
    code, output = command("doctor", "prod")
    assert code == 1
    [line] = [one for one in lines(output, "NOT READY") if one.startswith("certificate ")]
    assert f"{certificate} is PENDING_VALIDATION next: create the record in DNS" in line


def test_production_without_a_certificate_is_not_ready(healthy, command, project):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("PlainHttp = true", "PlainHttp = false"))
    _, output = command("doctor", "prod")
    assert any(
        "certificate" in one and "has no certificate" in one for one in lines(output, "NOT READY")
    )


HOST, PUBLIC = "prod.elasticbeanstalk.test", "hello.example.com"


@pytest.mark.parametrize(
    ("addresses", "state", "what"),
    [
        (
            {HOST: ["10.0.0.1", "10.0.0.2"], PUBLIC: ["10.0.0.2"]},
            "ready",
            f"{PUBLIC} points to {HOST}",
        ),
        (
            {HOST: ["10.0.0.1"], PUBLIC: ["10.0.0.9"]},
            "NOT READY",
            f"in DNS, point {PUBLIC} to {HOST}",
        ),
        (
            {HOST: ["10.0.0.1"], PUBLIC: socket.EAI_NONAME},
            "NOT READY",
            f"{PUBLIC} does not exist in DNS",
        ),
        ({HOST: ["10.0.0.1"], PUBLIC: socket.EAI_AGAIN}, "unknown", "DNS did not answer"),
        ({HOST: socket.EAI_NONAME, PUBLIC: ["10.0.0.1"]}, "unknown", f"{HOST} has no address yet"),
    ],
)
def test_the_dns_record_of_the_public_name_is_checked(
    healthy, command, certificate, monkeypatch, addresses, state, what
):
    def find(name, port, type):  # noqa: A002
        found = addresses[name]
        if isinstance(found, int):
            raise socket.gaierror(found, "no answer")
        return [(0, 0, 0, "", (address, 0)) for address in found]

    healthy.stacks[PROD]["outputs"] |= {"PublicName": PUBLIC, "Certificate": certificate}
    monkeypatch.setattr(socket, "getaddrinfo", find)
    assert any(what in one for one in lines(command("doctor", "prod")[1], state))


def test_a_region_that_is_not_configured_is_not_ready(healthy, command, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    code, output = command("doctor", "staging")
    assert code == 1
    [line] = [one for one in lines(output, "NOT READY") if one.startswith("region ")]
    assert "us-west-2 (AWS_REGION) is not a region of this service" in line


def test_a_new_environment_is_not_expected_to_have_metrics(healthy, command):
    healthy.environments[STAGING]["created"] = datetime.now(UTC)
    healthy.listed = set()
    code, output = command("doctor", "staging")
    assert code == 0, output
    assert any("checked one day after" in one for one in lines(output, "later"))


# --- Each thing that nobody answers


@pytest.mark.parametrize("code", ["AccessDeniedException", None])
@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("identity", "sts:GetCallerIdentity"),
        ("services", "ssm:GetParameters"),
        ("settings", "ec2:GetEbsEncryptionByDefault"),
        ("settings", "ec2:GetInstanceMetadataDefaults"),
        ("vCPUs", "service-quotas:GetServiceQuota"),
        ("vCPUs", "ec2:DescribeInstanceTypes"),
        ("VPCs", "service-quotas:GetServiceQuota"),
        ("VPCs", "ec2:DescribeVpcs"),
        ("VPCs", "cloudformation:DescribeStacks"),
        ("messages", "cloudformation:DescribeStacks"),
        ("messages", "sns:ListSubscriptionsByTopic"),
        ("GitHub", "cloudformation:DescribeStacks"),
        ("GitHub", "codeconnections:GetConnection"),
        ("environment", "elasticbeanstalk:DescribeEnvironments"),
        ("DNS", "cloudformation:DescribeStacks"),
        ("secrets", "secretsmanager:GetSecretValue"),
        ("backups", "backup:ListBackupVaults"),
        ("backups", "rds:DescribeDBSnapshots"),
        ("alarms", "cloudwatch:DescribeAlarms"),
        ("alarms", "cloudwatch:ListMetrics"),
        ("alarms", "elasticbeanstalk:DescribeEnvironmentResources"),
    ],
)
def test_a_query_without_a_response_is_unknown(healthy, command, name, action, code):
    healthy.fail(action, code)
    exit_code, output = command("doctor", "prod")
    assert exit_code == 1, output
    permission = action.replace("service-quotas", "servicequotas")
    said = f"the permission {permission} is missing" if code else f"did not answer {action}"
    unknown = lines(output, "unknown")
    [reason] = {one for one in unknown if not one.endswith(" as above")}
    assert said in reason
    assert any(one.startswith(f"{name} ") for one in unknown), output
    assert not any(one.startswith(f"{name} ") for one in lines(output, "ready"))


def test_a_certificate_that_is_not_described_is_unknown(healthy, command, certificate):
    healthy.fail("acm:DescribeCertificate")
    assert any(
        one.startswith("certificate ") for one in lines(command("doctor", "prod")[1], "unknown")
    )


def test_a_service_that_aws_does_not_list_is_unknown(healthy, command):
    healthy.lacking.add("/aws/service/global-infrastructure/services/scheduler")
    code, output = command("doctor", "prod")
    assert code == 1
    assert any(
        "does not say whether eu-west-1 has scheduler" in one for one in lines(output, "unknown")
    )


@pytest.mark.parametrize("output", ["", "null", "Docker"])
def test_an_image_store_that_docker_does_not_name_is_unknown(healthy, command, programs, output):
    programs.answers["^docker info"] = output
    assert any(one.startswith("image store ") for one in lines(command("doctor")[1], "unknown"))


def test_the_metrics_of_all_alarms_are_checked():
    """Those of the templates: one that is missing here would never be missed."""
    from tests.support.cloudformation import load

    for file in ("operations", "backups", "foundation"):
        for name, one in load(f"devops/{file}.yml")["Resources"].items():
            if one["Type"] == "AWS::CloudWatch::Alarm":
                plain = {key: as_plain(value) for key, value in one["Properties"].items()}
                assert list(metrics._read(plain)), name


def as_plain(value):
    """A property of a template, whose functions are text as AWS answers it."""
    if isinstance(value, list):
        return [as_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Sub" in value:
        return value["Fn::Sub"]
    if set(value) == {"Ref"}:
        return value["Ref"]
    return {key: as_plain(one) for key, one in value.items()}
