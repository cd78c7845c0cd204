#!/usr/bin/env bash
# Let the CloudWatch agent, which streams the logs, report the memory of this instance as well.
#
# Runs after each deployment and after each change of settings, for which Beanstalk writes the agent's
# configuration again. Ours is appended to it: "fetch-config" would remove Beanstalk's, and logs would no longer be
# streamed. A missing metric must not fail a deployment: the exit code is always 0, and the last line
# in /var/log/eb-hooks.log says whether it worked.
set -uo pipefail

agent=${CLOUDWATCH_AGENT:-/opt/aws/amazon-cloudwatch-agent}
control=$agent/bin/amazon-cloudwatch-agent-ctl
configured=$agent/etc/amazon-cloudwatch-agent.d

say() { echo "10_memory: $*" >&2; }

# No section "agent": a value there that differs from Beanstalk's would be refused
configuration() {
    cat <<'JSON'
{
  "metrics": {
    "append_dimensions": {
      "AutoScalingGroupName": "${aws:AutoScalingGroupName}",
      "InstanceId": "${aws:InstanceId}"
    },
    "metrics_collected": {
      "mem": {"measurement": ["mem_used_percent"], "metrics_collection_interval": 60}
    }
  }
}
JSON
}

# Within a minute, since the next deployment waits for this one
control() { timeout 60 "$control" "$@"; }

is_running() { control -a status | grep -q '"status": "running"'; }

# The names of all configured files except ours
others() { find "$configured" -type f ! -name 'file_memory.json*' 2>/dev/null | sort; }

report_memory() {
    local folder=$1 before
    if [ ! -x "$control" ]; then
        say "there is no agent at $agent: the memory of this instance is not reported"
        return
    fi
    configuration >"$folder/memory.json"
    if cmp -s "$folder/memory.json" "$configured/file_memory.json" && is_running; then
        say "the agent reports the memory of this instance already"
        return
    fi
    before=$(others)
    if ! control -a append-config -m ec2 -c "file:$folder/memory.json" -s >&2; then
        # Otherwise the refused file would be read again with the next one that is appended
        rm -f "$configured/file_memory.json.tmp"
        say "the agent refuses the configuration (see above): the memory of this instance is not reported"
    elif [ "$before" != "$(others)" ]; then
        say "the agent lost a configuration that it had, and may not stream all logs: had $before, has $(others)"
    elif ! cmp -s "$folder/memory.json" "$configured/file_memory.json"; then
        say "the agent did not keep the configuration: the memory of this instance is not reported"
    elif ! is_running; then
        say "the agent does not run: neither logs nor the memory of this instance are reported"
    else
        say "the agent reports the memory of this instance"
    fi
}

if folder=$(mktemp -d); then
    report_memory "$folder"
    rm -rf "$folder"
else
    say "there is no temporary folder: the memory of this instance is not reported"
fi
exit 0
