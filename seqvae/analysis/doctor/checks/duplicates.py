"""The same examples occur in several splits, or many times in the training data."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements

NAME = "duplicates"
EXPLAINS: frozenset[str] = frozenset({"poor_samples"})
LEAKED = 0.05  # share of the held-out examples
REPEATED = 0.2  # share of the training examples


def check(m: Measurements) -> Finding | None:
    """Exact copies across splits; those inside the training data."""
    leaked = max(m.overlap.leaked.values(), default=0.0)
    if leaked <= LEAKED and m.overlap.repeated <= REPEATED:
        return None
    shares = [
        Evidence(f"share of the {name} examples that are in the training data", share, f"at most {LEAKED:g}")
        for name, share in m.overlap.leaked.items()
    ]
    costs = [
        Evidence("nats per target of held-out examples that leaked", m.leaked_cost),
        Evidence("nats per target of the others", m.fresh_cost),
    ]
    repeated = Evidence("share of repeated training examples", m.overlap.repeated, f"at most {REPEATED:g}")
    return Finding(
        NAME,
        "held-out data repeat the training data"
        if leaked > LEAKED
        else "the training data repeat themselves",
        (*shares, repeated, *(costs if m.leaked_cost is not None else ())),
        _lines(m),
        "held-out numbers get worse and become true: they are of examples that training has not seen",
        advice="remove repeated lines from the corpus (for text: `sort -u`), then split it again",
        compare=("neg_elbo", "iw_nll", "ppl", "token_accuracy"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """New held-out shares of the training data, where the given held-out files are copies of them."""
    given = [name for name in m.overlap.leaked if getattr(m.config.data, name) is not None]
    copied = [name for name in given if m.overlap.leaked[name] > 0.5]
    return tuple(f"data.{name}=null" for name in copied)
