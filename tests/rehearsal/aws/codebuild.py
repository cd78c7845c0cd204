"""CodeBuild: a project's buildspec, in a container of its own, from a clone with history."""

import io
import shlex
import subprocess
import zipfile
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.rehearsal.aws.access import Denied
from tests.rehearsal.machines.docker import LABEL, docker
from tests.rehearsal.waiting import limit
from tests.support.aws import ACCOUNT, APPLICATION, REGION

IMAGE = f"{APPLICATION}-codebuild"
SOURCE = "/codebuild/output/src/src"
CACHE = "/root/.cache"
PHASES = ("install", "pre_build", "build")


# What CodeBuild does with a project's role; see
# docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
LOG = ("logs:CreateLogStream", "logs:PutLogEvents")
REPORT = (
    "codebuild:CreateReportGroup",
    "codebuild:CreateReport",
    "codebuild:UpdateReport",
    "codebuild:BatchPutTestCases",
    "codebuild:BatchPutCodeCoverages",
)
SEE_A_BUCKET = ("s3:GetBucketAcl", "s3:GetBucketLocation")
READ = ("s3:GetObject", "s3:GetObjectVersion")
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"


class Failed(Exception):
    """A build failed; the text says how."""


class Built(NamedTuple):
    """The variables that a build exported, and its artifact as an archive."""

    exported: dict
    artifact: bytes


class CodeBuild:
    """Runs a project's buildspec in a clean container. All of them share one cache of packages."""

    def __init__(self, folder, environment, cloudformation):
        self.folder, self._environment = folder, environment
        self._projects = cloudformation.resources["AWS::CodeBuild::Project"]
        self._pipelines = cloudformation.resources["AWS::CodePipeline::Pipeline"]
        self.number = 0
        self.outputs = []  # (project, output)
        self.stand_ins = {}  # folders of commands that come first, by project

    def connect(self, access, client):
        """``access`` knows who may do what; ``client(service, role)`` makes clients."""
        self._access, self._client = access, client

    def run(self, project, source, commit, variables):
        """Build a ``commit`` of the repository ``source``, and return the result. Raises Failed."""
        work = self._begin()
        self._require(project, self._fetching(self._projects[project]))
        subprocess.run(["git", "clone", "--quiet", str(source), str(work / "src")], check=True)
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=work / "src", check=True)
        return self._build(project, work, commit, variables)

    def run_from_bucket(self, project):
        """Build the archive in S3 that is the project's source, and return the result. Raises Failed."""
        work = self._begin()
        properties = self._projects[project]
        bucket, _, key = properties["Source"]["Location"].partition("/")
        self._require(project, [(action, f"arn:aws:s3:::{bucket}") for action in SEE_A_BUCKET])
        s3 = self._client("s3", properties["ServiceRole"])
        archive = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            packed.extractall(work / "src")
        return self._build(project, work, "", {})

    def _require(self, project, asked):
        """Raises Failed unless the project's role may do what is ``asked``, and what every build does."""
        properties = self._projects[project]
        log = properties["LogsConfig"]["CloudWatchLogs"]["GroupName"]
        asked += [(action, f"{LOGS}:{log}:log-stream:1") for action in LOG]
        for action, *rest in asked:
            try:
                self._access.require(properties["ServiceRole"], action, *rest)
            except Denied as denied:
                raise Failed(f"{project}: {denied}") from denied

    def _fetching(self, properties):
        """What fetching the commit of an execution needs: a file that names it, and a clone by the connection."""
        if properties["Source"]["Type"] != "CODEPIPELINE":
            return [("secretsmanager:GetSecretValue", properties["Source"]["Auth"]["Resource"])]
        pipeline = self._pipelines[APPLICATION]
        [source] = pipeline["Stages"][0]["Actions"]
        bucket = f"arn:aws:s3:::{pipeline['ArtifactStore']['Location']}"
        context = {
            "codeconnections:FullRepositoryId": source["Configuration"]["FullRepositoryId"],
            "codeconnections:ProviderPermissionsRequired": "read_only",
        }
        return [
            *((action, bucket) for action in SEE_A_BUCKET),
            *((action, f"{bucket}/{APPLICATION}/Source/1") for action in READ),
            ("kms:Decrypt", properties["EncryptionKey"]),
            ("codeconnections:UseConnection", source["Configuration"]["ConnectionArn"], context),
        ]

    def _begin(self):
        self.number += 1
        work = self.folder / f"build-{self.number}"
        work.mkdir()
        return work

    def _build(self, project, work, commit, variables):
        properties = self._projects[project]
        buildspec = yaml.safe_load((work / "src" / properties["Source"]["BuildSpec"]).read_text())
        self._require(project, self._keeping(project, properties, buildspec))
        volumes = self._volumes(project, properties, buildspec, work)
        (work / "script").write_text(_script(buildspec))
        environment = self._environment_of(project, properties, buildspec, commit, variables)
        code, output = _run(*volumes, *environment)
        self.outputs.append((project, output))
        print(f"\n[{project}]\n{output[-3000:]}")  # noqa: T201
        exported = work / "exported"
        found = exported.read_text().split("\0")[:-1] if exported.exists() else []
        for report in buildspec.get("reports", {}).values():
            for name in report["files"]:
                if not code and project not in self.stand_ins:
                    assert (work / "src" / name).exists(), name
        artifact = _pack(work / "src", buildspec.get("artifacts", {}).get("files", []))
        if code:
            raise Failed(f"{project} ended with exit code {code}")
        return Built(dict(one.split("=", 1) for one in found), artifact)

    def _keeping(self, project, properties, buildspec):
        """What a build needs for its reports, its cache, and its artifact."""
        group = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:report-group/{project}"
        asked = [
            (action, f"{group}-{name}")
            for name in buildspec.get("reports", {})
            for action in REPORT
        ]
        if properties.get("Cache", {}).get("Type") == "S3":
            place = f"arn:aws:s3:::{properties['Cache']['Location']}/1"
            asked += [(action, place) for action in ("s3:GetObject", "s3:PutObject")]
            asked += [("kms:GenerateDataKey", properties["EncryptionKey"])]
        if "artifacts" in buildspec:
            bucket = self._pipelines[APPLICATION]["ArtifactStore"]["Location"]
            place = f"arn:aws:s3:::{bucket}/{APPLICATION}/Release/1"
            asked += [("s3:PutObject", place), ("kms:GenerateDataKey", properties["EncryptionKey"])]
        return asked

    def _environment_of(self, project, properties, buildspec, commit, variables):
        environment = dict(buildspec.get("env", {}).get("variables", {}))
        for one in properties["Environment"].get("EnvironmentVariables", []):
            environment[one["Name"]] = one["Value"]
        environment |= variables | self._environment(properties["ServiceRole"])
        environment |= {
            "AWS_DEFAULT_REGION": REGION,
            "CODEBUILD_BUILD_NUMBER": str(self.number),
            "CODEBUILD_BUILD_URL": f"https://{REGION}.console.aws.amazon.com/codebuild/{project}",
            "CODEBUILD_CI": "true",
            "CODEBUILD_INITIATOR": f"codepipeline/{APPLICATION}",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": commit,
        }
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment["PATH"] = f"/stand-ins:{path}" if project in self.stand_ins else path
        return [f"--env={name}={value}" for name, value in environment.items()]

    def _volumes(self, project, properties, buildspec, work):
        arguments = ["--volume", f"{work}:/codebuild/output/src", "--workdir", SOURCE]
        cached = self.folder / "cache"
        cached.mkdir(exist_ok=True)
        arguments += ["--volume", f"{cached}:{CACHE}"]
        for path in buildspec.get("cache", {}).get("paths", []):
            assert path.startswith(f"{CACHE}/"), path
        if properties["Environment"].get("PrivilegedMode") in (True, "true"):
            arguments += ["--volume", "/var/run/docker.sock:/var/run/docker.sock"]
        if project in self.stand_ins:
            arguments += ["--volume", f"{self.stand_ins[project]}:/stand-ins:ro"]
        return arguments


def _pack(folder, patterns):
    """An archive of the files without their modes, which may be lost on the way through S3."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for pattern in patterns:
            for path in folder.glob(pattern):
                if path.is_file():
                    archive.writestr(str(path.relative_to(folder)), path.read_bytes())
    return packed.getvalue()


def _run(*arguments):
    """Exit code and output of the script in a container."""
    command = ["docker", "run", "--rm", "--network=host", "--label", LABEL, *arguments, IMAGE]
    ended = subprocess.run(
        [*command, "bash", "/codebuild/output/src/script"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit(1800),
    )
    return ended.returncode, ended.stdout


def _script(buildspec):
    """The phases as one shell script: the first command that fails ends it with that command's exit code."""
    lines = [f"chown -R root: {SOURCE}"]  # as in CodeBuild, whoever runs the rehearsal
    for phase in PHASES:
        lines.append(f"echo '[Container] Entering phase {phase.upper()}'")
        for command in buildspec["phases"].get(phase, {}).get("commands", []):
            lines += [f"echo {shlex.quote('[Container] ' + command)}", command]
            lines.append('code=$?; [ "$code" = 0 ] || exit "$code"')
    for name in buildspec.get("env", {}).get("exported-variables", []):
        lines.append(f'printf "{name}=%s\\0" "${name}" >>/codebuild/output/src/exported')
    return "\n".join(lines) + "\n"


def build_image():
    """Build the image of CodeBuild's containers."""
    docker(
        "build",
        "--quiet",
        "--tag",
        IMAGE,
        str(Path(__file__).parent / "codebuild_image"),
        seconds=600,
    )
