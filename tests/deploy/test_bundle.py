"""The source bundle: exactly the listed files, and the same bytes each time."""

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from deploy.base.errors import Failure
from deploy.delivery import bundle
from tests.support.aws import APPLICATION

IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{APPLICATION}@sha256:" + "0f" * 32


@pytest.fixture
def written():
    return bundle.make(IMAGE, Path())


def test_the_bundle_contains_only_what_beanstalk_reads(written):
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        names = archive.namelist()
    assert names[0] == "Dockerrun.aws.json"
    assert {name.split("/")[0] for name in names} == {
        "Dockerrun.aws.json",
        ".ebextensions",
        ".platform",
    }
    assert ".platform/nginx/nginx.conf" in names


def test_the_bundle_names_the_image_by_its_digest(written):
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        dockerrun = json.loads(archive.read("Dockerrun.aws.json"))
    assert dockerrun["AWSEBDockerrunVersion"] == "1"
    assert dockerrun["Image"] == {"Name": IMAGE, "Update": "true"}
    assert dockerrun["Ports"] == [{"ContainerPort": 8000}]


def test_hooks_are_executable_and_also_run_for_changed_settings(written):
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        hooks = [one for one in archive.infolist() if one.filename.endswith("10_migrate.sh")]
        assert len(hooks) == 2
        assert {one.external_attr >> 16 for one in hooks} == {0o100755}
        assert len({archive.read(one) for one in hooks}) == 1


def test_the_same_files_give_the_same_bytes(written):
    for path in Path(".ebextensions").iterdir():
        path.touch()
    assert bundle.make(IMAGE, Path()) == written


def test_eb_uses_this_bundle_and_creates_none():
    """A bundle created by eb would contain the Dockerfile, and each instance would build the image."""
    config = yaml.safe_load(Path(".elasticbeanstalk/config.yml").read_text())
    assert config["deploy"]["artifact"] == "dist/bundle.zip"


@pytest.mark.parametrize("image", [APPLICATION, "x/y:latest", "x/y@sha256:12", f"{IMAGE} x"])
def test_an_image_that_is_not_pinned_is_refused(image):
    with pytest.raises(Failure, match="is not pinned"):
        bundle.make(image, Path())


@pytest.mark.parametrize(
    "name",
    [
        ".ebextensions/10-x.yml",
        ".ebextensions/x.config",
        ".ebextensions/sub/10-x.config",
        ".platform/hooks/predeploy/migrate",
        ".platform/hooks/install/10_x.sh",
        ".platform/nginx/nginx.conf.bak",
    ],
)
def test_a_file_that_beanstalk_would_not_read_is_refused(name, tmp_path):
    (tmp_path / "Dockerrun.aws.json").write_text("{}")
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    with pytest.raises(Failure, match="Beanstalk would not read"):
        bundle.make(IMAGE, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".platform/hooks/predeploy/10_x.sh", b"#!/bin/sh\r\ntrue\r\n"),
        (".platform/confighooks/predeploy/10_x.sh", b"../../hooks/predeploy/10_x.sh"),
        (".platform/nginx/nginx.conf", b"user nginx;\r\n"),
        (".ebextensions/10-x.config", b"option_settings: {}\r\n"),
    ],
)
def test_windows_line_endings_are_refused(name, content, tmp_path):
    (tmp_path / "Dockerrun.aws.json").write_text("{}")
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Failure, match=f"{name} has Windows line endings"):
        bundle.make(IMAGE, tmp_path)


def test_a_clone_on_windows_has_the_same_line_endings(tmp_path):
    """A clone made by Git for Windows, which converts line endings unless it is configured not to."""
    shutil.copytree(".platform", tmp_path / "source/.platform", symlinks=True)
    shutil.copy(".gitattributes", tmp_path / "source")
    git = [
        "git",
        "-c",
        "user.name=x",
        "-c",
        "user.email=owner@example.com",
        "-c",
        "core.autocrlf=true",
    ]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *command], cwd=tmp_path / "source", check=True, capture_output=True)
    subprocess.run([*git, "clone", "--quiet", tmp_path / "source", tmp_path / "clone"], check=True)
    hook = ".platform/hooks/predeploy/10_migrate.sh"
    assert (tmp_path / "clone" / hook).read_bytes() == Path(hook).read_bytes()


OTHER = IMAGE.replace("eu-west-1", "eu-central-1")


def test_replacing_the_image_changes_nothing_else(written):
    changed = bundle.replace_image(written, OTHER)
    assert changed != written
    assert bundle.replace_image(changed, IMAGE) == written
    with zipfile.ZipFile(io.BytesIO(changed)) as archive:
        assert json.loads(archive.read("Dockerrun.aws.json"))["Image"]["Name"] == OTHER


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK"])
def test_an_unreadable_archive_is_a_failure(content):
    with pytest.raises(Failure, match="the bundle cannot be read"):
        bundle.replace_image(content, OTHER)


def test_a_bundle_without_an_image_is_a_failure():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Dockerrun.aws.json", "{}")
    with pytest.raises(Failure, match="names no image"):
        bundle.replace_image(packed.getvalue(), OTHER)
