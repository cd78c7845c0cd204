#!/usr/bin/env bash
# Build the image once, publish it, and deploy that same image to staging and then to production.
#
# Usage: scripts/build_and_deploy.sh [OPTION...] [COMMAND]       --help lists them
#
# Hands over to the package deploy/, which does the work, with the Python environment of this checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
if [ ! -x "$python" ]; then
    echo "deploy: the packages are not installed. Run: make .venv/installed" >&2
    echo "  or, for these alone: python3 tools/install.py .venv requirements/deploy.txt" >&2
    exit 1
fi
exec "$python" -m deploy "$@"
