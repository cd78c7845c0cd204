"""tools/install.py: uv installs from wherever pip would, into the environment and nowhere else."""

import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.packages import Index, digest, source, wheel
from tools import install

REAL_UV = install.UV / "bin/uv"
UV = wheel("uv", "1.0", **{"uv-1.0.data__scripts__uv": f'#!/bin/sh\nexec "{REAL_UV}" "$@"\n'})
OLD = wheel("greeting", "0.9")
NEW = wheel(
    "greeting",
    "1.0",
    **{
        "greeting.py": "def main():\n    print('Hello')\n",
        "greeting-1.0.dist-info__entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
        "greeting-1.0.data__scripts__greet-as-script": "#!python\nimport greeting\ngreeting.main()\n",
    },
)
# Settings of other users of pip and uv, each of which would put the packages elsewhere or fail
DISTURBING = {
    "PIP_USER": "1",
    "PIP_TARGET": "elsewhere",
    "PIP_PREFIX": "elsewhere",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_CONSTRAINT": "missing.txt",
    "UV_PYTHON": "3.0",
    "UV_SYSTEM_PYTHON": "1",
    "UV_NO_BINARY": "1",
    "UV_OVERRIDE": "missing.txt",
    "UV_EXCLUDE_NEWER": "2001-01-01",
}


class Project:
    """A checkout with tools/install.py and three locks, in a folder whose path is long and has blanks."""

    def __init__(self, folder):
        self.home, self.python = folder / "home", sys.executable
        self.home.mkdir()
        self.folder = folder / "a földer" / ("with a long path" * 8) / "project"
        for name in ("tools/install.py", "pyproject.toml"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(Path(name).read_bytes())
        self.lock("uv.txt", ("uv==1.0", UV))
        self.lock("build.txt")
        self.lock("app.txt", ("greeting==1.0", NEW))

    def lock(self, name, *pins):
        path = self.folder / "requirements" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "".join(
                f"{pin} \\\n    --hash=sha256:{digest(content)}\n" for pin, (_, content) in pins
            )
        )

    def command(self, **env):
        """The program's command, and the environment in which the caller has nothing but ``env``."""
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        command = [self.python, "tools/install.py", ".venv", "requirements/app.txt"]
        return {"args": command, "cwd": self.folder, "env": kept | env}

    def install(self, **env):
        """Exit code and output."""
        ended = subprocess.run(
            **self.command(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return ended.returncode, ended.stdout

    def succeeds(self, **env):
        code, output = self.install(**env)
        assert code == 0, output
        for name in ("greet", "greet-as-script"):
            ended = subprocess.run([self.folder / ".venv/bin" / name], capture_output=True)
            assert ended.stdout == b"Hello\n", ended.stderr
        assert not (self.home / ".local").exists()
        assert not (self.folder / "elsewhere").exists()
        return output

    def pip_conf(self, text):
        path = self.home / ".config/pip/pip.conf"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def uv_toml(self, text):
        path = self.home / ".config/uv/uv.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def index():
    """Makes indexes; each offers uv and the current release of a package, unless files are given."""
    made = []

    def make(*files, **options):
        one = Index(**options)
        made.append(one)
        one.offer("greeting", *(files or [NEW]))
        if not files:
            one.offer("uv", UV)
        return one

    yield make
    for one in made:
        one.stop()


# --- Where packages come from -----------------------------------------------------------------


@pytest.mark.process
def test_an_index_with_a_password_is_read_from_pips_file(project, index):
    project.pip_conf(f"[global]\nindex-url = {index(login='me:secret').url}\nuser = true\n")
    output = project.succeeds(**DISTURBING)
    assert re.fullmatch(
        r"Installing uv, which installs the packages\.\.\.\n"
        r"Installing requirements/app.txt into \.venv\.\.\.\n"
        r"Installed 1 package \(\d+\.\d s\)\.\n",
        output,
    )


@pytest.mark.process
def test_an_additional_index_may_have_an_older_version(project, index):
    older = index(OLD)
    project.succeeds(PIP_INDEX_URL=index().url, PIP_EXTRA_INDEX_URL=older.url)
    assert "/simple/greeting/" in older.seen


@pytest.mark.process
def test_packages_are_installed_from_a_folder_without_an_index(project, tmp_path):
    for name, content in (UV, NEW):
        (tmp_path / name).write_bytes(content)
    project.pip_conf(
        f"[install]\nno-index = true\nfind-links =\n  {tmp_path / 'missing'}\n  {tmp_path}\n"
    )
    project.succeeds()


@pytest.mark.process
def test_certificates_of_pips_settings_are_used(project, index, tmp_path):
    """The index has one that only pip's setting knows, and demands one of the client."""
    authority, bundle = Authority(), tmp_path / "authority.pem"
    bundle.write_bytes(authority.pem)
    tls = authority.serving("127.0.0.1", tmp_path)
    tls.load_verify_locations(bundle)
    tls.verify_mode = ssl.CERT_REQUIRED
    client = tmp_path / "client.pem"
    client.write_bytes(
        b"".join((tmp_path / f"server.{end}").read_bytes() for end in ("key", "crt"))
    )
    url = index(tls=tls).url
    project.succeeds(PIP_INDEX_URL=url, PIP_CERT=str(bundle), PIP_CLIENT_CERT=str(client))


@pytest.mark.process
def test_an_index_is_reached_through_the_proxy(project, index):
    proxy = index()
    project.succeeds(
        PIP_INDEX_URL="http://packages.test/simple/",
        PIP_TRUSTED_HOST="packages.test",
        PIP_PROXY=proxy.address,
    )
    assert "http://packages.test/simple/greeting/" in proxy.seen


@pytest.mark.process
def test_a_python_without_pip_uses_its_bundled_pip(project, index, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    project.python = bare / "bin/python"
    project.succeeds(PIP_INDEX_URL=index().url)


def test_uvs_own_settings_win(monkeypatch):
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    pip = {"index-url": "https://pip.test/simple", "timeout": "7"}
    assert install.uv_environment(pip)["UV_DEFAULT_INDEX"] == "https://pip.test/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.test/simple")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "8")
    env = install.uv_environment(pip)
    assert (env["UV_DEFAULT_INDEX"], env["UV_HTTP_TIMEOUT"]) == ("https://uv.test/simple", "8")


def test_without_a_certificate_in_pips_settings_those_of_the_system_are_used(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "UV_SYSTEM_CERTS"):
        monkeypatch.delenv(name, raising=False)
    assert install.uv_environment({})["UV_SYSTEM_CERTS"] == "true"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/company.pem")
    assert install.uv_environment({})["SSL_CERT_FILE"] == "/company.pem"


@pytest.mark.process
def test_uvs_user_file_is_read_but_not_that_of_a_parent_folder(project, index):
    first = index()
    project.succeeds(PIP_INDEX_URL=first.url)
    project.lock("app.txt", ("greeting==0.9", OLD))
    project.uv_toml(f'index-url = "{index(OLD).url}"\n')
    (project.folder.parent / "uv.toml").write_text('index-url = "http://127.0.0.1:1/"\n')
    code, output = project.install(PIP_INDEX_URL=first.url)
    assert code == 0, output
    # A setting that redirects the packages is noticed, although uv ends with 0
    project.lock("app.txt", ("greeting==1.0", NEW))
    (project.home / ".config/uv/uv.toml").write_text(f'[pip]\ntarget = "{project.home}"\n')
    code, output = project.install(PIP_INDEX_URL=first.url)
    assert code == 1
    assert "greeting 1.0" in output
    assert "Look for settings of another folder" in output


# --- What goes wrong ----------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("with_uv", [False, True])
def test_an_index_that_cannot_be_reached_is_named_in_one_sentence(project, with_uv):
    if with_uv:
        target = project.folder / ".venv/uv/bin"
        target.mkdir(parents=True)
        (target / "uv").symlink_to(REAL_UV)
        (target.parent / "uv-1.0.dist-info").mkdir()
    closed = "http://127.0.0.1:1/simple/"
    code, output = project.install(PIP_INDEX_URL=closed, PIP_RETRIES="0", UV_HTTP_RETRIES="0")
    assert code == 1
    assert output.endswith(f"{install.HINT}\n")
    assert "Traceback" not in output


@pytest.mark.process
def test_only_what_was_locked_is_installed(project, index):
    """Neither a file with another hash, nor a package that would have to be built."""
    packed = source("another", "1.0")
    project.lock("app.txt", ("greeting==1.0", OLD))
    for url in (index().url, index(packed).url):
        code, output = project.install(PIP_INDEX_URL=url)
        assert code == 1
        assert "requirements/app.txt cannot be installed" in output
        project.lock("app.txt", ("another==1.0", packed))
    assert not list(project.folder.glob(".venv/lib/*/site-packages/*.dist-info"))


def obey_interrupts():
    """Where the tests run in the background, a shell has had SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.process
def test_ctrl_c_ends_it_and_the_next_run_continues(project, index):
    one = index()
    for package in ("uv", "greeting"):
        one.stalled = f"/simple/{package}/"
        one.requested.clear()
        terminal, end = pty.openpty()
        with subprocess.Popen(
            **project.command(PIP_INDEX_URL=one.url),
            stdout=end,
            stderr=end,
            text=True,
            preexec_fn=obey_interrupts,  # noqa: PLW1509  # it calls nothing that takes a lock
        ) as process:
            os.close(end)
            assert one.requested.wait(60)
            said = b""
            while b"1 s" not in said:  # it shows that it is waiting
                said += os.read(terminal, 1000)
            process.send_signal(signal.SIGINT)
            while b"it continues" not in said:
                said += os.read(terminal, 1000)
        os.close(terminal)
        assert process.returncode == 130
        assert b"make: interrupted; run it again, it continues" in said
        assert b"Traceback" not in said
    one.stalled = ""
    project.succeeds(PIP_INDEX_URL=one.url)


def test_other_versions_of_python_are_refused_by_name(monkeypatch):
    for version in ((3, 10, 9), (3, 15, 0)):
        monkeypatch.setattr(install.sys, "version_info", version)
        with pytest.raises(SystemExit, match=r"needs Python 3\.11 to 3\.14, .* is Python 3\.1"):
            install.check_python()


def test_the_supported_versions_of_python_are_those_of_the_package():
    oldest, (major, minor) = install.SUPPORTED
    wanted = f">={oldest[0]}.{oldest[1]},<{major}.{minor + 1}"
    assert tomllib.loads(Path("pyproject.toml").read_text())["project"]["requires-python"] == wanted


def test_packages_for_other_systems_are_ignored(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# A comment\ncolorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:0\n"
        "Flask-SQLAlchemy[x]==3.1.1 \\\n    --hash=sha256:0\n    # via -r main.in\n"
    )
    assert install._find_missing(lock, [tmp_path]) == {"flask-sqlalchemy 3.1.1"}
    (tmp_path / "flask_sqlalchemy-3.1.1.dist-info").mkdir()
    assert not install._find_missing(lock, [tmp_path])
