#!/usr/bin/env bash
# Makes .venv in the project root hold what the project needs: `environment.sh` to run it, `environment.sh dev` to test it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly WANTED="${1:-run}" VENV=".venv"
readonly STAMP="$VENV/seqvae-installed" PY="$VENV/bin/python"

say() { printf 'environment: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

fingerprint() { # the folder counts: an editable install points at it
    printf '%s\n' "$PWD"
    cat pyproject.toml scripts/constraints.txt scripts/environment.sh | cksum
}

installed() { [ -f "$STAMP" ] && head -n 1 "$STAMP"; }

up_to_date() { # dev holds all that run needs
    case "$(installed)" in dev | "$WANTED") ;; *) return 1 ;; esac
    [ "$(tail -n +2 "$STAMP")" = "$(fingerprint)" ] && is_venv
}

is_venv() { [ -f "$VENV/pyvenv.cfg" ] && "$PY" -c '' 2>/dev/null; }

find_python() { # a name on the PATH may be a shim without a Python: ask it for its version
    local name
    for name in python3.13 python3.12 python3.11 python3 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.11 or newer was found (tried python3.13, python3.12, python3.11, python3, python): install one"
}

make_venv() {
    say "making $VENV with $("$1" --version 2>&1)"
    find "$VENV" -mindepth 1 -maxdepth 1 ! -name seqvae-lock -exec rm -rf {} + # what an interrupted start left
    "$1" -m venv --without-pip "$VENV" >&2 || fail "'$1 -m venv' failed: install Python's venv module"
}

add_pip() {
    "$PY" -m pip --version >/dev/null 2>&1 && return
    "$PY" -m ensurepip --default-pip >&2 ||
        fail "this Python has no ensurepip: install it (on Debian and Ubuntu the package python3-venv) and run again"
}

install() { "$PY" -m pip install --no-input -c scripts/constraints.txt "$@" >&2; }

case "$WANTED" in run | dev) ;; *) fail "got '$WANTED': write 'environment.sh run' or 'environment.sh dev'" ;; esac
if up_to_date; then exit 0; fi

python="$(find_python)"
mkdir -p "$VENV"
exec 9>"$VENV/seqvae-lock"
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' # two at once take turns; held until this shell ends
if up_to_date; then exit 0; fi

is_venv || make_venv "$python"
"$PY" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$VENV holds $("$PY" --version 2>&1), and 3.11 or newer is needed: remove the folder $VENV and run again"
add_pip

extras="$WANTED"
if [ "$(installed)" = dev ]; then extras=dev; fi
rm -f "$STAMP"
say "installing torch (large: the first time takes minutes)"
install torch || fail "pip could not install torch; its own words are above"
say "installing seqvae and what it needs"
if [ "$extras" = dev ]; then install -e ".[dev]"; else install -e .; fi || fail "pip failed; its own words are above"
"$PY" -c 'import seqvae, torch' >&2 || fail "what was installed does not import: remove the folder $VENV and run again"
{ echo "$extras"; fingerprint; } >"$STAMP"
say "ready"
