"""Requirements for the pipeline that cfn-lint and checkov do not check."""

import json
import re
from pathlib import Path

import pytest
import yaml

from deploy.config import window
from tests.support import cloudformation

STACK = cloudformation.Stack("devops/pipeline.yml", "pipeline", {})
RESOURCES = STACK.template["Resources"]
PROJECTS = {
    name: one["Properties"]
    for name, one in RESOURCES.items()
    if one["Type"] == "AWS::CodeBuild::Project"
}
PIPELINE = RESOURCES["Pipeline"]["Properties"]


def statements(role):
    for policy in RESOURCES[role]["Properties"].get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]


def actions(role):
    for statement in statements(role):
        some = statement["Action"]
        yield from [some] if isinstance(some, str) else some


def test_only_the_projects_that_build_images_are_privileged():
    privileged = {
        name for name, one in PROJECTS.items() if one["Environment"].get("PrivilegedMode")
    }
    assert privileged == {"Build", "ImageTests"}


def test_image_tests_run_before_the_build_without_its_permissions():
    names = [stage["Name"] for stage in PIPELINE["Stages"]]
    tested = next(
        stage["Name"]
        for stage in PIPELINE["Stages"]
        for action in stage["Actions"]
        if action["Configuration"].get("ProjectName") == {"Ref": "ImageTests"}
    )
    assert names.index(tested) < names.index("Build")
    role = PROJECTS["ImageTests"]["ServiceRole"]["Fn::GetAtt"][0]
    assert RESOURCES[role]["Properties"]["ManagedPolicyArns"] == [{"Ref": "ProjectPolicy"}]
    assert not list(actions(role))


@pytest.mark.parametrize(
    "role", [name for name, one in RESOURCES.items() if one["Type"] == "AWS::IAM::Role"]
)
def test_no_role_has_all_permissions(role):
    for statement in statements(role):
        if statement["Effect"] == "Allow":
            assert "*" not in statement["Action"]
            assert (
                statement["Resource"] != "*" or statement["Action"] == "ecr:GetAuthorizationToken"
            )


def test_only_the_release_role_may_approve():
    may = {
        name
        for name, one in RESOURCES.items()
        if one["Type"] == "AWS::IAM::Role" and "codepipeline:PutApprovalResult" in actions(name)
    }
    assert may == {"ReleaseRole"}


def test_the_permission_to_approve_names_the_existing_approval():
    [resource] = [
        one["Resource"]["Fn::Sub"]
        for one in statements("ReleaseRole")
        if one["Action"] == "codepipeline:PutApprovalResult"
    ]
    _, stage, action = resource.rsplit(":", 1)[1].split("/")
    [found] = [one for one in PIPELINE["Stages"] if one["Name"] == stage]
    [approval] = [one for one in found["Actions"] if one["Name"] == action]
    assert approval["ActionTypeId"]["Category"] == "Approval"


def test_the_stages_are_in_order():
    assert [stage["Name"] for stage in PIPELINE["Stages"]] == [
        "Source",
        "Verify",
        "Build",
        "Staging",
        "Release",
        "Production",
    ]
    assert PIPELINE["ExecutionMode"] == "SUPERSEDED"


def test_the_approval_and_the_window_start_at_the_same_time():
    [release] = [stage for stage in PIPELINE["Stages"] if stage["Name"] == "Release"]
    assert {action["RunOrder"] for action in release["Actions"]} == {1}


def test_an_approval_waits_longer_than_any_freeze():
    [release] = [stage for stage in PIPELINE["Stages"] if stage["Name"] == "Release"]
    days = release["Actions"][0]["TimeoutInMinutes"] / 60 / 24
    for freeze in window.read(Path()).freezes:
        assert (freeze.last - freeze.first).days + 1 <= days


@pytest.mark.parametrize("name", list(PROJECTS))
def test_every_buildspec_calls_only_make_and_the_deploy_script(name):
    buildspec = yaml.safe_load(Path(PROJECTS[name]["Source"]["BuildSpec"]).read_text())
    commands = buildspec["phases"]["build"]["commands"]
    assert commands
    for command in commands:
        assert re.match(r"make |(bash )?scripts/build_and_deploy\.sh |export VERSION=", command)


def test_no_buildspec_is_in_the_folder_that_eb_reads():
    assert not list(Path().glob("buildspec.y*ml"))


def test_actions_use_only_variables_that_earlier_actions_export():
    exported = {"codepipeline.PipelineExecutionId"}
    for stage in PIPELINE["Stages"]:
        for action in stage["Actions"]:
            used = set(re.findall(r"#{([\w.]+)}", json.dumps(action)))
            assert used <= exported
        for action in stage["Actions"]:
            if "Namespace" in action:
                project = action["Configuration"]["ProjectName"]["Ref"]
                path = PROJECTS[project]["Source"]["BuildSpec"]
                env = yaml.safe_load(Path(path).read_text())["env"]
                exported |= {f"{action['Namespace']}.{one}" for one in env["exported-variables"]}
    assert "Build.VERSION" in exported


def test_the_release_program_does_not_expire():
    rules = STACK.properties("AWS::S3::Bucket")["Artifacts"]["LifecycleConfiguration"]["Rules"]
    source = PROJECTS["WindowOpens"]["Source"]["Location"]["Fn::Sub"].partition("/")[2]
    expiring = [rule.get("Prefix", "") for rule in rules if "ExpirationInDays" in rule]
    assert expiring
    assert not any(source.startswith(prefix) for prefix in expiring)
