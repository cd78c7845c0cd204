"""An EC2 instance of the Docker platform: a container with nginx, beside the container that it runs."""

import io
import json
import secrets
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
import zipfile

from tests.rehearsal.machines.docker import (
    LABEL,
    MACHINE,
    Failed,
    address,
    docker,
    hosts,
    path_and_home,
    remove,
    start,
)
from tests.rehearsal.waiting import limit

# The configuration that Beanstalk gives the agent at first start and at every change of settings
AGENT = "/opt/aws/amazon-cloudwatch-agent"
STREAMED = {
    "logs": {
        "logs_collected": {
            "files": {
                "collect_list": [
                    {"file_path": "/var/log/eb-docker/containers/eb-current-app/*stdouterr.log"},
                ]
            }
        }
    }
}
LOGS = "/var/log/nginx"  # of the disk, the part that can be filled: it is a file system of its own
MOVE = "rm -rf /var/app/current && mv /var/app/staging /var/app/current"
TRUST_STORE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"


class Bundle:
    """A version's source bundle, read once: an archive for the instance, and what the platform needs of it."""

    def __init__(self, archive):
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(archive)) as files, tarfile.open(None, "w", packed) as tar:
            for entry in files.infolist():
                header = tarfile.TarInfo(entry.filename)
                header.size, header.mode = entry.file_size, (entry.external_attr >> 16) & 0o777
                tar.addfile(header, io.BytesIO(files.read(entry)))
            self.dockerrun = json.loads(files.read("Dockerrun.aws.json"))
            self._names = files.namelist()
        self.packed, self.image = packed.getvalue(), self.dockerrun["Image"]["Name"]

    def hooks(self, kind):
        """The paths of the hooks of a ``kind``, such as hooks/predeploy, in the order in which they run."""
        return sorted(name for name in self._names if name.startswith(f".platform/{kind}/"))


class Instance:
    """A machine with nginx, beside the container that it runs. See platforms-linux-extend."""

    def __init__(self, folder):
        self.id = f"i-{secrets.token_hex(8)}"
        self.version = None
        self.application = self._bundle = None
        self._checked = 0.0
        self.slot = None  # its place at the load balancer
        self.root = folder / self.id
        (self.root / "etc/pki/rds").mkdir(parents=True)
        self.machine = start(
            "--volume",
            "/var/run/docker.sock:/var/run/docker.sock",
            "--volume",
            f"{self.root}/etc/pki/rds:/etc/pki/rds",
            f"--tmpfs={LOGS}:size=64m",
            "--env",
            f"INSTANCE_ROOT={self.root}",
            MACHINE,
        )
        self.address = address(self.machine)
        self._stream_logs()

    def deploy(self, version, archive, files, environment, login, trust):
        """Install the bundle ``archive``, as a new version."""
        bundle = Bundle(archive)
        self._unpack(bundle)
        for path, entry in files.items():
            self._write(path, entry, trust)
        self._hooks(bundle, "hooks/prebuild", environment, "staging")
        self.run(f"{login} && docker pull --quiet {bundle.image}")
        self._hooks(bundle, "hooks/predeploy", environment, "staging")
        self._start(bundle, environment)
        self._proxy(bundle, "staging", MOVE)
        self._hooks(bundle, "hooks/postdeploy", environment, "current")
        self.version, self._bundle = version, bundle

    def configure(self, environment):
        """Restart the same version with changed environment variables."""
        self._hooks(self._bundle, "confighooks/predeploy", environment, "current")
        self._start(self._bundle, environment)
        self._proxy(self._bundle, "current")
        self._stream_logs()
        self._hooks(self._bundle, "confighooks/postdeploy", environment, "current")

    def ask(self, path):
        """The status with which a health check, which has no X-Forwarded-For, is answered, or None."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address}{path}", timeout=limit(5)
            ) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None

    def check(self):
        """Raises Failed if the container has exited, which is looked at twice a second."""
        if time.monotonic() - self._checked < 0.5:
            return
        self._checked = time.monotonic()
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
            "exec",
            "--workdir",
            directory,
            *arguments,
            self.machine,
            "bash",
            "-c",
            command,
            env={**path_and_home(), **(env or {})},
        ).stdout

    def kill(self):
        """Let it be gone, without a word to anybody."""
        remove(self.application, self.machine)

    def terminate(self):
        if self.application:
            docker("stop", self.application, check=False)
            remove(self.application)
        remove(self.machine)
        shutil.rmtree(self.root, ignore_errors=True)

    def agent(self):
        """The configuration of the CloudWatch agent."""
        return json.loads(self.run(f"cat {AGENT}/etc/amazon-cloudwatch-agent.json"))

    def _stream_logs(self):
        """Configure the agent as Beanstalk does, which removes every other configuration."""
        self.run(
            f'mkdir -p {AGENT}/etc && printf "%s" "$CONFIG" >{AGENT}/etc/beanstalk.json && '
            f"{AGENT}/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 "
            f"-c file:{AGENT}/etc/beanstalk.json -s",
            {"CONFIG": json.dumps(STREAMED)},
        )

    def _unpack(self, bundle):
        command = "mkdir -p /var/app && cd /var/app && rm -rf staging && mkdir staging && tar -x -C staging"
        ended = subprocess.run(
            ["docker", "exec", "-i", self.machine, "bash", "-c", command],
            input=bundle.packed,
            capture_output=True,
        )
        if ended.returncode:
            raise Failed(f"tar: {ended.stderr.decode()}")

    def _write(self, path, entry, trust):
        content = {TRUST_STORE: trust.pem}[entry["source"]] if "source" in entry else None
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content or entry["content"].encode())
        target.chmod(int(entry["mode"], 8) & 0o777)

    def _hooks(self, bundle, kind, environment, folder):
        for name in bundle.hooks(kind):
            known = environment | {"HOSTS": " ".join(hosts())}
            self.run(name, known, f"/var/app/{folder}")

    def _start(self, bundle, environment):
        if self.application:
            docker("stop", self.application)
            remove(self.application)
        volumes = [
            part
            for volume in bundle.dockerrun.get("Volumes", [])
            for part in (
                "--volume",
                f"{self.root}{volume['HostDirectory']}:{volume['ContainerDirectory']}",
            )
        ]
        names = [part for name in environment for part in ("--env", name)]
        # Beanstalk asks the application itself, and does not look at what Docker finds
        self.application = docker(
            "run",
            "--detach",
            "--no-healthcheck",
            "--label",
            LABEL,
            *hosts(),
            *names,
            *volumes,
            bundle.image,
            env={**path_and_home(), **environment},
        ).stdout.strip()

    def _proxy(self, bundle, folder, more="true"):
        port = bundle.dockerrun["Ports"][0]["ContainerPort"]
        upstream = (
            f"upstream docker {{ server {address(self.application)}:{port}; keepalive 256; }}\n"
        )
        self.run(
            "mkdir -p /etc/nginx/conf.d /var/log/nginx/healthd && "
            "chown nginx /var/log/nginx/healthd && "
            f"cp -r /var/app/{folder}/.platform/nginx/. /etc/nginx/ && "
            'printf "%s" "$UPSTREAM" >/etc/nginx/conf.d/elasticbeanstalk-nginx-docker-upstream.conf && '
            'printf "%s" "$FORMAT" >/etc/nginx/conf.d/healthd_http.conf && '
            f"nginx -t 2>&1 && if [ -s /run/nginx.pid ]; then nginx -s reload; else nginx; fi && {more}",
            {"UPSTREAM": upstream, "FORMAT": HEALTH_FORMAT},
        )


# What the platform puts into conf.d beside the upstream
HEALTH_FORMAT = (
    'log_format healthd \'$msec"$uri"$status"$request_time"$upstream_response_time"'
    "$http_x_forwarded_for';\n"
)
