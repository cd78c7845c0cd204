"""Templates that passed are checked again only after something that decides has changed."""

from pathlib import Path

import pytest

from tools import templates

FILES = (
    "devops/operations.yml",
    ".ebextensions/40-database.config",
    "requirements/dev.txt",
    "requirements/checkov.txt",
    ".cfnlintrc",
    ".checkov.yaml",
    ".elasticbeanstalk/config.yml",
    "devops/environments.toml",
    "home/.cfnlintrc",
    "tools/templates.py",
)
STAMP = Path("dist/templates.passed")


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Runs the program; returns whether it checked, and fails as the programs do if ``broken``."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("Resources: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.argv", ["templates", "dist/templates"])
    monkeypatch.setattr(templates, "__file__", str(tmp_path / "tools/templates.py"))

    def run(broken=False):
        seen = []

        def check(folder):
            seen.append(folder)
            if broken:
                raise SystemExit("E3001 invalid")

        monkeypatch.setattr(templates, "check", check)
        if broken:
            with pytest.raises(SystemExit, match="E3001"):
                templates.main()
        else:
            templates.main()
        return bool(seen)

    return run


def test_templates_that_passed_are_not_checked_again(checked):
    assert checked()
    assert not checked()


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_a_template_program_or_setting_is_checked(checked, name):
    checked()
    Path(name).write_text("Resources: {Another: {Type: 'AWS::S3::Bucket'}}\n")
    assert checked()


def test_another_version_of_python_checks_again(checked, monkeypatch):
    checked()
    monkeypatch.setattr("sys.version", "4.0")
    assert checked()


def test_a_template_that_is_added_or_removed_is_checked(checked):
    checked()
    Path("devops/another.yml").write_text("Resources: {}\n")
    assert checked()
    Path("devops/another.yml").unlink()
    assert checked()


def test_templates_that_failed_are_checked_again(checked):
    """Also if it passed before, and nothing has changed since."""
    checked(broken=True)
    assert not STAMP.exists()
    assert checked()
    Path("devops/operations.yml").write_text("Resources: {Another: {}}\n")
    checked(broken=True)
    assert not STAMP.exists()
    assert checked()


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"0" * 64])
def test_a_damaged_or_foreign_stamp_is_ignored(checked, content):
    checked()
    STAMP.write_bytes(content)
    assert checked()
    assert not checked()


def test_ci_checks_everything(checked, monkeypatch):
    checked()
    monkeypatch.setenv("CI", "true")
    assert checked()


def test_a_template_is_checked_for_the_regions_to_which_it_is_deployed(tmp_path):
    folder = tmp_path / "templates"
    templates.write(folder)
    found = templates.by_regions(folder)
    own = [str(folder / name) for name in ("budget.yml", "probe.yml")]
    assert found.pop(("us-east-1",)) == own
    [regions] = found
    assert set(regions) == {"eu-west-1", "eu-central-1", "eu-north-1"}
    assert len(found[regions]) == len(list(folder.iterdir())) - len(own)


@pytest.mark.parametrize("failing", ["cfn-lint", "checkov"])
def test_a_finding_of_either_program_is_a_failure(tmp_path, monkeypatch, failing):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cfn-lint", "checkov"):
        (programs / name).write_text(f"#!/bin/sh\necho {name}\n[ {name} != {failing} ]\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    monkeypatch.setattr(templates, "CHECKOV", [str(programs / "checkov")])
    with pytest.raises(SystemExit, match=r"cfn-lint\s+checkov"):
        templates.check(programs)
