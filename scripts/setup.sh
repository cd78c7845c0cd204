#!/usr/bin/env bash
# Set up a clone for one ticket, on its own branch, with everything that development needs.
#
# Usage: scripts/setup.sh TICKET [REPOSITORY]
#
# TICKET, such as GREET-12, names the folder (in the current one) and the branch. REPOSITORY is anything that git can
# clone; the default is that of this script's checkout. The script clones, installs everything into a virtual
# environment, makes git run the checks before each commit, and runs the tests. It is safe to run again: it continues
# where it stopped, and does not touch your work.
#
# It needs
#   git, make  to clone, and for every command of this project
#   Python     3.11 to 3.14; if there is none, pyenv, by which it installs the image's
# Docker is needed only to try the image, docker compose and the rehearsals; the script says if it is missing.
#
# Exit codes: 0 the tests pass; 1 it failed, and the last line says what to do; 2 wrong usage.
set -euo pipefail
((BASH_VERSINFO[0] < 5)) || shopt -s inherit_errexit # bash 3.2, that of macOS, does not have it

python=3.13 # that of the image

say() { echo "setup: $*" >&2; }

die() {
    say "$1"
    say "  next: $2"
    exit 1
}

usage() { sed -n '2,/^set /s/^#\( \|$\)//p' "${BASH_SOURCE[0]}"; }

wrong() {
    say "$1"
    say "  next: scripts/setup.sh --help"
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
    for tool in git make; do
        command -v "$tool" >/dev/null && continue
        missing=yes
        say "$tool is not installed: $(hint "$tool")"
    done
    if [ -z "$(fitting)" ] && ! command -v pyenv >/dev/null; then
        missing=yes
        say "neither Python 3.11 to 3.14 nor pyenv, which installs one, was found: $(hint pyenv)"
    fi
    [ -z "$missing" ] || die "something is missing; nothing was changed" "install it and run this again"
    if ! docker compose version >/dev/null 2>&1 || ! docker info >/dev/null 2>&1; then
        say "Docker with Compose is not installed, or not running: docker compose up, make test-docker and make cloud"
        say "  need it, and nothing else: $(hint docker)"
    fi
}

# A Python that the project supports, if there is one. Each is tried: pyenv's names exist for versions that are not active
fitting() {
    local name
    for name in "python$python" python3 python3.14 python3.12 python3.11; do
        "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || continue
        command -v "$name"
        return
    done
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
        git -C "$1" switch --quiet --create "$1" || die "cannot create the branch $1" "see the message above"
    fi
}

lost() { die "pyenv does not find Python $python, which it has installed" "see the message above"; }

interpreter() {
    local found version prefix
    found=$(fitting)
    [ -z "$found" ] || { echo "$found" && return; }
    pyenv install --skip-existing "$python" >&2 ||
        die "pyenv cannot install Python $python" "see the message above; its prerequisites: https://github.com/pyenv/pyenv/wiki#suggested-build-environment"
    # Each in an assignment: "echo" succeeds whatever failed inside its $( )
    version=$(pyenv latest "$python") || lost
    prefix=$(pyenv prefix "$version") || lost
    echo "$prefix/bin/python3"
}

main() {
    local ticket=${1:-} repository interpreter
    case $ticket in -h | --help) usage && return ;; esac
    [[ $# -eq 1 || $# -eq 2 ]] || wrong "expected one ticket, and a repository or none"
    [[ $ticket =~ ^[A-Za-z][A-Za-z0-9]*-[0-9]+$ ]] || wrong "invalid ticket '$ticket': expected letters, a hyphen and a number, such as GREET-12"
    verify
    repository=${2:-$(origin)} || exit
    checkout "$ticket" "$repository"
    interpreter=$(interpreter) || exit
    cd "$ticket"
    make PYTHON="$interpreter" .venv/installed || die "the development dependencies cannot be installed" "see the message above, and run this again"
    .venv/bin/pre-commit install >/dev/null || die "the checks before each commit cannot be installed" "see the message above, and run this again"
    make test || die "the tests fail on this machine" "fix what they report, or ask the team: devops/owner.json"
    say "$ticket is ready, on the branch $ticket: cd $ticket"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
