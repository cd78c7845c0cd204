#!/usr/bin/env bash
# Build the image once, publish it, and deploy that same image to staging and then to production.
#
# Usage: scripts/build_and_deploy.sh [OPTION...] [COMMAND]       --help lists them
#
# Finds a Python and hands over to the package deploy/, which does the work. If the Python environment of
# `make .venv/installed` exists, it uses that; otherwise, as in CI, a python3 with requirements/deploy.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
if [ ! -x "$python" ]; then
    python=python3
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "deploy: this needs Python 3.11 or newer. Install it, or run: make .venv/installed" >&2
        exit 1
    fi
fi
exec "$python" -m deploy "$@"
