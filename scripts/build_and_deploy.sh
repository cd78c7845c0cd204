#!/usr/bin/env bash
# Build the image once, publish it, and deploy that same image to staging and then to production.
#
# Usage: scripts/build_and_deploy.sh [OPTION...] [COMMAND]
#
#   (no command)                    check, build, deploy staging and smoke test it, then prod likewise
#   build                           build and publish image and version; the last line is the version
#   deploy ENV [--version LABEL]    deploy a published version (the one built last), smoke test it,
#                                   and go back to the version before if anything is wrong
#   smoke ENV|URL                   see by the public name whether it serves
#   release                         give the approval that the pipeline waits for, if the release window
#                                   is open; else tell the team what waits
#   rollback ENV                    deploy the version that was there before this one
#   create ENV [--version LABEL]    make what is missing (stacks, application, version, environment) and
#                                   set what stands in devops/environments.toml; safe to run again
#   bootstrap                       make or change the pipeline, as devops/owner.json and
#                                   devops/release_window.toml say; safe to run again
#   status [ENV]                    what runs where
#
# ENV is staging or prod, or another one of devops/environments.toml.
#
#   --dry-run        print every command that would change something, and run none of them; bootstrap
#                    shows what the stacks would change
#   --forward        deploy only if what runs is not newer, by the history of git
#   --allow-dirty    build although something is not committed; the version says so
#
# Environment variables: those of the AWS CLI (credentials, AWS_DEFAULT_REGION), BUILD_NUMBER (part of the
# version; the time, if absent), DEPLOY_TIMEOUT (minutes for one deployment, 40), HEALTH_TIMEOUT (seconds
# until it is healthy after that, 300), SMOKE_TIMEOUT (seconds for each check of the smoke test, 60),
# POLL_SECONDS (10).
#
# Needs bash 4, docker, git, make, python3 (3.11), timeout, and eb and aws (`make .venv/installed` brings
# these two).
# Exit codes: 0 done; 1 not done, the last lines say what happened, how things are, and what to do;
# 2 wrong usage; 130 interrupted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "deploy: $*" >&2; }

# What happened, how things are now, what to do
die() {
    failure="$1. Now: $2"
    say "FAILED: $1"
    say "  now: $2"
    say "  next: $3"
    exit 1
}

usage() {
    [ "$#" -eq 0 ] || say "$*. See --help."
    exit 2
}

# A command that changes something. It is shown even where its messages go into a file
run() {
    local shown=("$@")
    [ "$1" != patiently ] || shown=("${@:3}")
    echo "+ ${shown[*]}" >&3
    [ -n "$dry_run" ] || "$@"
}

config() { sed -nE "s/^  $1: *(.*)$/\1/p" .elasticbeanstalk/config.yml; }

prepare() {
    [ "${BASH_VERSINFO[0]}" -ge 4 ] || die "this bash is of version $BASH_VERSION" "nothing was changed" "install bash 4 or newer; on macOS: brew install bash"
    dry_run='' allow_dirty='' forward='' lock_key='' child='' bucket='' work='' built='' difference=''
    deployment='' failure=''
    application=$(config application_name)
    artifact=$(config artifact)
    [ ! -x .venv/bin/eb ] || PATH="$PWD/.venv/bin:$PATH"
    export AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-${AWS_REGION:-$(config default_region)}}" AWS_PAGER=''
    minutes=${DEPLOY_TIMEOUT:-40} poll=${POLL_SECONDS:-10} health_timeout=${HEALTH_TIMEOUT:-300}
    [[ $minutes =~ ^[1-9][0-9]*$ ]] || usage "DEPLOY_TIMEOUT '$minutes' is no number of minutes"
    [[ $poll =~ ^[0-9]+(\.[0-9]+)?$ ]] || usage "POLL_SECONDS '$poll' is no number of seconds"
    [[ $health_timeout =~ ^[1-9][0-9]*$ ]] || usage "HEALTH_TIMEOUT '$health_timeout' is no number of seconds"
    exec 3>&2
    trap cleanup EXIT
    trap interrupted INT TERM HUP
    work=$(mktemp -d)
}

cleanup() {
    local code=$?
    report "FAILED" "${failure:-it was interrupted}"
    unlock
    [ -z "$work" ] || rm -rf "$work"
    exit "$code"
}

interrupted() {
    trap '' INT TERM HUP
    [ -z "$child" ] || kill "$child" 2>/dev/null || :
    say "interrupted. What AWS has begun, it goes on with."
    say "  next: 'status' shows it; run the same command again: it waits for AWS and continues"
    exit 130
}

# In the background, so that a signal is not kept waiting until the command ends
patiently() {
    local code=0
    timeout --foreground "$1" "${@:2}" &
    child=$!
    wait "$child" || code=$?
    child=''
    return "$code"
}

require() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null && continue
        case $tool in
        eb | aws) die "there is no '$tool' command" "nothing was changed" "make .venv/installed" ;;
        timeout) die "there is no 'timeout' command" "nothing was changed" "install the GNU coreutils" ;;
        *) die "there is no '$tool' command" "nothing was changed" "install it" ;;
        esac
    done
}

# --- Reading -----------------------------------------------------------------------------------

environment() { echo "$application-$1"; }

# Status, version, colour, health, and name in DNS; "None" if there is no such environment
describe() {
    aws elasticbeanstalk describe-environments --application-name "$application" --no-include-deleted \
        --environment-names "$1" --output text \
        --query 'Environments[0].[Status, VersionLabel, Health, HealthStatus, CNAME]'
}

unknown() { # NAME
    die "AWS does not say how $1 is" "this run does nothing more" "look at the message above: credentials, permissions, network"
}

# The versions that the instances run, each once; nothing if AWS does not say
running() {
    aws elasticbeanstalk describe-instances-health --environment-name "$1" --attribute-names Deployment \
        --query 'InstanceHealthList[].Deployment.VersionLabel' --output text | tr '\t' '\n' | sort -u
}

version_exists() {
    local found
    found=$(aws elasticbeanstalk describe-application-versions --application-name "$application" \
        --version-labels "$1" --query 'ApplicationVersions[0].VersionLabel' --output text) ||
        die "AWS does not say whether version $1 exists" "nothing was changed by this step" "look at the message above: credentials, permissions, network"
    [ "$found" = "$1" ]
}

# The digest of an image by its tag, or nothing
digest() {
    aws ecr describe-images --repository-name "$application" --image-ids "imageTag=$1" \
        --query 'imageDetails[0].imageDigest' --output text 2>"$work/error" && return
    grep -q ImageNotFound "$work/error" || {
        cat "$work/error" >&2
        die "AWS does not say whether there is an image $1" "nothing was changed by this step" "look at the message above: credentials, permissions, network"
    }
}

output() {
    aws cloudformation describe-stacks --stack-name "$1" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue"
}

url() {
    local name answer cname
    case $1 in http://* | https://*) echo "$1" && return ;; esac
    name=$(output "$(environment "$1")" PublicName) || return 1
    answer=$(describe "$(environment "$1")") || return 1
    read -r _ _ _ _ cname <<<"$answer"
    [ -z "$name" ] || [ "$name" = None ] || { echo "https://$name" && return; }
    echo "http://$cname"
}

# --- One at a time -----------------------------------------------------------------------------

# Asking for Beanstalk's bucket makes it, where there is none; its name is known
storage() {
    if [ -n "$dry_run" ] && [ -z "$bucket" ]; then
        run aws elasticbeanstalk create-storage-location
        bucket="elasticbeanstalk-$AWS_DEFAULT_REGION-$(aws sts get-caller-identity --query Account --output text)"
    fi
    [ -n "$bucket" ] || bucket=$(aws elasticbeanstalk create-storage-location --query S3Bucket --output text) ||
        die "AWS does not name Beanstalk's bucket" "nothing was changed" "look at the message above: credentials, permissions, network"
}

# S3 lets only one of two writers create an object
lock() {
    local key="locks/$1" holder
    storage
    echo "$(whoami)@$(uname -n), process $$, since $(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$work/lock"
    if run aws s3api put-object --bucket "$bucket" --key "$key" --body "$work/lock" --if-none-match '*' >/dev/null 2>"$work/error"; then
        lock_key=$key
        return
    fi
    if grep -q PreconditionFailed "$work/error" && aws s3 cp --quiet "s3://$bucket/$key" "$work/holder"; then
        # A lost answer makes the CLI try again, and find its own
        cmp -s "$work/lock" "$work/holder" && lock_key=$key && return
        holder=$(cat "$work/holder")
        die "another run is at work on $1: $holder" "nothing was changed by this run" "wait for it. If it died: aws s3 rm s3://$bucket/$key"
    fi
    cat "$work/error" >&2
    die "the lock of $1 cannot be taken" "nothing was changed" "look at the message above: credentials, permissions, network"
}

unlock() {
    [ -n "$lock_key" ] || return 0
    run aws s3 rm --quiet "s3://$bucket/$lock_key" || say "The lock could not be given back. Do it: aws s3 rm s3://$bucket/$lock_key"
    lock_key=''
}

# --- Build -------------------------------------------------------------------------------------

# From the commit, and never the same for two builds
new_label() {
    local commit changed
    commit=$(git rev-parse --short=12 HEAD)
    changed=$(git status --porcelain)
    local number=${BUILD_NUMBER:-${CODEBUILD_BUILD_NUMBER:-$(date -u +%Y%m%d%H%M%S)}}
    [[ $number =~ ^[0-9A-Za-z.]{1,40}$ ]] || usage "BUILD_NUMBER '$number' may have letters, digits and dots only"
    if [ -n "$changed" ]; then
        [ -n "$allow_dirty" ] ||
            die "these files are not committed, so that nobody could tell what was built:"$'\n'"$changed" "nothing was built" "commit them, or give --allow-dirty to try something out"
        number="$number-dirty"
    fi
    echo "$commit-$number"
}

# With a configuration of its own: what is written there is the password in plain text
log_in() {
    local original=${DOCKER_CONFIG:-$HOME/.docker} host
    host=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || host=''
    [ -z "$host" ] || export DOCKER_HOST="${DOCKER_HOST:-$host}"
    mkdir -p "$work/docker"
    [ ! -d "$original/cli-plugins" ] || ln -sfn "$original/cli-plugins" "$work/docker/cli-plugins"
    export DOCKER_CONFIG="$work/docker"
    aws ecr get-login-password | docker login --username AWS --password-stdin "${1%%/*}" >/dev/null 2>"$work/error" || {
        grep -v WARNING "$work/error" >&2 || :
        die "the registry ${1%%/*} refuses the login" "nothing was published" "check that your credentials may ecr:GetAuthorizationToken, and that the clock is right"
    }
}

repository() {
    aws ecr describe-repositories --repository-names "$application" --query 'repositories[0].repositoryUri' --output text ||
        die "there is no repository for the images" "nothing was built" "scripts/build_and_deploy.sh create staging"
}

publish_image() { # LABEL REPOSITORY
    run docker build --platform linux/amd64 --build-arg "APP_VERSION=$1" ${BASES:+--build-arg "BASES=$BASES"} --tag "$2:$1" . ||
        die "the image cannot be built" "nothing was published" "look at the message above"
    [ -n "$dry_run" ] || log_in "$2"
    run docker push --quiet "$2:$1" ||
        die "the image cannot be pushed" "nothing is deployed; a tag that was not pushed whole does not exist" "run it again"
}

# Ten that could be deleted: Beanstalk refuses to delete what an environment runs
oldest_versions() {
    aws elasticbeanstalk describe-application-versions --application-name "$application" \
        --query 'reverse(sort_by(ApplicationVersions, &DateCreated))[-10:].VersionLabel' --output text ||
        echo "not known, see the message above"
}

publish_version() { # LABEL
    run patiently 600 eb appversion --create --label "$1" --message "$(git log -1 --format=%s | cut -c1-150)" --region "$AWS_DEFAULT_REGION" ||
        die "the version $1 cannot be created" "its image is published, nothing is deployed" "$(cat <<EOF
run it again with BUILD_NUMBER=${1#*-}: what is published is used again.
        If the message above says that there are too many versions (a region has 1,000), delete old ones first:
        aws elasticbeanstalk delete-application-version --application-name $application --delete-source-bundle --version-label LABEL
        The oldest (what an environment runs cannot be deleted): $(oldest_versions)
EOF
        )"
    [ -n "$dry_run" ] || version_exists "$1" ||
        die "eb says nothing is wrong, but there is no version $1" "its image is published, nothing is deployed" "run it again"
}

build() {
    require docker git python3 timeout eb aws
    local label uri digest
    label=$(new_label) || exit
    uri=$(repository) || exit
    ! version_exists "$label" ||
        die "version $label exists, and is never replaced" "nothing was built" "deploy it as it is ('deploy ENV --version $label'), or give another BUILD_NUMBER"
    digest=$(digest "$label") || exit
    if [ -n "$digest" ]; then
        [[ $label != *-dirty ]] || die "there is an image $label of files that were not committed" "nothing was built" "give another BUILD_NUMBER"
        say "image $label is published already, by a run that did not end: using it"
    else
        publish_image "$label" "$uri"
        digest=$(digest "$label")
        [ -z "$dry_run" ] || digest=sha256:$(printf '0%.0s' {1..64})
    fi
    [ -n "$digest" ] || die "the registry does not have the image $label that was pushed" "nothing is deployed" "run it again"
    run python3 -m scripts.bundle "$uri@$digest" "$artifact" ||
        die "the bundle cannot be made" "the image $label is published, nothing is deployed" "mend what the message above says"
    publish_version "$label"
    built=$label
    [ -z "$dry_run" ] || return 0
    echo "$label" >dist/version
    say "version $label is published: image $digest"
}

# --- Report ------------------------------------------------------------------------------------

# Every deploy and rollback ends with one message to all who want to know, whoever started it and however
# it ended. That the message cannot be sent is no failure of the deployment.
report() { # RESULT [DETAIL]
    local name version began topic urgent=false
    [ -n "$deployment" ] || return 0
    read -r name version began <<<"$deployment"
    deployment=''
    topic=$(output "$application-foundation" DeploymentsTopic) || topic=''
    [ "$1" = succeeded ] || [ "$name" != "$(environment prod)" ] || urgent=true
    if [ -z "$topic" ] || ! message "$name" "$version" "$((SECONDS - began))" "$@" >"$work/message" ||
        ! run aws sns publish --topic-arn "$topic" --subject "$name: $version $1" --message-structure json \
            --message "file://$work/message" >/dev/null \
            --message-attributes "{\"urgent\": {\"DataType\": \"String\", \"StringValue\": \"$urgent\"}}"; then
        say "Nobody was told of this deployment: see the message above, or whether the stack $application-foundation has the topic"
    fi
}

message() { # NAME VERSION SECONDS RESULT [DETAIL]
    local who=${CODEBUILD_INITIATOR:-}
    [ -n "$who" ] || who=$(aws sts get-caller-identity --query Arn --output text) || who='somebody'
    python3 -m scripts.message "$1: $2 $4" "version: $2" "environment: $1" "who: $who" \
        "result: $4${5:+: $5}" "duration: $(($3 / 60)) min $(($3 % 60)) s" \
        "link: ${CODEBUILD_BUILD_URL:-https://$AWS_DEFAULT_REGION.console.aws.amazon.com/elasticbeanstalk/home?region=$AWS_DEFAULT_REGION#/environments}"
}

# --- Deploy ------------------------------------------------------------------------------------

wait_until_ready() { # NAME: prints its version
    local deadline=$((SECONDS + minutes * 60)) answer status version
    while :; do
        answer=$(describe "$1") || unknown "$1"
        read -r status version _ <<<"$answer"
        case $status in
        Ready) echo "$version" && return ;;
        None) die "there is no environment $1" "nothing was changed" "scripts/build_and_deploy.sh create ${1#"$application-"}" ;;
        Terminating | Terminated) die "$1 is being terminated" "nothing was changed" "wait for the end of it, then: create ${1#"$application-"}" ;;
        esac
        [ "$SECONDS" -lt "$deadline" ] ||
            die "$1 is still $status after $minutes minutes" "this run does nothing more; AWS goes on with what it does" "look at 'eb events $1', or stop it: aws elasticbeanstalk abort-environment-update --environment-name $1"
        say "$1 is $status; waiting until it is Ready"
        sleep "$poll"
    done
}

# Whether all that can be asked says that NAME runs LABEL and nothing else; says what is different
is_running() { # NAME LABEL
    local answer status version colour health instances
    difference="AWS does not say how $1 is"
    answer=$(describe "$1") || return 1
    read -r status version colour health _ <<<"$answer"
    instances=$(running "$1") || return 1
    difference="$1 is $status, with version $version, $colour/$health, its instances at: ${instances//$'\n'/, }"
    [ "$status/$version/$colour/$health/$instances" = "Ready/$2/Green/Ok/$2" ]
}

wait_until_running() { # NAME LABEL
    local deadline=$((SECONDS + health_timeout))
    until is_running "$1" "$2"; do
        [ "$SECONDS" -lt "$deadline" ] || { say "$difference" && return 1; }
        sleep "$poll"
    done
}

# eb's exit code alone proves nothing: it is 0 in cases where nothing was deployed
update() { # NAME LABEL
    local code=0
    run patiently $((minutes * 60 + 120)) eb deploy "$1" --version "$2" --timeout "$minutes" --region "$AWS_DEFAULT_REGION" || code=$?
    [ -z "$dry_run" ] || return 0
    [ "$code" -eq 0 ] || { say "eb deploy ended with exit code $code" && return 1; }
    wait_until_running "$1" "$2"
}

# The key with which the smoke test may save where API_KEYS are set
smoke_key() { # NAME STATE
    local answer
    answer=$(aws secretsmanager get-secret-value --secret-id "$1/smoke-test" --query SecretString --output text) &&
        key=$(sed -nE 's/.*"key": ?"([A-Za-z0-9]+)".*/\1/p' <<<"$answer") && [ -n "$key" ] || [ -n "$dry_run" ] ||
        die "the key of the smoke test of $1 cannot be read" "$2" \
            "look at the message above; the stack has the key since: create ${1#"$application-"}"
}

smoke() { # ENV|URL [LABEL]
    local url
    url=$(url "$1") || return 1
    [ -z "$dry_run" ] || { say "would smoke test $url" && return; }
    SMOKE_KEY=${key:-${SMOKE_KEY:-}} patiently 300 python3 -m scripts.smoke "$url" ${2:+"$2"} >&2
}

# The log of what was deployed, which rollback reads
record() { # NAME deploy|rollback LABEL
    run aws s3api put-object --bucket "$bucket" --key "deployments/$1/$(date -u +%Y%m%dT%H%M%SZ) $2 $3" >/dev/null ||
        say "The deployment is not in the log, and a later rollback will not know it."
}

deploy() { # ENV LABEL [rollback]
    local name version before
    require python3 timeout eb aws
    name=$(environment "$1") version=$2
    version_exists "$version" || [ -n "$dry_run" ] ||
        die "there is no version $version" "nothing was changed" "build it, or name one of: $(versions)"
    [ -n "$(digest "$version")" ] || [ -n "$dry_run" ] ||
        die "the image of version $version is gone from the registry" "nothing was changed" "name another version, or build the commit ${version%%-*} again"
    smoke_key "$name" "nothing was deployed"
    lock "$name"
    before=$(wait_until_ready "$name")
    # Deployed by other means, the console for one: a later rollback must know it
    [ "$before" = "$version" ] || [ "$(history "$name" | tail -n 1)" = "$before" ] || record "$name" deploy "$before"
    [ -z "$forward" ] || refuse_older "$name" "$before" "$version"
    say "$name: from $before to $version"
    deployment="$name $version $SECONDS"
    if update "$name" "$version" && smoke "$1" "$version"; then
        record "$name" "${3:-deploy}" "$version"
        unlock
        report succeeded
        [ -n "$dry_run" ] || say "$name runs $version"
        return
    fi
    restore "$1" "$before" "$version"
}

# An execution of the pipeline that waited, or is repeated, must not undo what came after it
refuse_older() { # NAME BEFORE VERSION
    local code=0
    git merge-base --is-ancestor "${2%%-*}" "${3%%-*}" || code=$?
    [ "$code" -ne 1 ] || die "$1 runs $2, which is not older than $3" "nothing was changed" "deploy a newer commit; to go back on purpose: rollback ${1#"$application-"}, or deploy without --forward"
    [ "$code" -eq 0 ] || die "git cannot tell whether $2 is older than $3" "nothing was changed" "run it in a clone with the whole history; if ${2%%-*} is on no branch any more, deploy without --forward"
}

# After a failure: the version before, on every instance. Always ends with exit code 1.
restore() { # ENV BEFORE FAILED
    local name
    name=$(environment "$1")
    say "$name: version $3 failed. The last events:"
    events "$name"
    settle "$name"
    if [ "$2" = "$3" ]; then
        die "version $3 does not serve as it should, and it was deployed before" "$name still has version $3" "rollback $1, or look at: eb logs $name"
    elif is_running "$name" "$2" && smoke "$1" "$2"; then
        die "version $3 was not deployed to $1" "all instances of $name still run $2, and serve" "see why in the events above and in 'eb logs $name'; mend it and build again"
    fi
    say "$name: going back to $2"
    if update "$name" "$2" && smoke "$1" "$2"; then
        record "$name" rollback "$2"
        die "version $3 failed in $1 and was rolled back" "$name runs $2, and serves; the database keeps the migrations of $3, which $2 can work with" "see why in the events above and in 'eb logs $name'; mend it and build again"
    fi
    die "version $3 failed in $1, and going back to $2 failed too" "$difference" "look at 'eb events $name' and 'eb logs $name' NOW; then: deploy $1 --version LABEL, one of: $(versions)"
}

# After eb gave up waiting, AWS is still at it, and takes nothing else until it is done or stopped
settle() { # NAME
    local deadline=$((SECONDS + health_timeout)) answer status
    until answer=$(describe "$1"); do
        [ "$SECONDS" -lt "$deadline" ] || unknown "$1"
        sleep "$poll"
    done
    read -r status _ <<<"$answer"
    [ "$status" = Ready ] || {
        say "$1 is $status: stopping what it does"
        run aws elasticbeanstalk abort-environment-update --environment-name "$1" || :
    }
    wait_until_ready "$1" >/dev/null
}

events() {
    aws elasticbeanstalk describe-events --environment-name "$1" --max-items 12 --output text \
        --query 'Events[].[EventDate, Severity, Message]' | grep -v '^None$' | sort >&2 || :
}

versions() {
    aws elasticbeanstalk describe-application-versions --application-name "$application" --max-items 5 \
        --query 'ApplicationVersions[].VersionLabel' --output text | grep -v '^None$' | paste -sd ' ' - || :
}

# The versions of NAME by the log, one on a line, the newest last; what was rolled back does not count
history() { # NAME
    local kind label log=()
    while read -r _ kind label; do
        if [ "$kind" = rollback ]; then
            while [ "${#log[@]}" -gt 0 ] && [ "${log[-1]}" != "$label" ]; do unset 'log[-1]'; done
        fi
        [ "${#log[@]}" -gt 0 ] && [ "${log[-1]}" = "$label" ] || log+=("$label")
    done < <(aws s3api list-objects-v2 --bucket "$bucket" --prefix "deployments/$1/" --query 'Contents[].[Key]' --output text |
        grep "^deployments/" | sort)
    [ "${#log[@]}" -eq 0 ] || printf '%s\n' "${log[@]}"
}

version_before() { # NAME CURRENT
    history "$1" | awk -v current="$2" '$0 == current && NR > 1 { found = before } { before = $0 } END { print found }'
}

rollback() { # ENV
    require aws
    local name current before
    name=$(environment "$1")
    storage
    current=$(wait_until_ready "$name")
    before=$(version_before "$name" "$current")
    [ -n "$before" ] ||
        die "the log knows no version of $name before $current" "nothing was changed" "deploy $1 --version LABEL, one of: $(versions)"
    deploy "$1" "$before" rollback
}

status() {
    aws elasticbeanstalk describe-environments --application-name "$application" --no-include-deleted \
        ${1:+--environment-names "$(environment "$1")"} --output table \
        --query 'Environments[].{Environment: EnvironmentName, Status: Status, Version: VersionLabel, Health: HealthStatus, Address: CNAME}' ||
        die "AWS does not say what runs where" "nothing was changed" "look at the message above: credentials, permissions, network"
}

# --- Create ------------------------------------------------------------------------------------

stack() { # NAME TEMPLATE [PARAMETER=VALUE...]
    if [ "$(stack_status "$1")" = ROLLBACK_COMPLETE ]; then
        say "the first try to make the stack $1 failed: removing what it left"
        { run aws cloudformation delete-stack --stack-name "$1" &&
            run aws cloudformation wait stack-delete-complete --stack-name "$1"; } ||
            die "what the first try to make the stack $1 left cannot be removed" "what was made before it stays" "look at: aws cloudformation describe-stack-events --stack-name $1"
    fi
    run aws cloudformation deploy --stack-name "$1" --template-file "$2" --capabilities CAPABILITY_IAM \
        --no-fail-on-empty-changeset --tags "Application=$application" ${3:+--parameter-overrides "${@:3}"} >&2 ||
        die "the stack $1 cannot be made" "CloudFormation has undone what it began" "look at: aws cloudformation describe-stack-events --stack-name $1"
}

stack_status() {
    aws cloudformation describe-stacks --stack-name "$1" --query 'Stacks[0].StackStatus' --output text 2>/dev/null || :
}

outputs() {
    local name
    for name in "$@"; do
        aws cloudformation describe-stacks --stack-name "$name" --query 'Stacks[0].Outputs' --output json
    done | python3 -c 'import json, sys
decode, text, found = json.JSONDecoder().raw_decode, sys.stdin.read().strip(), []
while text:
    some, end = decode(text)
    found, text = found + (some or []), text[end:].strip()
print(json.dumps(found))'
}

# The newest platform of the branch: "Docker running on X" is called "X vN running Docker"
platform() {
    local branch
    branch=$(config default_platform)
    aws elasticbeanstalk list-available-solution-stacks --output text \
        --query "SolutionStacks[?starts_with(@, '${branch#* running on } v') && ends_with(@, ' running ${branch%% running on *}')] | [0]"
}

# What all environments stand on
foundation() {
    local parameters
    parameters=$(python3 -m scripts.owner parameters foundation) ||
        die "the owner is not known" "nothing was changed by this step" "mend devops/owner.json"
    mapfile -t parameters <<<"$parameters"
    ${1:-stack} "$application-foundation" devops/foundation.yml "${parameters[@]}"
}

# What one environment stands on
ground() { # ENV NAME
    local parameters
    parameters=$(python3 -m scripts.environments parameters "$1") ||
        die "the settings of $1 are not known" "nothing was changed" "name an environment of devops/environments.toml, or add it there"
    foundation
    mapfile -t parameters <<<"$parameters"
    stack "$2" devops/environment.yml "Environment=$2" "Foundation=$application-foundation" "${parameters[@]}"
    run aws elasticbeanstalk create-application --application-name "$application" >/dev/null 2>"$work/error" ||
        grep -q 'already exists' "$work/error" || { cat "$work/error" >&2 && die "the application cannot be created" "the stacks are there" "run it again"; }
}

create() { # ENV [LABEL]
    require python3 timeout eb aws
    local name label=$2 found began=''
    name=$(environment "$1")
    ground "$1" "$name"
    if [ -n "$dry_run" ] && ! output "$name" Vpc >/dev/null 2>&1; then
        say "what would be set on $name can be seen once there are the stacks"
        return
    fi
    outputs "$application-foundation" "$name" | python3 -m scripts.environments options "$1" >"$work/options" ||
        die "the options of $name are not known" "the stacks are there" "look at the message above"
    lock "$name"
    found=$(describe "$name") || unknown "$name"
    if [[ $found == None* ]]; then
        if [ -z "$label" ]; then
            build
            label=$built
        fi
        launch "$label"
    else
        change "$label"
    fi
    if [ -n "$dry_run" ]; then
        cat "$work/options" >&2
        return
    fi
    finish "$1"
}

launch() { # LABEL
    version_exists "$1" || [ -n "$dry_run" ] ||
        die "there is no version $1" "there is no environment" "build it, or name one of: $(versions)"
    run aws elasticbeanstalk create-environment --application-name "$application" --environment-name "$name" \
        --version-label "$1" --solution-stack-name "$(platform)" --option-settings "file://$work/options" \
        --tags "Key=Application,Value=$application" >/dev/null ||
        die "the environment $name cannot be created" "the stacks are there, it is not" "look at the message above"
    [ -n "$dry_run" ] || say "$name is being created; the database alone takes some 15 minutes"
}

change() { # [LABEL]
    local label=$1 current
    current=$(wait_until_ready "$name") || exit 1
    if [ "$current" = None ] && [ -z "$label" ]; then # its creation failed half-way
        label=$(last_built) || exit 1
    fi
    began=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    run aws elasticbeanstalk update-environment --environment-name "$name" --option-settings "file://$work/options" \
        ${label:+--version-label "$label"} >/dev/null ||
        die "the settings of $name cannot be changed" "it is as it was" "look at the message above"
}

# AWS takes settings, and may find later that they cannot be had: then they are what they were before
mistakes_since() { # NAME TIME
    local found
    found=$(aws elasticbeanstalk describe-events --environment-name "$1" --start-time "$2" --severity ERROR \
        --query 'Events[].Message' --output text) || return 1
    [ "$found" = None ] || echo "$found"
}

finish() { # ENV
    local version mistakes=''
    version=$(wait_until_ready "$name") || exit 1
    [ -z "$began" ] || mistakes=$(mistakes_since "$name" "$began") || unknown "$name"
    if [ -n "$mistakes" ]; then
        events "$name"
        die "$name did not take what was set" "AWS has taken back what it could, and $name has version $version" "mend what the events above say, in devops/environments.toml as a rule, and run it again"
    fi
    smoke_key "$name" "$name has version $version, which was not smoke tested"
    if wait_until_running "$name" "$version" && smoke "$1" "$version"; then
        record "$name" deploy "$version"
        unlock
        say "$name runs $version: $(url "$1")"
        return
    fi
    events "$name"
    die "$name is there, but does not serve as it should" "$difference" "mend what the events above say and run it again, or terminate it: eb terminate $name"
}

# --- The pipeline ------------------------------------------------------------------------------

# What a template would change in a stack, which is left as it was
preview() { # NAME TEMPLATE [PARAMETER=VALUE...]
    local printed change_set is_new=''
    aws cloudformation describe-stacks --stack-name "$1" >/dev/null 2>&1 || is_new=yes
    printed=$(aws cloudformation deploy --stack-name "$1" --template-file "$2" --capabilities CAPABILITY_IAM \
        --no-execute-changeset --no-fail-on-empty-changeset --tags "Application=$application" \
        ${3:+--parameter-overrides "${@:3}"}) ||
        die "what would change in the stack $1 cannot be found out" "nothing was changed" "look at the message above"
    change_set=$(grep -o 'arn:[^ ]*changeSet[^ ]*' <<<"$printed") || { say "$1: nothing would change" && return; }
    say "$1 would change:"
    aws cloudformation describe-change-set --change-set-name "$change_set" --output text \
        --query 'Changes[].ResourceChange.[Action, LogicalResourceId, ResourceType, Replacement]' ||
        say "AWS does not tell what; look at $change_set in the console"
    if [ -n "$is_new" ]; then
        aws cloudformation delete-stack --stack-name "$1"
    else
        aws cloudformation delete-change-set --change-set-name "$change_set"
    fi || say "The preview could not be removed: delete $change_set"
}

# Made by a handshake in the console, once: PENDING before, AVAILABLE after, or nothing
connection() {
    local arn
    arn=$(output "$application-pipeline" Connection 2>/dev/null) || return 0
    [ -z "$arn" ] || [ "$arn" = None ] || aws codestar-connections get-connection --connection-arn "$arn" \
        --query Connection.ConnectionStatus --output text ||
        die "AWS does not say how the connection $arn is" "nothing was changed" "look at the message above: credentials, permissions, network"
}

# Authorised by an administrator of Slack in the console, once
has_slack() { # WORKSPACE
    [ -n "$1" ] && [ "$(aws chatbot describe-slack-workspaces --output text \
        --query "SlackWorkspaces[?SlackTeamId=='$1'].SlackTeamId")" = "$1" ]
}

bootstrap() {
    require python3 aws
    local parameters connected workspace act=stack console="https://$AWS_DEFAULT_REGION.console.aws.amazon.com"
    [ -z "$dry_run" ] || act=preview
    python3 -m scripts.release_window check >&2 || die "the release window makes no sense" "nothing was changed" "mend devops/release_window.toml"
    parameters=$(python3 -m scripts.owner parameters pipeline) || die "the owner is not known" "nothing was changed" "mend devops/owner.json"
    connected=$(connection) || exit 1
    workspace=$(sed -n 's/^SlackWorkspace=//p' <<<"$parameters")
    if [ -n "$workspace" ] && ! has_slack "$workspace"; then
        say "Slack is left out, because the workspace $workspace is not authorised in this account. Do it at $console/chatbot, and run this again"
        parameters=${parameters/SlackWorkspace=$workspace/SlackWorkspace=}
    fi
    foundation "$act"
    if [ -n "$dry_run" ] && ! output "$application-foundation" ImagesArn >/dev/null 2>&1; then
        say "what the pipeline would change can be seen once there is the foundation"
        return
    fi
    mapfile -t parameters <<<"$parameters"
    "$act" "$application-pipeline" devops/pipeline.yml "Foundation=$application-foundation" \
        "Connected=$([ "$connected" = AVAILABLE ] && echo true || echo false)" "${parameters[@]}"
    [ "$connected" = AVAILABLE ] || [ -n "$dry_run" ] || {
        say "there is no pipeline yet: complete the connection to the repository at $console/codesuite/settings/connections"
        say "  next: run this again"
        return
    }
    say "the pipeline: $console/codesuite/codepipeline/pipelines/$application/view"
}

release() {
    require python3
    python3 -m scripts.release "$application" ||
        die "the approval was neither given nor asked for" "what waits, waits" "decide in the console: approve or reject it there"
}

everything() {
    require make
    run make check >&2 || die "the checks do not pass" "nothing was built" "mend what they say"
    build
    deploy staging "$built"
    deploy prod "$built"
}

main() {
    local words=() version=''
    prepare
    while [ "$#" -gt 0 ]; do
        case $1 in
        -h | --help) sed -nE '2,/^set -/{ /^#/s/^# ?//p; }' "${BASH_SOURCE[0]}" && return ;;
        --dry-run) dry_run=yes ;;
        --allow-dirty) allow_dirty=yes ;;
        --forward) forward=yes ;;
        --version)
            version=${2:-}
            [ -n "$version" ] || usage "--version needs a version"
            shift
            ;;
        -*) usage "there is no option $1" ;;
        *) words+=("$1") ;;
        esac
        shift
    done
    dispatch "$version" "${words[@]}"
}

dispatch() { # VERSION [WORD...]
    local version=$1 command=${2:-} environment=${3:-}
    [ "$#" -le 3 ] || usage "too many words"
    case $command in
    deploy | rollback | create | smoke) [ -n "$environment" ] || usage "$command needs an environment" ;;
    build | bootstrap | release | '') [ -z "$environment" ] || usage "$command takes no environment" ;;
    status) ;;
    *) usage "there is no command $command" ;;
    esac
    case $command in
    '') everything ;;
    build)
        build
        echo "$built"
        ;;
    deploy)
        [ -n "$version" ] || version=$(last_built) || exit 1
        deploy "$environment" "$version"
        ;;
    create) create "$environment" "$version" ;;
    rollback) rollback "$environment" ;;
    bootstrap) bootstrap ;;
    release) release ;;
    smoke)
        [[ $environment == http* ]] || smoke_key "$(environment "$environment")" "nothing was changed"
        smoke "$environment" "$version" || die "the smoke test of $environment failed" "nothing was changed" "see above" ;;
    status) status "$environment" ;;
    esac
}

last_built() {
    cat dist/version 2>/dev/null || die "no version was built here" "nothing was changed" "build one, or give --version LABEL, one of: $(versions)"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
