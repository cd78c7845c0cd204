"""The quota of instances, which is low in a young account."""

import pytest

from tests.support.aws import APPLICATION, REGION

CREATE = ("create", "staging", "--version", "new")
# By devops/environments.toml, with two vCPUs each: 3 and 2 more, 8 and 4 more
NEEDED = 2 * (3 + 2 + 8 + 4)
COMMANDS = [CREATE, ("bootstrap", "--main-is-protected")]


@pytest.fixture
def account(aws):
    """An account with a version, and the key of staging's smoke test."""
    aws.add_version("new")
    aws.secrets[f"{APPLICATION}-staging/smoke-test"] = {"user": "smoke test", "key": "K3y"}
    return aws


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_low_vcpu_quota_is_a_warning_with_the_command_that_raises_it(account, command, arguments):
    account.vcpus = NEEDED - 1
    code, output = command(*arguments)
    assert code == 0, output
    assert f"can need {NEEDED} vCPUs" in output
    assert (
        "next: aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code L-1216C47A --desired-value {NEEDED} --region {REGION}"
    ) in output


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_sufficient_vcpu_quota_is_not_mentioned(account, command, arguments):
    account.vcpus = NEEDED
    assert "vCPU" not in command(*arguments)[1]


def test_a_low_quota_is_reported_before_anything_is_created(account, command):
    account.vcpus = 5
    before, _, _ = command(*CREATE)[1].partition("\n+ ")
    assert "vCPUs" in before


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize("action", ["service-quotas:GetServiceQuota", "ec2:DescribeInstanceTypes"])
def test_a_quota_that_cannot_be_read_is_unknown(account, command, action, code):
    account.fail(action, code)
    exit_code, output = command(*CREATE)
    assert exit_code == 0, output
    assert "vCPUs: unknown: " in output


@pytest.mark.parametrize("after", ['MaxSize = "3"', ""])
def test_the_maximum_of_every_environment_counts_towards_the_quota(
    account, command, project, after
):
    """Also one in quotes, and Beanstalk's default of 4."""
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("MaxSize = 3", after))
    needed = NEEDED if after else NEEDED + 2
    account.vcpus = NEEDED - 1
    assert f"can need {needed} vCPUs" in command(*CREATE)[1]


@pytest.mark.parametrize("unknown", ["t3.mikro", "tt3.micro"])
def test_an_unknown_instance_type_is_refused(account, fails, project, unknown):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("t3.micro", unknown))
    output = fails(*CREATE)
    assert f"devops/environments.toml: in {REGION}, The following supplied" in output
    assert f"instance types do not exist: [{unknown}]" in output
    assert "now: nothing was changed" in output
    assert not account.stacks


def test_other_instance_families_do_not_count_towards_this_quota(account, command, project):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("t3.small,t3a.small", "g4dn.xlarge"))
    account.vcpus = NEEDED - 1
    assert "vCPU" not in command(*CREATE)[1]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_other_limits_of_the_account_or_the_region_are_warnings(account, command, arguments):
    account.vpcs = 2  # the default one, and one more for two environments
    path = f"/aws/service/global-infrastructure/services/scheduler/regions/{REGION}"
    account.lacking = {path}
    code, output = command(*arguments)
    assert code == 0, output
    before, _, _ = output.partition("\n+ ")
    assert "has 1; staging, prod need one each" in before
    assert f"--quota-code L-F678F1CE --desired-value 3 --region {REGION}" in before
    assert f"services: {REGION} lacks scheduler (for the pipeline)" in before
