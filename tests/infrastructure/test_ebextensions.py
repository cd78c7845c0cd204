"""Beanstalk ignores a file in .ebextensions that contains a mistake. These tests find the mistake."""

import json
from pathlib import Path

import pytest

from deploy.config import environments
from tests.support import cloudformation, ebextensions
from tests.support.ebextensions import Mistake, check
from tests.support.environments import OUTPUTS, direct
from web.config import SETTINGS

ENVIRONMENTS = ("staging", "prod")


def test_every_option_exists_and_has_an_allowed_value(shared):
    for option, value in shared.items():
        if not value.startswith("`"):
            check(option, value)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("certificate", ["", "arn:aws:acm:eu-west-1:123456789012:certificate/1"])
def test_every_direct_option_exists_and_has_an_allowed_value(environment, certificate):
    for option, value in direct(environment, Certificate=certificate).items():
        check(option, value)


def test_the_quota_check_assumes_the_batch_size_of_a_deployment(shared):
    namespace = "aws:elasticbeanstalk:command"
    assert shared[namespace, "DeploymentPolicy"] == "RollingWithAdditionalBatch"
    assert shared[namespace, "BatchSizeType"] == "Percentage"
    assert shared[namespace, "BatchSize"] == str(environments.BATCH)


def test_no_option_is_set_in_two_files(files):
    seen = {}
    for name, content in files.items():
        for option in ebextensions.options(content):
            assert option not in seen, f"{option} is in {seen[option]} and in {name}"
            seen[option] = name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_direct_options_mask_only_defaults_of_custom_options(shared, environment):
    masked = set(shared) & set(direct(environment, Certificate="arn"))
    assert {namespace for namespace, _ in masked} <= {"aws:elasticbeanstalk:customoption"}


def test_functions_in_options_are_valid(shared):
    for value in shared.values():
        if value.startswith("`"):
            assert set(ebextensions.functions(json.loads(value[1:-1]))) <= ebextensions.FUNCTIONS


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("option_settings: {}\noption_settings: {}", "is given twice"),
        ("option_setings: {}", "unknown keys"),
        ("- a", "not a mapping"),
        ("a: [", "is ignored"),
        ("Resources: {A: {Properties: {B: {'Fn::Sub': x}}}}", "Fn::Sub"),
        ("Resources: {A: {Properties: {B: !Ref x}}}", "is ignored"),
        ("Resources: {A: {Metadata: {checkov: {}}}}", "Metadata"),
    ],
)
def test_mistakes_in_a_file_are_found(text, what):
    with pytest.raises(Mistake, match=what):
        ebextensions.parse(text, "10-x.config")


def test_a_file_with_the_wrong_ending_is_found():
    with pytest.raises(Mistake, match="does not end in"):
        ebextensions.parse("{}", "10-x.yml")


@pytest.mark.parametrize(
    ("option", "value", "what"),
    [
        (("aws:autoscaling:agg", "MinSize"), "1", "no namespace"),
        (("aws:autoscaling:asg", "Minsize"), "1", "no option"),
        (("aws:autoscaling:asg", "MinSize"), "two", "may be"),
        (("aws:autoscaling:asg", "MinSize"), "10001", "may be"),
        (("aws:elasticbeanstalk:command", "DeploymentPolicy"), "immutable", "one of"),
        (("aws:elasticbeanstalk:environment:process:default", "HealthCheckIntervall"), "5", "no o"),
    ],
)
def test_mistakes_in_an_option_are_found(option, value, what):
    with pytest.raises(Mistake, match=what):
        check(option, value)


def option(shared, environment, namespace, name):
    return (shared | direct(environment))[namespace, name]


def test_production_survives_the_loss_of_a_zone(shared):
    assert int(option(shared, "prod", "aws:autoscaling:asg", "MinSize")) >= 2
    network = cloudformation.load("devops/environment.yml")
    _, subnets = network["Outputs"]["PublicSubnets"]["Value"]["Fn::Join"]
    made = [network["Resources"][one["Ref"]]["Properties"] for one in subnets]
    zones = [one["AvailabilityZone"]["Fn::Select"][0] for one in made]
    assert sorted(zones) == [0, 1]
    assert direct("prod")["aws:elasticbeanstalk:customoption", "DatabaseMultiAZ"] == "true"
    protection = ("aws:elasticbeanstalk:customoption", "DatabaseDeletionProtection")
    assert direct("prod")[protection] == "true"


def test_deployments_have_no_downtime(shared):
    """An immutable deployment has no downtime either, but is refused for a version that changes .ebextensions."""
    policy = shared["aws:elasticbeanstalk:command", "DeploymentPolicy"]
    assert policy == "RollingWithAdditionalBatch"
    assert shared["aws:elasticbeanstalk:environment", "LoadBalancerType"] == "application"


def test_the_thresholds_of_scaling_do_not_conflict(shared):
    trigger = {
        name: value
        for (namespace, name), value in shared.items()
        if namespace == "aws:autoscaling:trigger"
    }
    assert trigger["MeasureName"] == "CPUUtilization"
    assert trigger["Unit"] == "Percent"
    assert 0 < int(trigger["LowerThreshold"]) < int(trigger["UpperThreshold"]) / 2
    assert int(trigger["UpperThreshold"]) < 80
    breach = int(trigger["Period"]) * int(trigger["EvaluationPeriods"])
    assert breach == int(trigger["BreachDuration"])


def test_a_certificate_enables_https_and_the_redirect():
    without, having = direct("prod"), direct("prod", Certificate="arn:x")
    assert set(having) - set(without) == {
        ("aws:elbv2:listener:443", name)
        for name in ("ListenerEnabled", "Protocol", "SSLCertificateArns", "SSLPolicy")
    } | {("aws:elasticbeanstalk:customoption", "HttpsRedirectPaths")}
    assert having["aws:elbv2:listener:443", "SSLCertificateArns"] == "arn:x"


def redirected(shared, resources, **outputs):
    """The path patterns that are redirected from HTTP to HTTPS."""
    options = shared | direct("prod", **outputs)
    rule = ebextensions.evaluate(
        resources["HttpsRedirect"]["Properties"],
        lambda namespace, name: options.get((namespace, name)),
        lambda name, attribute: name,
    )
    [condition] = rule["Conditions"]
    assert condition["Field"] == "path-pattern"
    return condition["PathPatternConfig"]["Values"]


def test_paths_are_redirected_to_https_only_with_a_certificate(shared, resources):
    """The rule matches by path because a load balancer refuses "*" as a host, which needs a dot and a name after it."""
    assert redirected(shared, resources, Certificate="arn:x") == ["/*"]
    [never] = redirected(shared, resources)
    assert "*" not in never
    assert never.startswith("/")


def test_no_password_is_an_option(shared):
    options = shared | direct("prod")
    secrets = "aws:elasticbeanstalk:application:environmentsecrets"  # only ARNs, never values
    named = {(space, name) for space, name in options if "PASSWORD" in name.upper()}
    assert named == {(secrets, "RDS_PASSWORD"), (secrets, "RDS_NEXT_PASSWORD")}
    assert options[secrets, "RDS_PASSWORD"] == OUTPUTS["DatabaseSecret"] + ":password"


def test_every_environment_property_is_a_setting_of_the_application(shared):

    names = {
        name
        for namespace, name in shared | direct("prod")
        if namespace.startswith("aws:elasticbeanstalk:application:environment")
    }
    assert names <= {setting.name for setting in SETTINGS}


def test_the_hook_passes_every_database_setting_to_the_migration():

    hook = Path(".platform/hooks/predeploy/10_migrate.sh").read_text()
    names = hook.split("for name in ")[1].split(";")[0].split()
    wanted = {one.name for one in SETTINGS if one.name.startswith(("DATABASE_", "RDS_"))}
    assert set(names) == wanted
