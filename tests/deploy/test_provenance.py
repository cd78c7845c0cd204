"""The records of a build: SBOM and provenance."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.aws import APPLICATION
from tests.support.checkout import git

DIGEST = "a" * 64  # of the images that are pushed here
FOLDER = f"{APPLICATION}/{DIGEST}"


@pytest.fixture
def built(aws, fresh, project, command):
    code, output = command("build")
    assert code == 0, output
    return {
        name: json.loads(aws.objects[f"{FOLDER}/{name}"]["content"])
        for name in ("sbom.cdx.json", "provenance.json")
    }


def test_the_sbom_lists_the_installed_packages(built):
    sbom = built["sbom.cdx.json"]
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    [flask, odd] = sorted(sbom["components"], key=lambda one: one["name"].lower())
    assert flask["purl"] == "pkg:pypi/flask@3.1.3"
    assert flask["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert odd["name"] == "odd"
    assert "licenses" not in odd
    image = sbom["metadata"]["component"]
    assert (image["name"], image["type"]) == (APPLICATION, "container")
    assert image["hashes"] == [{"alg": "SHA-256", "content": DIGEST}]


def test_the_provenance_names_the_sources_of_the_build(built, aws, project):
    found = built["provenance.json"]
    [label] = aws.versions
    lock = hashlib.sha256(Path(project, "requirements/main.txt").read_bytes()).hexdigest()
    assert found.pop("built")
    assert found == {
        "version": label,
        "image": f"sha256:{DIGEST}",
        "commit": git(project, "rev-parse", "HEAD"),
        "uncommitted": False,
        "packages": {"requirements/main.txt": f"sha256:{lock}"},
        "builder": "arn:aws:iam::123456789012:user/somebody",
    }


def test_in_the_pipeline_the_provenance_names_the_build(aws, fresh, command, monkeypatch):
    monkeypatch.setenv("CODEBUILD_BUILD_ARN", "arn:aws:codebuild:eu-west-1:123456789012:build/x:1")
    command("build")
    text = aws.objects[f"{FOLDER}/provenance.json"]["content"]
    assert json.loads(text)["builder"].endswith(":build/x:1")


def test_a_record_is_never_replaced(aws, fresh, programs, command):
    """An unfinished build is continued with the image that it published."""
    aws.fail("elasticbeanstalk:CreateApplicationVersion", times=1)
    assert command("build")[0] == 1
    before = dict(aws.objects)
    assert before
    code, output = command("build")
    assert code == 0, output
    assert programs.calls("docker pull")
    assert {key: aws.objects[key] for key in before} == before


@pytest.mark.parametrize("packages", ["", "no JSON", "[]", "[[1]]", "{}"])
def test_an_image_without_a_list_of_packages_is_a_failure(aws, fresh, programs, fails, packages):
    programs.packages = packages
    output = fails("build")
    assert "installed" in output
    assert "is published, no version was created" in output
    assert not aws.versions


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_without_build_records_no_version_is_created(aws, fresh, fails, code):
    aws.fail("s3:PutObject", code)
    assert "s3:PutObject" in fails("build")
    assert not aws.versions
