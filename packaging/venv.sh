#!/bin/bash
# Make the virtual environment $1 with the first Python of 3.11 or newer that can make one.
set -euo pipefail

able() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if able "$python"; then
        exec "$python" -m venv "$1"
    fi
done
"$(dirname "$0")/packages.sh" python3 python3-venv
if ! able /usr/bin/python3; then
    echo "Lighterman needs Python 3.11 or newer; this system's python3 is older" >&2
    exit 1
fi
exec /usr/bin/python3 -m venv "$1"
