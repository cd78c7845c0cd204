"""Renaming: no name is forgotten, nothing else changes, and nothing is lost."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support import texts
from tools import rename

TEXTS = {path: text for path, text in texts.read().items() if path not in rename.LEFT_OUT}
HERE = rename.find(TEXTS)
LONGEST = "a-service-so-long-ok"
WORDS = ("people", "users", "orders", "accounts", "notes", "person", "pet-names", LONGEST)
NAMES = [rename.derive(word) for word in WORDS]
OTHER = rename.derive("quite-another-1")
original = pytest.mark.skipif(
    HERE.slug != "birthday-greetings", reason="a service may write its own name where it likes"
)
# What an application may say that has such a name
MORE = {
    "web/more.py": "".join(
        f"{word} = reorder_{word}(['/{word}/1', '{word}-1'])\n" for word in WORDS
    ),
    "docs/more.md": "".join(
        f"{word.title()} are {word} ([more](#{word}-1)).\n" for word in WORDS[:6]
    ),
}


def renamed(before, old, new, **more):
    return before | rename.plan(before, old, new, **more)


@original
@pytest.mark.parametrize("name", NAMES, ids=lambda one: one.slug)
def test_renaming_twice_and_back_restores_every_file(name):
    before = TEXTS | (MORE if "-" not in name.slug else {})
    once = renamed(before, HERE, name)
    assert rename.find(once) == name
    twice = renamed(once, name, OTHER)
    assert once["README.md"].startswith(f"# {name.title}\n")
    assert renamed(twice, OTHER, HERE) == before
    changed = {path for path in before if once[path] != before[path]}
    assert {path for path in changed if not path.endswith(".md")} == set(rename.PLACES) - {
        "*.md",
        "README.md",
    }


@original
def test_no_name_is_forgotten():
    assert len(TEXTS) > 200
    for path, text in renamed(TEXTS, HERE, OTHER).items():
        assert not re.search("birthday[ _-]?greetings", text, re.IGNORECASE), path


@pytest.mark.parametrize(
    "name",
    [
        "",
        "pet",
        "Pet-names",
        "pet_names",
        "1-pet",
        "pet--names",
        "pet-",
        "a" * 21,
        "pet names",
        "sthree",
        "sthree-pets",
        "amzn-s3-demo-pets",
    ],
)
def test_an_invalid_name_is_refused(name):
    with pytest.raises(SystemExit, match="expected 4 to 20"):
        rename.derive(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (HERE.slug, "this checkout's name already"),
        ("class", "a keyword of Python"),
        ("match", "a keyword of Python"),
        ("user", "a reserved word of PostgreSQL"),
        ("order", "a reserved word of PostgreSQL"),
        ("table", "a reserved word of PostgreSQL"),
        ("true", "a reserved word of PostgreSQL"),
        ("hello", r"a part of the name of \S+/hello\.\w+"),
        ("prod", "in devops/environments.toml with another meaning"),
        ("staging", "in devops/environments.toml with another meaning"),
        ("test", "in Makefile with another meaning"),
        ("example", "in devops/owner.json with another meaning"),
    ],
)
def test_a_name_with_another_meaning_is_refused(name, reason):
    with pytest.raises(SystemExit, match=f"^{name} is {reason}: .* Nothing was changed"):
        rename.plan(TEXTS, HERE, rename.derive(name))


def test_a_folder_in_a_bucket_is_refused():
    """The bundles, sources and records of an application of this name would be in it, too."""
    templates = TEXTS["devops/pipeline.yml"] + TEXTS["devops/environment.yml"]
    folders = set(re.findall(r"\}/([a-z]{4,})/", templates))
    assert {"cache", "deployments", "release", "resources"} <= folders
    for folder in folders:
        assert rename.find_meaning(TEXTS, folder), folder


@original
@pytest.mark.parametrize("name", [HERE, OTHER], ids=["old", "new"])
def test_possible_names_are_listed_and_kept_on_request(name):
    more = TEXTS | {"docs/more.md": f"One.\nThe bucket `{name.slug}-cache`.\n"}
    with pytest.raises(SystemExit, match="Nothing was changed") as refused:
        rename.plan(more, HERE, OTHER)
    assert str(refused.value).count("docs/") == 1
    assert f"\n  docs/more.md:2: The bucket `{name.slug}-cache`.\n" in str(refused.value)
    kept = renamed(more, HERE, OTHER, keep=True)
    assert kept == renamed(TEXTS, HERE, OTHER) | {"docs/more.md": more["docs/more.md"]}


def test_a_failure_between_two_files_says_how_to_undo_it(tmp_path):
    with pytest.raises(SystemExit, match=r"Undo it with: git checkout -- \."):
        rename.write(tmp_path, {"one": "1", "missing/two": "2"})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with some of the files that have the names, as the current folder."""
    for path in (rename.CONFIG, "README.md", "web/openapi.py", "devops/owner.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(TEXTS[path])
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    git("config", "user.name", "CI")
    git("config", "user.email", "owner@example.com")
    commit()


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def commit():
    git("add", "--all")
    git("commit", "--quiet", "--message", "All")


def refusal(monkeypatch, name):
    monkeypatch.setattr("sys.argv", ["rename", name])
    with pytest.raises(SystemExit) as refused:
        rename.main()
    return str(refused.value)


def find():
    return rename.find(dict(rename.read(Path())))


@pytest.mark.usefixtures("checkout")
def test_a_checkout_is_renamed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rename", OTHER.slug])
    rename.main()
    assert f"Renamed {HERE.slug} to {OTHER.slug} in 4 files" in capsys.readouterr().out
    assert find() == OTHER
    git("checkout", "--", ".")
    assert find() == HERE


@pytest.mark.usefixtures("checkout")
def test_a_checkout_with_uncommitted_changes_is_refused(monkeypatch):
    Path("new").write_text("x")
    assert "commit or remove these changes first" in refusal(monkeypatch, OTHER.slug)
    assert git("status", "--porcelain") == "?? new\n"


@pytest.mark.usefixtures("checkout")
def test_a_refused_name_changes_nothing(monkeypatch):
    Path("more.md").write_text(f"{OTHER.slug}-prod\n")
    commit()
    for name in ("user", OTHER.slug):
        assert "Nothing was changed" in refusal(monkeypatch, name)
        assert git("status", "--porcelain") == ""


def test_without_git_nothing_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal(monkeypatch, OTHER.slug)
    assert re.fullmatch(r"git status: .*\. Nothing was changed\.", message, re.DOTALL)
