#!/usr/bin/env bash
# Make .venv from the lock. Usage: scripts/setup.sh PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1

command -v "$python" >/dev/null || { echo "kubesprint needs Python 3.11 or newer: '$python' was not found" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "kubesprint needs Python 3.11 or newer; '$python' is $("$python" -V). Try: make PYTHON=python3.12 ..." >&2; exit 2; }

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $package"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    else
        echo "kubesprint needs the package $package: sudo apt-get install $package" >&2
        exit 2
    fi
fi

[ -x .venv/bin/python ] || { echo "setup: creating .venv"; "$python" -m venv .venv; }
echo "setup: installing the locked packages (a minute or two the first time)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
.venv/bin/python -c 'from kubesprint.apps.simulators import fastest_simulators as f; print("setup:", f().reason)'
