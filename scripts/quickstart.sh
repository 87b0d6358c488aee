#!/usr/bin/env bash
# Trains a small VAE on the embedded sentences, shows what its code holds, and fails if the code is not used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CONFIG="configs/text/quickstart.yaml" PY=".venv/bin/python"

heading() { printf '\n== %s\n' "$1" >&2; }

step() { # a heading, then a command: shown as one would type it, and run
    heading "$1"
    shift
    printf '$' >&2
    local word
    for word in "$@"; do
        case "$word" in *" "*) printf ' "%s"' "$word" >&2 ;; *) printf ' %s' "$word" >&2 ;; esac
    done
    printf '\n' >&2
    "$@"
}

seqvae() { "$PY" -m seqvae "$@"; }

same_config() { # is $1 a run of our config?
    "$PY" - "$1/config.yaml" "$CONFIG" 2>/dev/null <<'PYTHON'
import sys
from seqvae.config.loading import load_config

sys.exit(load_config(sys.argv[1]) != load_config(sys.argv[2]))
PYTHON
}

finished() {
    [ -f "$1/model.safetensors" ] &&
        seqvae show "$1" --json | "$PY" -c 'import json, sys; sys.exit(not json.load(sys.stdin)["finished"])'
}

run_folder() { # the first of quickstart, quickstart-2, ... that is free or holds this config
    local folder="runs/quickstart" number=1
    while [ -e "$folder" ] && ! same_config "$folder"; do
        number=$((number + 1))
        folder="runs/quickstart-$number"
    done
    echo "$folder"
}

train() {
    if finished "$1"; then
        heading "Training: nothing to do, $1 holds a finished run of $CONFIG (remove it to start anew)"
    elif [ -n "$(ls "$1/checkpoints" 2>/dev/null)" ]; then
        step "Training: $1 was interrupted and goes on" seqvae train --resume "$1"
    else
        rm -rf "$1" # if there: a run of this config that stopped before its first checkpoint
        step "Training on the embedded sentences" seqvae train "$CONFIG" --out "$1"
    fi
}

read_numbers() { # the main ones of an evaluation, with their meaning
    "$PY" - "$1" <<'PYTHON'
import json
import sys
from pathlib import Path

MEANINGS = {
    "n": "sentences measured on",
    "neg_elbo": "nats a sentence: rate + distortion",
    "rate": "nats a sentence that the code costs; 0 is a collapsed VAE",
    "distortion": "nats a sentence that the decoder misses, given the code",
    "iw_nll": "nats a sentence, the tighter estimate of -log p(x)",
    "ppl": "perplexity a token",
    "active_units": "dimensions of the code that move with the sentence",
    "shuffle_gap": "nats a sentence lost with another sentence's code: what the decoder takes from it",
}
measured = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
for name, meaning in MEANINGS.items():
    value = measured.get(name)
    print(f"{name:>13} {'-' if value is None else format(value, '.4g'):>8}  {meaning}")
PYTHON
}

judge() { # is the code used? fails loudly if not
    "$PY" - "$1" "$2" <<'PYTHON'
import json
import sys
from pathlib import Path

measured = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
samples = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
values = {
    "rate": (measured["rate"], 4),
    "active_units": (measured["active_units"], 3),
    "shuffle_gap": (measured["shuffle_gap"], 8),
    "distinct samples": (len({line.strip() for line in samples} - {""}), 2),
}
low = []
for name, (value, least) in values.items():
    enough = value is not None and value >= least  # null and NaN are too low
    shown = "none" if value is None else format(value, ".4g")
    print(f"{'ok  ' if enough else 'FAIL'} {name}: {shown} (at least {least})")
    if not enough:
        low.append(name)
if low:
    sys.exit(f"quickstart: the code is NOT used: {', '.join(low)} too low. This is a bug: please report it.")
PYTHON
}

heading "Environment: .venv (the first time takes minutes)"
bash scripts/environment.sh run

run="$(run_folder)"
train "$run"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
step "What it measures on sentences it never saw" seqvae evaluate "$run" --json >"$scratch/evaluate.json"
read_numbers "$scratch/evaluate.json"

step "Ten sentences from codes drawn at random" seqvae sample "$run" -n 10 | tee "$scratch/samples.txt"

step "Three sentences, encoded and decoded again" seqvae reconstruct "$run" \
    "the old dog carried a ball in the park ." "will the clever women find some apples by the sea ?" \
    "an angry wolf does not steal some eggs near the river ."

step "From one sentence to another, in a line through the code" seqvae interpolate "$run" \
    "the old dog carried a ball in the park ." "will the clever women find some apples by the sea ?"

heading "Is the code used?"
judge "$scratch/evaluate.json" "$scratch/samples.txt"

cat >&2 <<EOT

== Next, with a file of your own (plain text, a sentence a line)
source .venv/bin/activate
seqvae train --corpus my-sentences.txt --out runs/mine
seqvae evaluate runs/mine
seqvae sample runs/mine -n 10
EOT
