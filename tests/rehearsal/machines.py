"""The machines of the rehearsal: instances, load balancers and databases, as containers."""

import datetime
import io
import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MACHINE = "birthday-greetings-machine"
TRUST_STORE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
LABEL = f"birthday-greetings.rehearsal={os.getpid()}"


class Failed(Exception):
    """A command on a machine ended badly; the text says how."""


def docker(*arguments, check=True, timeout=300, **more):
    """Run docker; raises Failed with its output unless it succeeds."""
    ended = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, **more
    )
    if check and ended.returncode:
        raise Failed(f"docker {arguments[0]}: {(ended.stdout + ended.stderr).strip()[-1500:]}")
    return ended


def start(*arguments):
    """The id of a new container."""
    return docker("run", "--detach", "--label", LABEL, *arguments).stdout.strip()


def address(container):
    return docker(
        "inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", container
    ).stdout.strip()


def remove(*containers):
    if containers:
        docker("rm", "--force", "--volumes", *containers, check=False)


class TrustStore:
    """A certification authority, in place of RDS's own."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
        self._certificate = self._sign(
            self._name, self._key, (x509.BasicConstraints(ca=True, path_length=0), True)
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, ip, folder):
        """Write server.crt and server.key for ``ip`` into ``folder``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ip))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ip)])
        certificate = self._sign(subject, key, (names, False))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, extension):
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        return builder.add_extension(*extension).sign(self._key, hashes.SHA256())


class Database:
    """PostgreSQL made from a declared AWS::RDS::DBInstance and its parameter group."""

    def __init__(self, properties, parameters, trust, folder):
        assert properties["Engine"] == "postgres"
        self.properties = properties
        folder.mkdir(parents=True)
        settings = {k: v for k, v in parameters.items() if not k.startswith("rds.")}
        kind = "hostssl" if parameters.get("rds.force_ssl") == "1" else "host"
        (folder / "pg_hba.conf").write_text(
            f"local all all trust\n{kind} all all all scram-sha-256\n"
        )
        command = (
            "until [ -f /rds/ready ]; do sleep 0.1; done; "
            "install -o postgres -m 600 /rds/server.key /rds/server.crt /rds/pg_hba.conf /srv; "
            "exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/srv/server.crt "
            "-c ssl_key_file=/srv/server.key -c hba_file=/srv/pg_hba.conf "
        ) + " ".join(f"-c {key}={value}" for key, value in settings.items())
        env = folder / "env"
        env.write_text(
            f"POSTGRES_USER={properties['MasterUsername']}\n"
            f"POSTGRES_PASSWORD={properties['MasterUserPassword']}\n"
            f"POSTGRES_DB={properties['DBName']}\n"
        )
        image = f"postgres:{properties['EngineVersion'].split('.')[0]}-trixie"
        self.container = start(
            "--env-file", str(env), "--volume", f"{folder}:/rds", image, "bash", "-c", command
        )
        self.host, self.port = address(self.container), properties["Port"]
        trust.issue(self.host, folder)
        (folder / "ready").touch()
        self._wait()

    def query(self, sql):
        """The rows of ``sql``, each a line, columns separated by |."""
        user, name = self.properties["MasterUsername"], self.properties["DBName"]
        return docker(
            "exec", self.container, "psql", "-U", user, "-d", name, "-Atc", sql
        ).stdout.split("\n")[:-1]

    def change_password(self, password):
        """What ModifyDBInstance does; connections that there are stay."""
        self.query(f"ALTER USER {self.properties['MasterUsername']} PASSWORD '{password}'")
        self.properties["MasterUserPassword"] = password

    def _wait(self):
        deadline = time.monotonic() + 60
        command = ("exec", self.container, "pg_isready", "-h", "127.0.0.1")
        while docker(*command, check=False).returncode:
            assert time.monotonic() < deadline, docker("logs", self.container).stderr
            time.sleep(0.2)


class Instance:
    """A machine with nginx, beside the container that it runs. See platforms-linux-extend."""

    def __init__(self, folder):
        self.id = f"i-{secrets.token_hex(8)}"
        self.version = None
        self.application = None
        self.slot = None  # its place at the load balancer
        self._root = folder / self.id
        (self._root / "etc/pki/rds").mkdir(parents=True)
        self.machine = start(
            "--volume", "/var/run/docker.sock:/var/run/docker.sock",
            "--volume", f"{self._root}/etc/pki/rds:/etc/pki/rds",
            "--env", f"INSTANCE_ROOT={self._root}",
            MACHINE,
        )  # fmt: skip
        self.address = address(self.machine)

    def deploy(self, version, bundle, files, environment, login, trust):
        """Install ``bundle``, as a new version."""
        self._unpack(bundle)
        for path, entry in files.items():
            self._write(path, entry, trust)
        self._hooks("hooks/prebuild", environment, "staging")
        dockerrun = json.loads(self.run("cat /var/app/staging/Dockerrun.aws.json"))
        image = dockerrun["Image"]["Name"]
        self.run(login)
        self.run(f"docker pull --quiet {image}")
        self._hooks("hooks/predeploy", environment, "staging")
        self._start(image, dockerrun, environment)
        self._proxy(dockerrun)
        self.run("rm -rf /var/app/current && mv /var/app/staging /var/app/current")
        self._hooks("hooks/postdeploy", environment, "current")
        self.version = version

    def configure(self, environment):
        """Take a changed environment: the same version, started anew."""
        self._hooks("confighooks/predeploy", environment, "current")
        dockerrun = json.loads(self.run("cat /var/app/current/Dockerrun.aws.json"))
        self._start(dockerrun["Image"]["Name"], dockerrun, environment)
        self._proxy(dockerrun, folder="current")
        self._hooks("confighooks/postdeploy", environment, "current")

    def healthy(self, path):
        """Whether a health check, which has no X-Forwarded-For, is answered 200."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def check(self):
        """Raises Failed when the container has ended."""
        state = docker("inspect", "--format", "{{.State.Running}}", self.application).stdout
        if state.strip() != "true":
            ended = docker("logs", "--tail", "5", self.application)
            raise Failed(
                f"[Instance: {self.id}] Docker container quit unexpectedly after launch: "
                f"{ended.stdout}{ended.stderr}"
            )

    def run(self, command, env=None, directory="/"):
        arguments = [part for name in env or {} for part in ("--env", name)]
        return docker(
            "exec", "--workdir", directory, *arguments, self.machine, "bash", "-c", command,
            env={**_path(), **(env or {})},
        ).stdout  # fmt: skip

    def terminate(self):
        if self.application:
            docker("stop", self.application, check=False)
            remove(self.application)
        remove(self.machine)
        shutil.rmtree(self._root, ignore_errors=True)

    def _unpack(self, bundle):
        self.run("rm -rf /var/app/staging && mkdir -p /var/app/staging")
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive, tarfile.open(None, "w", packed) as tar:
            for entry in archive.infolist():
                header = tarfile.TarInfo(entry.filename)
                header.size, header.mode = entry.file_size, (entry.external_attr >> 16) & 0o777
                tar.addfile(header, io.BytesIO(archive.read(entry)))
        ended = subprocess.run(
            ["docker", "exec", "-i", self.machine, "tar", "-x", "-C", "/var/app/staging"],
            input=packed.getvalue(), capture_output=True,
        )  # fmt: skip
        if ended.returncode:
            raise Failed(f"tar: {ended.stderr.decode()}")

    def _write(self, path, entry, trust):
        content = {TRUST_STORE: trust.pem}[entry["source"]] if "source" in entry else None
        target = self._root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content or entry["content"].encode())
        target.chmod(int(entry["mode"], 8) & 0o777)

    def _hooks(self, kind, environment, folder):
        directory = f"/var/app/{folder}"
        listing = self.run(f"ls {directory}/.platform/{kind} 2>/dev/null || true")
        for name in sorted(listing.split()):
            self.run(f".platform/{kind}/{name}", environment, directory)

    def _start(self, image, dockerrun, environment):
        if self.application:
            docker("stop", self.application)
            remove(self.application)
        volumes = [
            part
            for volume in dockerrun.get("Volumes", [])
            for part in (
                "--volume",
                f"{self._root}{volume['HostDirectory']}:{volume['ContainerDirectory']}",
            )
        ]
        names = [part for name in environment for part in ("--env", name)]
        self.application = docker(
            "run", "--detach", "--label", LABEL, *names, *volumes, image,
            env={**_path(), **environment},
        ).stdout.strip()  # fmt: skip

    def _proxy(self, dockerrun, folder="staging"):
        port = dockerrun["Ports"][0]["ContainerPort"]
        upstream = (
            f"upstream docker {{ server {address(self.application)}:{port}; keepalive 256; }}\n"
        )
        self.run(
            "mkdir -p /etc/nginx/conf.d /var/log/nginx/healthd && "
            "chown nginx /var/log/nginx/healthd && "
            f"cp -r /var/app/{folder}/.platform/nginx/. /etc/nginx/ && "
            'printf "%s" "$UPSTREAM" >/etc/nginx/conf.d/elasticbeanstalk-nginx-docker-upstream.conf && '
            'printf "%s" "$FORMAT" >/etc/nginx/conf.d/healthd_http.conf && '
            "nginx -t 2>&1 && if [ -s /run/nginx.pid ]; then nginx -s reload; else nginx; fi",
            {"UPSTREAM": upstream, "FORMAT": HEALTH_FORMAT},
        )


# What the platform puts into conf.d beside the upstream
HEALTH_FORMAT = (
    'log_format healthd \'$msec"$uri"$status"$request_time"$upstream_response_time"'
    "$http_x_forwarded_for';\n"
)


class LoadBalancer:
    """HAProxy with the timeouts and the health checks of the options; drains before it removes."""

    slots = 12

    def __init__(self, health_path, idle_timeout):
        servers = "\n".join(
            f"  server i{slot} 127.0.0.1:80 check inter 500ms rise 2 fall 3 disabled"
            for slot in range(self.slots)
        )
        config = f"""
global
  stats socket ipv4@0.0.0.0:9999 level admin
defaults
  mode http
  timeout connect 5s
  timeout client {idle_timeout}s
  timeout server {idle_timeout}s
  retries 0
frontend public
  bind :80
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  default_backend instances
backend instances
  option httpchk GET {health_path}
{servers}
"""
        command = 'printf "%s" "$CONFIG" >/run/lb.cfg; exec haproxy -q -f /run/lb.cfg'
        self.container = start(
            "--publish=127.0.0.1::80", "--publish=127.0.0.1::9999", "--env", f"CONFIG={config}",
            MACHINE, "sh", "-c", command,
        )  # fmt: skip
        self._control = self._port("9999")
        self.cname = f"127.0.0.1:{self._port('80')}"
        self._free = list(range(self.slots))
        deadline = time.monotonic() + 20
        while True:
            try:
                self._ask("show info")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def add(self, instance):
        instance.slot = self._free.pop(0)
        server = f"instances/i{instance.slot}"
        self._ask(f"set server {server} addr {instance.address} port 80")
        self._ask(f"set server {server} state ready")

    def remove(self, instance, drain):
        """Send no more requests to ``instance``, and wait for the answers, at most ``drain`` s."""
        if instance.slot is None:
            return
        server = f"instances/i{instance.slot}"
        self._ask(f"set server {server} state drain")
        deadline = time.monotonic() + drain
        while self._sessions(instance.slot) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.3)
        self._ask(f"set server {server} state maint")
        self._free.append(instance.slot)
        instance.slot = None

    def _sessions(self, slot):
        lines = self._ask("show stat").splitlines()
        names = lines[0].lstrip("# ").split(",")
        for line in lines[1:]:
            row = dict(zip(names, line.split(","), strict=False))
            if row.get("svname") == f"i{slot}":
                return int(row["scur"])
        raise AssertionError(slot)

    def _port(self, inside):
        return int(docker("port", self.container, f"{inside}/tcp").stdout.rsplit(":", 1)[1])

    def _ask(self, command):
        with socket.create_connection(("127.0.0.1", self._control), timeout=5) as connection:
            connection.sendall(f"{command}\n".encode())
            answer = connection.makefile().read()
        assert "No such" not in answer, answer
        return answer


def _path():
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def build_machine(folder: Path):
    docker("build", "--quiet", "--tag", MACHINE, str(folder), timeout=600)
