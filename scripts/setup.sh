#!/usr/bin/env bash
# Set up a clone for one ticket, on its own branch, with everything that development needs.
#
# Usage: scripts/setup.sh TICKET [REPOSITORY]
#
# TICKET, such as GREET-12, names the folder (in the current one) and the branch. REPOSITORY is anything that git
# can clone; the default is that of this script's checkout. The script verifies that git, make, Docker
# and pyenv are installed and says how to get those that are not, clones, creates a virtual environment with a Python
# from pyenv, installs everything into it, makes git run the checks before each commit, and runs the tests.
# Safe to run again: it continues where it stopped, and does not touch your work.
#
# Exit codes: 0 the tests pass; 1 it failed, and the last line says what to do; 2 wrong usage.
set -euo pipefail

python=3.13 # that of the image

say() { echo "setup: $*" >&2; }

die() {
    say "$1"
    say "  next: $2"
    exit 1
}

usage() {
    say "$1. See the head of this script."
    exit 2
}

# How to install a command on this machine
hint() {
    case $1-$(uname -s) in
    docker-Darwin) echo "install Docker Desktop: https://docs.docker.com/desktop/setup/install/mac-install/" ;;
    docker-*) echo "install Docker Engine with Compose: https://docs.docker.com/engine/install/" ;;
    pyenv-Darwin) echo "brew install pyenv, then follow https://github.com/pyenv/pyenv#installation" ;;
    pyenv-*) echo "install pyenv: https://github.com/pyenv/pyenv#installation" ;;
    *-Darwin) echo "xcode-select --install" ;;
    *) echo "install $1 with the package manager of your system, such as: sudo apt-get install $1" ;;
    esac
}

verify() {
    local tool missing=''
    for tool in git make docker pyenv; do
        command -v "$tool" >/dev/null && continue
        missing=yes
        say "there is no $tool: $(hint "$tool")"
    done
    [ -z "$missing" ] || die "something is missing; nothing was changed" "install it and run this again"
    docker compose version >/dev/null 2>&1 || die "Docker has no Compose; nothing was changed" "$(hint docker)"
    docker info >/dev/null 2>&1 ||
        die "Docker is installed, but its engine does not answer; nothing was changed" "start it; on Linux, be a member of the group docker (and log in again)"
}

origin() {
    git -C "$(dirname "${BASH_SOURCE[0]}")" remote get-url origin 2>/dev/null ||
        die "this script is not inside a git clone" "pass the repository: setup.sh TICKET REPOSITORY"
}

checkout() { # TICKET REPOSITORY
    if [ ! -e "$1" ]; then
        git clone --quiet "$2" "$1" || die "$2 cannot be cloned" "see the message above; check the address, the network and your permissions"
    elif [ ! -d "$1/.git" ]; then
        die "$1 exists and is not a clone; it was left unchanged" "move it away, or work in another folder"
    fi
    [ "$(git -C "$1" branch --show-current)" != "$1" ] || return 0
    if git -C "$1" show-ref --quiet --verify "refs/heads/$1"; then
        git -C "$1" switch --quiet "$1" || die "$1 cannot be switched to its branch" "commit or stash what you have there"
    elif git -C "$1" show-ref --quiet --verify "refs/remotes/origin/$1"; then
        git -C "$1" switch --quiet --track "origin/$1" || die "$1 cannot be switched to its branch" "commit or stash what you have there"
    else
        git -C "$1" switch --quiet --create "$1" || die "the branch $1 cannot be made" "look at the message above"
    fi
}

lost() { die "pyenv does not find Python $python, which it has installed" "look at the message above"; }

interpreter() {
    local version prefix
    pyenv install --skip-existing "$python" >&2 ||
        die "pyenv cannot install Python $python" "look at the message above; its prerequisites: https://github.com/pyenv/pyenv/wiki#suggested-build-environment"
    # Each in an assignment: "echo" succeeds whatever failed inside its $( )
    version=$(pyenv latest "$python") || lost
    prefix=$(pyenv prefix "$version") || lost
    echo "$prefix/bin/python3"
}

main() {
    local ticket=${1:-} repository interpreter
    [[ $# -eq 1 || $# -eq 2 ]] || usage "one ticket is needed"
    [[ $ticket =~ ^[A-Za-z][A-Za-z0-9]*-[0-9]+$ ]] || usage "'$ticket' is no ticket: letters, a hyphen and a number are expected, such as GREET-12"
    verify
    repository=${2:-$(origin)} || exit
    checkout "$ticket" "$repository"
    interpreter=$(interpreter) || exit
    cd "$ticket"
    make PYTHON="$interpreter" .venv/installed || die "the development dependencies cannot be installed" "look at the message above, and run this again"
    .venv/bin/pre-commit install >/dev/null || die "the checks before each commit cannot be installed" "look at the message above, and run this again"
    make test || die "the tests fail on this machine" "fix what they report, or ask the team: devops/owner.json"
    say "$ticket is ready, on the branch $ticket: cd $ticket"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
