#!/usr/bin/env bash
# Makes the virtual environment $1 with the pinned packages and this package, editable.
# Debian splits venv from Python: where it is missing, it is installed (as root) or named.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:?usage: infra/setup.sh VENV}
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
    echo "setup: $python not found; install it: apt-get install python3 python3-venv" >&2
    exit 2
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or newer is needed, $python is older; set PYTHON=…" >&2
    exit 2
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv
    else
        echo "setup: the venv module is missing; install it: apt-get install python3-venv" >&2
        exit 2
    fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" -c constraints.txt -e '.[dev,server]'
