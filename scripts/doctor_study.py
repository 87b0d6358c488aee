"""Trains runs with one planted problem each, and healthy ones, and prints what the doctor finds in them."""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seqvae.analysis.doctor import CHECKS, Finding, diagnose
from seqvae.analysis.doctor.checks.duplicates import LEAKED
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig, TextRunConfig
from seqvae.data.synthetic.sentences import iter_sentences
from seqvae.data.text.dataset import splits_of
from seqvae.inference import TextVAE
from seqvae.runs.run_folder import read_card
from seqvae.training.loop import resume, train
from seqvae.utils.tables import markdown_table

CASES = Path(__file__).with_name("doctor_cases.yaml")
GROUPS = ("tune", "judge", "again", "healthy", "fresh")
Study = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """A run, the problem that was planted in it (or none), and what was found.

    `true` names findings that were not planted but are so: the corpus has that problem, counted in its lines.
    """

    group: str
    name: str
    planted: str
    findings: tuple[Finding, ...]
    true: frozenset[str] = frozenset()

    @property
    def causes(self) -> list[str]:
        """Names of the findings that no other one explains."""
        return [finding.name for finding in self.findings if not finding.cause]

    @property
    def follows(self) -> list[str]:
        """Names of the findings that another one explains."""
        return [finding.name for finding in self.findings if finding.cause]

    @property
    def missed(self) -> bool:
        """Whether a planted problem is not among the causes."""
        return bool(self.planted) and self.planted not in self.causes

    @property
    def false_alarms(self) -> list[str]:
        """Causes that were neither planted nor are in the corpus."""
        return [name for name in self.causes if name != self.planted and name not in self.true]


def planted_in(group: str, name: str, study: Study) -> str:
    """The problem of a case; its name says it where `problem` does not."""
    known = {check.name for check in CHECKS}
    return str(study[group][name].get("problem", name if name in known else ""))


def in_corpus(config: RunConfig) -> frozenset[str]:
    """Problems of the corpus itself, found without the doctor: the texts of the splits are compared as lines.

    The doctor compares token ids instead, which unknown words make equal where lines differ.
    """
    if not isinstance(config, TextRunConfig):
        return frozenset()
    texts = {name: [e.text for e in split.examples()] for name, split in splits_of(config.data).items()}
    known = set(texts.pop("train"))
    shares = [sum(text in known for text in some) / max(1, len(some)) for some in texts.values()]
    leaked = max(shares, default=0.0)
    return frozenset({"duplicates"} if leaked > LEAKED else ())


def write_corpus(name: str, spec: Mapping[str, Any], data: Path, out: Path) -> Path:
    """A file with the sentences of a corpus, one per line."""
    target = out / "corpora" / f"{name}.txt"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = sentences(spec, data)
        target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return target.resolve()


def sentences(spec: Mapping[str, Any], data: Path) -> list[str]:
    """`lines` sentences, evenly spaced over a file or of the embedded grammar."""
    if "grammar" in spec:
        return [text for text, _ in iter_sentences(spec["lines"], spec["grammar"])]
    read = (data / spec["file"]).read_text(encoding="utf-8").split("\n")
    if spec["file"].endswith(".jsonl"):
        read = [json.loads(line)["text"] if line else "" for line in read]
    if spec.get("unique"):
        read = list(dict.fromkeys(read))
    lines = [line for line in read[:: max(1, len(read) // spec["lines"])][: spec["lines"]] if line.strip()]
    if spec.get("join"):
        lines = [line.replace(" ", "") for line in lines]
    return lines + lines[: spec.get("repeat", 0)]


def write_lengths(corpus: Path) -> Path:
    """A file of vectors, one per line of a corpus, that hold its number of words and nothing else."""
    target = corpus.with_suffix(".npy")
    words = np.array([len(line.split()) for line in corpus.read_text(encoding="utf-8").splitlines()])
    scaled = (words - words.mean()) / words.std()
    np.save(target, np.stack([scaled, scaled**2, np.sin(scaled), np.cos(scaled)], 1).astype(np.float32))
    return target


def train_case(group: str, name: str, study: Study, data: Path, out: Path) -> Path:
    """The run of a case, trained where its folder does not hold it yet."""
    case = study[group][name]
    base = study["image_base" if case.get("image") else "base"]
    sets = [f"train.seed={case.get('seed', 0)}", *case.get("set", ())]
    places = {"$DATA": str(data)}
    if "corpus" in case:
        corpus = write_corpus(case["corpus"], study["corpora"][case["corpus"]], data, out)
        places |= {"$CORPUS": str(corpus), "$LENGTHS": str(write_lengths(corpus))}
        sets.append(f"data.train={corpus}")
    placed = [functools.reduce(lambda text, name: text.replace(name, places[name]), places, s) for s in sets]
    return train_once(base, placed, out / group / name)


def train_scorer(corpus: str, study: Study, data: Path, out: Path) -> Path:
    """The language model of a corpus: the decoder of the cases without a code."""
    text = write_corpus(corpus, study["corpora"][corpus], data, out)
    sets = [f"data.train={text}", "latent={name: none}", "remedies=[]", "train.seed=90"]
    return train_once(study["base"], sets, out / "scorers" / corpus)


def train_once(base: Mapping[str, Any], sets: Sequence[str], run: Path) -> Path:
    """A run, trained where its folder does not hold it yet, and resumed where it is unfinished."""
    if not (run / "config.json").exists():
        train(parse_config(base, sets), run)
    elif not read_card(run)["progress"]["finished"]:
        resume(run)
    return run


def run_rows(results: Sequence[Result]) -> list[str]:
    """One row per run."""
    head = ("group", "run", "planted", "found", "explained by it", "verdict")
    rows = []
    for one in results:
        verdict = ["missed"] if one.missed else []
        verdict += [f"false alarm: {', '.join(one.false_alarms)}"] if one.false_alarms else []
        true = [name for name in one.causes if name != one.planted and name in one.true]
        verdict += [f"{', '.join(true)} is in the corpus"] if true else []
        cells = (
            one.group,
            one.name,
            one.planted or "-",
            ", ".join(one.causes) or "-",
            ", ".join(one.follows) or "-",
        )
        right = [] if one.missed or one.false_alarms else ["right"]
        rows.append((*cells, "; ".join(right + verdict)))
    return list(markdown_table(head, rows))


def confusion(results: Sequence[Result]) -> list[str]:
    """One row per planted problem: runs, those in which it was found, and what else was found as a cause."""
    rows = []
    for planted in (*(check.name for check in CHECKS), ""):
        mine = [one for one in results if one.planted == planted]
        if not mine:
            continue
        others = Counter(name for one in mine for name in one.false_alarms)
        shown = ", ".join(f"{name} ({count})" for name, count in others.items()) or "-"
        right = sum(not one.missed and (bool(planted) or not one.false_alarms) for one in mine)
        rows.append((planted or "none: healthy", str(len(mine)), str(right), shown))
    return list(markdown_table(("planted", "runs", "right", "other causes found"), rows))


def summary(results: Sequence[Result]) -> str:
    """Misses and false alarms."""
    sick, alarms = [one for one in results if one.planted], [one for one in results if one.false_alarms]
    missed = sum(one.missed for one in sick)
    healthy = [one for one in results if not one.planted]
    wrong = sum(bool(one.false_alarms) for one in healthy)
    return (
        f"{missed} of {len(sick)} planted problems missed; "
        f"{wrong} of {len(healthy)} healthy runs with an alarm; "
        f"{len(alarms) - wrong} sick runs with a second cause that was not planted"
    )


def judge_case(group: str, name: str, study: Study, given: argparse.Namespace) -> Result:
    """Train a case where it is not yet, and diagnose it."""
    case, scorer = study[group][name], None
    run = train_case(group, name, study, given.data, given.out)
    if given.scorer and "corpus" in case:
        scorer = TextVAE.from_pretrained(
            train_scorer(case["corpus"], study, given.data, given.out), device="cpu"
        )
    found = diagnose(run, scorer, device="cpu")
    planted, true = planted_in(group, name, study), in_corpus(found.measured.config)
    return Result(group, name, planted, tuple(found.findings), true)


def main() -> None:
    """Train, diagnose and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder with captions, yelp, tanaka, ptb, mnist"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/doctor"))
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--cases", default="", help="GROUP/NAME,... in place of whole groups")
    parser.add_argument(
        "--scorer", action="store_true", help="compare with a language model per corpus, not n-grams"
    )
    given = parser.parse_args()
    study = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    cases = [(group, name) for group in given.groups.split(",") for name in study[group]]
    if given.cases:
        cases = [(group, name) for group, _, name in (case.partition("/") for case in given.cases.split(","))]
    results: list[Result] = []
    for group, name in cases:
        began = time.monotonic()
        results.append(judge_case(group, name, study, given))
        print(run_rows(results[-1:])[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    for group in dict.fromkeys(group for group, _ in cases):
        some = [one for one in results if one.group == group]
        print(f"\n{group}: {summary(some)}\n", *confusion(some), sep="\n")
    print("", *run_rows(results), sep="\n")


if __name__ == "__main__":
    main()
