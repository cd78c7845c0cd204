"""Install a lock file into a virtual environment, which is created if it does not exist.

Usage: python3 tools/install.py ENVIRONMENT LOCK

Needs only Python. Its pip, or else the one that it comes with, installs uv into .venv/uv, and uv
does the rest. Every package is verified by its hash and comes as a wheel. Only awsebcli has none:
it is built here, by the build tools that requirements/build.txt pins.

uv reads neither pip's configuration nor PIP_*. So that people behind a mirror or a proxy need no
second configuration, pip's settings of the index, the certificates and the proxy are passed on.
"""

from __future__ import annotations  # so that an old Python comes as far as check_python

import ast
import importlib.util
import os
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

SUPPORTED = (3, 11), (3, 14)  # the embedded PostgreSQL has wheels for these
PROJECT = Path(__file__).resolve().parent.parent
UV = PROJECT / ".venv/uv"
LOCKS = PROJECT / "requirements"

# What decides where packages come from. pip's and uv's other settings are not used: they would put
# packages elsewhere (user, target, prefix) or leave some out (no-deps)
PIP_SETTINGS = re.compile(
    "index-url|extra-index-url|find-links|no-index|trusted-host|cert|client-cert|proxy"
    "|(default-)?timeout|retries"
)
UV_SETTINGS = re.compile(
    r"UV_(DEFAULT_INDEX|(EXTRA_)?INDEX(_\w+)?|FIND_LINKS|KEYRING_PROVIDER|CREDENTIALS_DIR"
    r"|INSECURE_HOST|SYSTEM_CERTS|NATIVE_TLS|HTTP_\w+|CACHE_DIR|NO_CACHE|OFFLINE)"
)
UV_INDEX = re.compile("UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS)")

UNREACHABLE = re.compile(
    r"dns error|error sending request|tcp connect error|connection (refused|reset)|timed out"
    r"|(NewConnection|NameResolution|ConnectTimeout|Proxy|SSL)Error|invalid peer certificate"
    r"|from versions: none",
    re.IGNORECASE,
)
HINT = (
    "The package index cannot be reached, or is not the right one: check the network, HTTPS_PROXY "
    "if there is a proxy, and the address of the index (pip config set global.index-url URL)."
)


def main() -> None:
    """Exits with 1 and a message if a package is not installed, and with 130 after Ctrl-C."""
    try:
        check_python()
        if len(sys.argv) != 3:
            raise SystemExit(__doc__)
        pip = find_pip()
        settings = read_pip_settings(pip)
        install_uv(pip, settings)
        install(Path(sys.argv[1]), Path(sys.argv[2]), settings)
    except KeyboardInterrupt:
        print("\nmake: interrupted; run it again, it continues", file=sys.stderr)
        raise SystemExit(130) from None


def check_python() -> None:
    """Raises SystemExit unless this Python is one that the locks support."""
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        oldest, newest = ("{}.{}".format(*one) for one in SUPPORTED)
        version = "{}.{}.{}".format(*sys.version_info)
        raise SystemExit(
            f"This project needs Python {oldest} to {newest}, and {sys.executable} is Python "
            f"{version}.\nIf one of them is installed, name it: make PYTHON=python3.13 run"
        )


def find_pip() -> list[str]:
    """The command of this Python's pip, or else of the one that Python comes with.

    Raises SystemExit if there is neither: Debian has both in packages of their own.
    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    folder = PROJECT / ".venv/pip"
    own = [str(folder / "bin/python"), "-m", "pip"]
    if not list(folder.glob("lib*/python*/site-packages/pip-*.dist-info")):
        command = [sys.executable, "-m", "venv", str(folder)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(
                f"{made.stdout}{made.stderr}make: {sys.executable} has no pip. Install it, for "
                "example: apt-get install python3-pip"
            )
    return own


def read_pip_settings(pip: list[str]) -> dict[str, str]:
    """The settings in PIP_SETTINGS by name, from the files and variables of ``pip``, a command.

    Raises SystemExit if it cannot read them.
    """
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True)
    if listed.returncode:
        raise SystemExit(f"{listed.stderr}make: pip does not work; see above why.")
    settings = {}
    for section in ("global", "install", ":env:"):  # the later ones win
        for line in listed.stdout.splitlines():
            key, _, value = line.partition("=")
            where, _, name = key.rpartition(".")
            if where == section and PIP_SETTINGS.fullmatch(name):
                settings[name] = ast.literal_eval(value)
    return settings


def install_uv(pip: list[str], settings: dict[str, str]) -> None:
    """Install the uv of requirements/uv.txt, unless it is there. Raises SystemExit."""
    lock = LOCKS / "uv.txt"
    if not _find_missing(lock, [UV]):
        return
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env.update({f"PIP_{name.replace('-', '_').upper()}": text for name, text in settings.items()})
    env.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1")
    command = [*pip, "install", "--require-hashes", "--only-binary=:all:", "--no-deps"]
    command += ["--upgrade", "--target", str(UV), "-r", str(lock)]
    _say("Installing uv, which installs the packages...")
    _run(command, env, lock)
    _verify(lock, [UV])


def install(environment: Path, lock: Path, settings: dict[str, str]) -> None:
    """Install the packages of ``lock`` into ``environment``. Raises SystemExit."""
    env, uv, python = uv_environment(settings), str(UV / "bin/uv"), environment / "bin/python"
    if not python.exists():
        make = [uv, "venv", "--allow-existing", "--python", sys.executable, str(environment)]
        _run(make, env, lock)
    command = [uv, "pip", "install", "--python", str(python), "-r", str(lock)]
    command += ["--require-hashes", "--only-binary=:all:", "--no-binary=awsebcli"]
    command += ["--require-build-hashes", "--preview-features=build-dependency-hashes"]
    command += ["--build-constraints", str(LOCKS / "build.txt")]
    # The hashes decide which file is right, so that any index may offer it
    command += ["--index-strategy=unsafe-best-match"]
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        command.append("--no-index")
    _say(f"Installing {os.path.relpath(lock)} into {os.path.relpath(environment)}...")
    began = time.monotonic()
    said = _run(command, env, lock)
    _verify(lock, list(environment.glob("lib*/python*/site-packages")))
    installed = re.search(r"^Installed \d+ packages?", said, re.MULTILINE)
    _say(f"{installed[0] if installed else 'It was there'} ({time.monotonic() - began:.1f} s).")


def uv_environment(pip: dict[str, str]) -> dict[str, str]:
    """The variables for uv: its own of UV_SETTINGS, and pip's settings where uv has none."""
    new = {
        "UV_HTTP_TIMEOUT": pip.get("timeout") or pip.get("default-timeout"),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
    }
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UV_") or UV_SETTINGS.fullmatch(name)
    }
    if not any(map(UV_INDEX.fullmatch, env)) and not _uv_file_names_an_index():
        new["UV_DEFAULT_INDEX"] = pip.get("index-url")
        new["UV_INDEX"] = " ".join(pip.get("extra-index-url", "").split())
        new["UV_FIND_LINKS"] = ",".join(_existing(pip.get("find-links", "").split()))
    env = {**{name: value for name, value in new.items() if value}, **env}
    if "proxy" in pip:  # pip, too, prefers it to the variables
        proxy = pip["proxy"] if "://" in pip["proxy"] else "http://" + pip["proxy"]
        env.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy))
    if "client-cert" in pip:
        env["SSL_CLIENT_CERT"] = str(Path(pip["client-cert"]).expanduser())
    return {**env, **_certificates(pip, env)}


def _certificates(pip: dict[str, str], env: dict[str, str]) -> dict[str, str]:
    """Pip's certificates, else the system's, which include those of a company's proxy."""
    named = pip.get("cert") or env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE")
    if named:
        path = Path(named).expanduser()
        return {"SSL_CERT_DIR" if path.is_dir() else "SSL_CERT_FILE": str(path)}
    system = ssl.get_default_verify_paths()
    if sys.platform == "darwin" or system.cafile or system.capath:
        return {"UV_SYSTEM_CERTS": env.get("UV_SYSTEM_CERTS", "true")}
    return {}  # uv has Mozilla's


def _uv_file_names_an_index() -> bool:
    """Whether a configuration file of uv says where packages come from."""
    import tomllib  # not in the Pythons that check_python refuses

    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (home / "uv/uv.toml", Path("/etc/uv/uv.toml")):
        found = tomllib.loads(path.read_text()) if path.is_file() else {}
        named = {*found, *found.get("pip", {})}
        if named & {"index", "index-url", "extra-index-url", "find-links", "no-index"}:
            return True
    return False


def _existing(links: list[str]) -> list[str]:
    """Without the folders that do not exist: pip ignores them, and uv would fail."""
    local = [unquote(one[7:]) if one.startswith("file://") else one for one in links]
    return [one for one in local if "://" in one or Path(one).expanduser().exists()]


def _find_missing(lock: Path, folders: list[Path]) -> set[str]:
    """The packages that ``lock`` pins for all systems and that no folder of ``folders`` has."""
    pins = re.findall(r"^([\w.-]+)(?:\[.*?\])?(==\S+) *\\?$", lock.read_text(), re.MULTILINE)
    there = [path.stem for folder in folders for path in folder.glob("*.dist-info")]
    installed = {_normalized(*stem.rsplit("-", 1)) for stem in there}
    return {_normalized(name, version[2:]) for name, version in pins} - installed


def _normalized(name: str, version: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower() + " " + version


def _verify(lock: Path, folders: list[Path]) -> None:
    """Raises SystemExit if packages are missing: settings may have put them elsewhere."""
    missing = sorted(_find_missing(lock, folders))
    if missing:
        raise SystemExit(
            f"make: these packages of {lock} are not in {folders}, although the installation "
            f"succeeded: {', '.join(missing)}. Look for settings of another folder (target, "
            "prefix) in the configuration of uv: ~/.config/uv/uv.toml, /etc/uv/uv.toml."
        )


def _run(command: list[str], env: dict[str, str], lock: Path) -> str:
    """What it printed; raises SystemExit with that if it fails. A terminal shows the seconds."""
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seconds, said = 0, None
    while said is None:
        try:
            said = process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            seconds += 1
            if sys.stdout.isatty():
                print(f"\r  {seconds} s ", end="", flush=True)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if seconds and sys.stdout.isatty():
        print("\r\033[K", end="")
    if process.returncode:
        hint = f"\n{HINT}" if UNREACHABLE.search(said) else ""
        raise SystemExit(f"{said}make: {lock} cannot be installed; see above why.{hint}")
    return said


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
