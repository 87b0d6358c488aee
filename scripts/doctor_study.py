"""Trains runs with one planted disease each, and healthy ones, and prints what `seqvae doctor` finds in them."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import yaml

from seqvae.config.loading import parse_config
from seqvae.data.synthetic.sentences import iter_sentences
from seqvae.runs.checkpoint import read_card
from seqvae.training.loop import train

CASES = Path(__file__).with_name("doctor_cases.yaml")


def write_corpus(name: str, spec: dict[str, Any], data: Path, out: Path) -> Path:
    """A file with `lines` sentences of a corpus, one per line."""
    target = out / "corpora" / f"{name}.txt"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if "grammar" in spec:
        lines = [text for text, _ in iter_sentences(spec["lines"], spec["grammar"])]
    else:
        read = (data / spec["file"]).read_text(encoding="utf-8").split("\n")
        step = max(1, len(read) // spec["lines"])
        lines = [line for line in read[::step][: spec["lines"]] if line.strip()]
        if spec["file"].endswith(".jsonl"):
            lines = [json.loads(line)["text"] for line in lines]
        if spec.get("join"):
            lines = [line.replace(" ", "") for line in lines]
        lines += lines[: spec.get("repeat", 0)]
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return target


def train_case(group: str, name: str, study: dict[str, Any], data: Path, out: Path) -> Path:
    """The run of a case, trained where its folder does not hold it yet."""
    case = study[group][name]
    run = out / group / name
    if (run / "config.json").exists() and read_card(run)["progress"]["finished"]:
        return run
    sets = [f"train.seed={case.get('seed', 0)}"]
    base = study["image_base" if case.get("image") else "base"]
    if "corpus" in case:
        corpus = write_corpus(case["corpus"], study["corpora"][case["corpus"]], data, out).resolve()
        sets.append(f"data.train={corpus}")
        sets += [line.replace("$CORPUS", str(corpus)) for line in case.get("set", ())]
    else:
        sets += [line.replace("$DATA", str(data)) for line in case.get("set", ())]
    began = time.monotonic()
    train(parse_config(base, sets), run)
    print(f"{group}/{name}: trained in {time.monotonic() - began:.0f} s", flush=True)
    return run


def main() -> None:
    """Train and diagnose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with captions, yelp, tanaka, ptb, mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/doctor"))
    parser.add_argument("--groups", default="tune,judge,healthy")
    parser.add_argument("--only", default="", help="cases by name, with commas")
    given = parser.parse_args()
    study = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    only = [name for name in given.only.split(",") if name]
    for group in given.groups.split(","):
        for name in study.get(group, {}):
            if not only or name in only:
                train_case(group, name, study, given.data, given.out)


if __name__ == "__main__":
    main()
