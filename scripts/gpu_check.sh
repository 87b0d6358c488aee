#!/usr/bin/env bash
# Compares this machine's GPU with the expected results, within ten minutes and without a network; prints one table at the end.
# `gpu_check.sh --help` lists the options; the Python is $PYTHON, else .venv's, else python3. Without CUDA it is a dry run.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() { printf 'gpu_check: %s\n' "$*" >&2; exit 1; }

python="${PYTHON:-}"
if [ -z "$python" ]; then
    if [ -x "$root/.venv/bin/python" ]; then python="$root/.venv/bin/python"; else python="python3"; fi
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
"$python" -c 'import torch' 2>/dev/null || fail "$python has no torch: set PYTHON to one that has"
"$python" -c 'import seqvae.cli' >/dev/null || fail "$python lacks a package that seqvae needs; its name is above"
exec "$python" -m seqvae.benchmarks.check "$@"
