#!/usr/bin/env bash
# Runs the test suite under each supported pair of Python and torch, warnings as errors; hours on one machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PAIRS="${PAIRS:-3.12:2.11.0 3.11:2.13.0 3.12:2.13.0 3.13:2.13.0}" HOME_OF_ALL="${VENVS:-.venvs}"
export OMP_NUM_THREADS=1 # as many test processes as cores: one thread each

say() { printf 'versions: %s\n' "$*" >&2; }

python_of() { # a name on the PATH may be a shim without a Python: ask it for its version
    local name
    for name in "python$1" "$(pyenv prefix "$1" 2>/dev/null || true)/bin/python" python3; do
        if [ "$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
            echo "$name"
            return
        fi
    done
}

check() { # $1 Python, $2 torch; what follows goes to pytest
    local python folder="$HOME_OF_ALL/py$1-torch$2"
    python="$(python_of "$1")"
    if [ -z "$python" ]; then
        say "Python $1 with torch $2: not run, there is no Python $1 here"
        return 3
    fi
    [ -f "$folder/pyvenv.cfg" ] || "$python" -m venv "$folder" >&2 || return 4
    # torch, and what it wants in versions of its own (2.11: setuptools below 82)
    grep -vE '^(torch|setuptools)==' scripts/constraints.txt >"$folder/constraints.txt"
    echo "torch==$2" >>"$folder/constraints.txt"
    "$folder/bin/python" -m pip install -q --no-input -c "$folder/constraints.txt" -e ".[dev]" >&2 || return 4
    "$folder/bin/python" -m pytest -n auto --maxprocesses 8 "${@:3}" >&2 # pyproject.toml makes errors of warnings
}

verdict() { # of an exit status
    case "$1" in
        0) echo passed ;;
        3) echo "not run: no such Python" ;;
        4) echo "not run: it cannot be installed" ;;
        *) echo FAILED ;;
    esac
}

failed=0
for pair in $PAIRS; do
    status=0
    check "${pair%%:*}" "${pair##*:}" "$@" || status=$?
    printf 'Python %s  torch %s  %s\n' "${pair%%:*}" "${pair##*:}" "$(verdict "$status")"
    if [ "$status" -ne 0 ]; then failed=1; fi
done
exit "$failed"
