"""An EC2 instance of the Docker platform: a container with nginx, beside the container that it runs."""

import io
import json
import secrets
import shutil
import subprocess
import tarfile
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

# The configuration that Beanstalk gives the agent at first start and at every change of settings
AGENT = "/opt/aws/amazon-cloudwatch-agent"
STREAMED = {"logs": {"logs_collected": {"files": {"collect_list": [
    {"file_path": "/var/log/eb-docker/containers/eb-current-app/*stdouterr.log"},
]}}}}  # fmt: skip
TRUST_STORE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"


class Instance:
    """A machine with nginx, beside the container that it runs. See platforms-linux-extend."""

    def __init__(self, folder):
        self.id = f"i-{secrets.token_hex(8)}"
        self.version = None
        self.application = None
        self.slot = None  # its place at the load balancer
        self.root = folder / self.id
        (self.root / "etc/pki/rds").mkdir(parents=True)
        self.machine = start(
            "--volume", "/var/run/docker.sock:/var/run/docker.sock",
            "--volume", f"{self.root}/etc/pki/rds:/etc/pki/rds",
            "--env", f"INSTANCE_ROOT={self.root}",
            MACHINE,
        )  # fmt: skip
        self.address = address(self.machine)
        self._stream_logs()

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
        """Restart the same version with changed environment variables."""
        self._hooks("confighooks/predeploy", environment, "current")
        dockerrun = json.loads(self.run("cat /var/app/current/Dockerrun.aws.json"))
        self._start(dockerrun["Image"]["Name"], dockerrun, environment)
        self._proxy(dockerrun, folder="current")
        self._stream_logs()
        self._hooks("confighooks/postdeploy", environment, "current")

    def healthy(self, path):
        """Whether a health check, which has no X-Forwarded-For, is answered 200."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def check(self):
        """Raises Failed if the container has exited."""
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
            env={**path_and_home(), **(env or {})},
        ).stdout  # fmt: skip

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
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content or entry["content"].encode())
        target.chmod(int(entry["mode"], 8) & 0o777)

    def _hooks(self, kind, environment, folder):
        directory = f"/var/app/{folder}"
        listing = self.run(f"ls {directory}/.platform/{kind} 2>/dev/null || true")
        for name in sorted(listing.split()):
            known = environment | {"HOSTS": " ".join(hosts())}
            self.run(f".platform/{kind}/{name}", known, directory)

    def _start(self, image, dockerrun, environment):
        if self.application:
            docker("stop", self.application)
            remove(self.application)
        volumes = [
            part
            for volume in dockerrun.get("Volumes", [])
            for part in (
                "--volume",
                f"{self.root}{volume['HostDirectory']}:{volume['ContainerDirectory']}",
            )
        ]
        names = [part for name in environment for part in ("--env", name)]
        self.application = docker(
            "run", "--detach", "--label", LABEL, *hosts(), *names, *volumes, image,
            env={**path_and_home(), **environment},
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
