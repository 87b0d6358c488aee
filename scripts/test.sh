#!/usr/bin/env bash
# Runs every check of the project in a fresh or existing .venv; what you add to the command goes to pytest.
# Where there is a GPU, the tests that need one run after the others, which keep to the CPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PY=".venv/bin/python"
export OMP_NUM_THREADS=1 # as many test processes as cores: one thread each

step() {
    printf '\n== %s\n' "$1"
    shift
    "$@"
}

step "environment" bash scripts/environment.sh dev
step "ruff check" "$PY" -m ruff check .
step "ruff format" "$PY" -m ruff format --check .
step "mypy" "$PY" -m mypy
step "pytest" "$PY" -m pytest -n auto --maxprocesses 8 "$@"
if "$PY" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    step "pytest on the GPU" "$PY" -m pytest -m cuda
fi
