"""The model learned the training examples by heart."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.curve import Curve

NAME = "overtrained"
EXPLAINS = frozenset(
    {"tokenizer", "poor_samples", "narrow_posterior", "holes", "rate_too_large", "unread_code", "length_only"}
)
GAP = 0.2  # of the held-out cost, by which training examples are cheaper
RISE = 0.02  # of the best validation loss, by which the last one lies above it
LEARNED = 0.05  # by which training batches got cheaper from the second quarter to the last
USELESS = 0.01  # by which the validation loss fell meanwhile, at most


def check(m: Measurements) -> Finding | None:
    """Held-out examples cost more, and validation rose again or gained nothing where training batches did."""
    curve, gap = m.curve, 1 - m.train_cost / m.held_cost if m.held_cost > 0 else 0.0
    if curve is None or gap < GAP or (curve.rise < RISE and not _learns_by_heart(curve)):
        return None
    return Finding(
        NAME,
        "the model was trained for too long on too few examples",
        (
            Evidence(
                "share by which training examples are cheaper than held-out ones", gap, f"below {GAP:g}"
            ),
            Evidence("rise of the validation loss after its best, as a share", curve.rise, f"below {RISE:g}"),
            *_parted(curve),
            Evidence("best validation at update", curve.best_step),
            Evidence("passes over the training data", round(m.epochs, 1)),
        ),
        _lines(m),
        "the held-out loss ends near its best, the gap to training examples shrinks",
        advice="more data help most",
        compare=("neg_elbo", "iw_nll", "ppl", "token_accuracy"),
    )


def _learns_by_heart(curve: Curve) -> bool:
    """In the second half training batches got cheaper and validation did not."""
    return (curve.learned or 0.0) >= LEARNED and curve.second_half_gain < USELESS


def _parted(curve: Curve) -> tuple[Evidence, ...]:
    if curve.learned is None:
        return ()
    return (
        Evidence("share by which training batches got cheaper in the second half", curve.learned),
        Evidence("the same of validation", curve.second_half_gain, f"below {USELESS:g} if learned by heart"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    select = ("train.select=neg_elbo",) if m.config.train.select == "last" else ()
    patience = () if m.config.train.patience else ("train.patience=5",)
    drop = m.config.decoder.arguments.get("dropout")
    text = m.config.modality == "text" and m.config.decoder.name in ("gru", "lstm", "transformer")
    dropout = ("decoder.dropout=0.4",) if text and (drop is None or drop < 0.4) else ()
    return (*select, *patience, "train.weight_decay=0.01", *dropout)
