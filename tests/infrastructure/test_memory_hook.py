"""The hook that makes the agent report memory, with a fake command that handles configurations like the agent's."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOOK = Path(".platform/hooks/postdeploy/10_memory.sh").absolute()
CONTROL = Path("tests/rehearsal/machines/image/amazon-cloudwatch-agent-ctl")
LOGS = {
    "agent": {"metrics_collection_interval": 60},
    "logs": {
        "logs_collected": {"files": {"collect_list": [{"file_path": "/var/log/web.stdout.log"}]}}
    },
}


class Agent:
    """An agent as configured by Beanstalk: it streams logs."""

    def __init__(self, home):
        self.home, self.configured = home, home / "etc/amazon-cloudwatch-agent.d"
        (home / "bin").mkdir(parents=True)
        self.control = home / "bin/amazon-cloudwatch-agent-ctl"
        shutil.copy(CONTROL, self.control)
        self.apply("fetch-config", "beanstalk.json", LOGS)

    def apply(self, action, name, content):
        path = self.home / "etc" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        subprocess.run(
            [self.control, "-a", action, "-m", "ec2", "-c", f"file:{path}", "-s"], check=True
        )

    def replace(self, script):
        """Another command in its place."""
        self.control.write_text(f"#!/bin/sh\n{script}\n")

    def hook(self, **env):
        ended = subprocess.run(
            [HOOK],
            capture_output=True,
            text=True,
            timeout=30,
            env={"PATH": os.environ["PATH"], "CLOUDWATCH_AGENT": str(self.home)} | env,
        )
        assert ended.returncode == 0
        return ended.stderr.splitlines()[-1]

    def names(self):
        return sorted(path.name for path in self.configured.iterdir())


@pytest.fixture
def agent(tmp_path):
    return Agent(tmp_path / "agent")


def test_memory_is_reported_and_logs_are_still_streamed(agent):
    assert agent.hook() == "10_memory: the agent reports the memory of this instance"
    assert agent.names() == ["file_beanstalk.json", "file_memory.json"]
    merged = json.loads((agent.home / "etc/amazon-cloudwatch-agent.json").read_text())
    assert merged["logs"] == LOGS["logs"]
    metrics = merged["metrics"]
    assert metrics["metrics_collected"]["mem"]["measurement"] == ["mem_used_percent"]
    assert set(metrics["append_dimensions"]) == {"AutoScalingGroupName", "InstanceId"}


def test_a_second_run_does_not_restart_the_agent(agent):
    agent.hook()
    agent.replace('[ "$2" = status ] && echo \'  "status": "running"\'')
    assert agent.hook() == "10_memory: the agent reports the memory of this instance already"


def test_the_hook_repeats_its_configuration_after_changed_settings(agent):
    agent.hook()
    agent.apply("fetch-config", "beanstalk.json", LOGS)
    assert agent.names() == ["file_beanstalk.json"]
    assert agent.hook() == "10_memory: the agent reports the memory of this instance"
    assert agent.names() == ["file_beanstalk.json", "file_memory.json"]


def test_conflicting_metrics_do_not_fail_the_deployment(agent):
    """The deployment continues, and the refused configuration does not affect later ones."""
    other = {"metrics": {"append_dimensions": {"InstanceType": "${aws:InstanceType}"}}}
    agent.apply("append-config", "other.json", other)
    assert "the agent refuses the configuration" in agent.hook()
    assert agent.names() == ["file_beanstalk.json", "file_other.json"]


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("exit 1", "the agent refuses the configuration"),
        ("exit 0", "the agent did not keep the configuration"),
        ('rm -f "$(dirname "$0")"/../etc/*.d/*', "the agent lost a configuration that it had"),
    ],
)
def test_a_faulty_agent_does_not_fail_the_deployment(agent, script, what):
    agent.replace(script)
    assert what in agent.hook()


def test_an_agent_that_does_not_start_is_reported(agent):
    real = agent.control.with_name("real")
    agent.control.rename(real)
    agent.replace(f'[ "$2" = status ] || "{real}" "$@"')
    agent.control.chmod(0o755)
    assert "the agent does not run" in agent.hook()


def test_a_missing_agent_is_reported(agent):
    shutil.rmtree(agent.home)
    assert "there is no agent" in agent.hook()


def test_a_missing_temporary_folder_does_not_fail_the_deployment(agent):
    assert "there is no temporary folder" in agent.hook(TMPDIR="/nowhere")


def test_deployments_and_changed_settings_run_the_hook():
    link = Path(".platform/confighooks/postdeploy/10_memory.sh")
    assert link.resolve() == HOOK.resolve()
