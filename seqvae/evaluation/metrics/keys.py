"""The table of all metrics: JSON key, label, unit, direction of improvement, and meaning.

`evaluate`, `compare`, plots and docs read their names here. Keys never change, because saved reports and
scripts contain them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["lower", "higher", ""]
Group = Literal["likelihood", "code", "reading", "request", "samples", "training"]


@dataclass(frozen=True)
class Metric:
    """One number of a report.

    Attributes:
        key: its name in JSON, in `compare`'s columns and in `metrics.jsonl`.
        label: its name in tables and on axes.
        unit: nats, bits, dims, share ...; empty for a bare number.
        better: whether lower or higher is better; empty if neither is.
        doc: its meaning in one sentence.
        group: the part of a report that it belongs to.
    """

    key: str
    label: str
    unit: str
    better: Better
    doc: str
    group: Group

    @property
    def axis(self) -> str:
        """The label with its unit, for a plot's axis."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


# fmt: off
_ROWS: dict[Group, tuple[tuple[str, str, str, Better, str], ...]] = {
    "likelihood": (
        ("n", "examples", "", "", "examples measured"),
        ("rate", "rate", "nats", "", "KL(q(z|x) ‖ p(z)), the cost of the code"),
        ("rate_se", "s.e. of rate", "nats", "", "standard error of `rate` over examples"),
        ("distortion", "distortion", "nats", "lower", "-E log p(x|z), the reconstruction error given the code"),
        ("neg_elbo", "-ELBO", "nats", "lower", "`rate` + `distortion`, the plain negative ELBO at β = 1, without remedies"),
        ("neg_elbo_se", "s.e. of -ELBO", "nats", "", "standard error of `neg_elbo` over examples"),
        ("iw_nll", "IW-NLL", "nats", "lower", "importance-weighted -log p(x) with K codes, a tighter bound than `neg_elbo`"),
        ("iw_nll_se", "s.e. of IW-NLL", "nats", "", "standard error of `iw_nll` over examples"),
        ("iw_samples", "K", "", "", "codes per example in `iw_nll`"),
        ("iw_nll_at", "IW-NLL by K", "nats", "lower", "`iw_nll` at 1, K/2 and K codes of the same weights"),
        ("iw_gap_se", "s.e. of IW-NLL - (-ELBO)", "nats", "", "standard error of the difference over examples, for the checks"),
        ("ess", "effective samples", "", "higher", "effective number of the K codes"),
        ("heavy_weights", "heavy weights", "share", "lower", "examples whose effective number of codes is below 2: their `iw_nll` is not to be trusted; null for K < 5"),
        ("tokens", "tokens", "", "", "text: predicted tokens, `</s>` counted"),
        ("pictures", "images", "", "", "images measured"),
        ("ppl", "PPL", "", "lower", "exp(total IW-NLL / predicted tokens); `</s>` counted, `<s>` and padding not"),
        ("unknown_share", "unknown tokens", "share", "lower", "text: tokens outside the vocabulary (`</s>` not counted), to be read together with `ppl`, which counts each as one token"),
        ("unknown_tokens", "unknown tokens", "", "lower", "text: number of these tokens"),
        ("literal_unknown", "literal <unk>", "", "", "text: tokens that the corpus itself writes as the unknown token (PTB): ordinary words, not counted as unknown"),
        ("spelling_nats", "spelling", "nats", "lower", "text: mean cost of spelling the unknown tokens of an example, by a character model of the vocabulary's words"),
        ("bits_per_char", "bits per character", "bits", "lower", "(total IW-NLL + spelling of unknown tokens) / ln 2 / (characters + one per line end)"),
        ("bits_per_dim", "bits per value", "bits", "lower", "images: IW-NLL / (values · ln 2), for discrete pixels"),
    ),
    "code": (
        ("mi", "MI", "nats", "higher", "the same as `mi_low`"),
        ("mi_low", "MI", "nats", "higher", "mutual information of x and z over all evaluation examples, own component included: at most ln N, the one to report"),
        ("mi_high", "MI, own left out", "nats", "higher", "the same without each example's own component: not a bound"),
        ("mi_se", "s.e. of MI", "nats", "", "standard error of `mi_low`"),
        ("mi_high_se", "s.e. of MI, own left out", "nats", "", "standard error of `mi_high`"),
        ("mi_n", "examples of MI", "", "", "examples used for MI, at most 10,000"),
        ("active_units", "active units", "dims", "higher", "dims whose posterior mean has a variance over examples above .01"),
        ("active_units_05", "active units at .05", "dims", "higher", "the same above .05"),
        ("active_units_20", "active units at .2", "dims", "higher", "the same above .2"),
        ("active_units_low", "active units, low", "dims", "higher", "the same with each variance two standard errors lower"),
        ("active_units_high", "active units, high", "dims", "higher", "the same with each variance two standard errors higher"),
        ("active_units_outlying", "outlying units", "dims", "lower", "active units whose variance comes from fewer than 3 effective examples; null below 30 examples"),
        ("spectrum", "variances of means", "", "", "all these variances, sorted"),
        ("kl_per_dim", "KL per dim", "nats", "", "the rate of each dim"),
        ("consistent_units", "consistent units", "dims", "higher", "dims whose aggregated posterior fills the prior (KL(p(z_j) ‖ q(z_j)) < .03): the rest have holes"),
        ("prior_gap_per_dim", "prior gap per dim", "nats", "lower", "these KLs"),
    ),
    "reading": (
        ("shuffle_gap", "shuffle gap", "nats", "higher", "distortion added by the code of another example"),
        ("shuffle_gap_se", "s.e. of shuffle gap", "nats", "", "standard error of `shuffle_gap`"),
        ("gain_by_position", "gain by position", "nats", "", "text: the same by position of the token"),
        ("token_accuracy", "token accuracy", "share", "higher", "text: greedy reconstruction from posterior means, positions that agree"),
        ("exact_match", "exact match", "share", "higher", "text: sentences reconstructed exactly"),
        ("bleu", "BLEU", "0-100", "higher", "text: BLEU-4 of the reconstructions (sacrebleu, extra `metrics`)"),
        ("edit_distance", "edit distance", "share", "lower", "text: edits / tokens of the longer sentence"),
        ("squared_error", "squared error", "", "lower", "images: mean over values"),
        ("pixel_accuracy", "pixel accuracy", "share", "higher", "images: pixels on the right side of one half"),
        ("reconstruction_at_samples", "reconstruction at samples", "", "", "the same metrics from posterior samples"),
        ("distinct_samples", "distinct of 1,000", "", "higher", "different greedy outputs among prior samples"),
        ("distinct_of", "prior samples", "", "", "prior samples of `distinct_samples`"),
        ("cautions", "cautions", "", "", "lines that say which of these numbers are unreliable, and why"),
        ("label_accuracy", "label accuracy", "share", "higher", "of the classifier of a semi-supervised run"),
        ("label_nll", "label NLL", "nats", "lower", "of that classifier"),
        ("label_n", "labelled examples", "", "", "examples with that label"),
    ),
    "request": (
        ("amortisation_gap", "amortisation gap", "nats", "lower", "`--refine N`: -ELBO saved by N gradient steps on each example's own posterior"),
        ("amortisation_gap_se", "s.e. of amortisation gap", "nats", "", "standard error of `amortisation_gap`"),
        ("neg_elbo_refined", "-ELBO refined", "nats", "lower", "`--refine N`: -ELBO after these steps"),
        ("rate_refined", "rate refined", "nats", "", "`--refine N`: rate after these steps"),
        ("mig", "MIG", "share", "higher", "`--factors`: mutual information gap between the two best dims of a factor"),
        ("sap", "SAP", "share", "higher", "`--factors`: the same gap in a linear score"),
        ("dci_disentanglement", "DCI disentanglement", "share", "higher", "`--factors`: DCI by random forests"),
        ("dci_completeness", "DCI completeness", "share", "higher", "`--factors`: DCI by random forests"),
        ("dci_informativeness", "DCI informativeness", "share", "higher", "`--factors`: DCI by random forests"),
        ("dci_test_error", "DCI test error", "share", "lower", "`--factors`: DCI by random forests"),
        ("beta_vae", "β-VAE score", "share", "higher", "`--factors`: Higgins et al. 2017"),
        ("factor_vae", "FactorVAE score", "share", "higher", "`--factors`: Kim & Mnih 2018"),
        ("nats_per_factor", "nats per factor", "nats", "", "`--factors`: the rate divided among factors by each dim's mutual information with them"),
        ("nats_unassigned", "nats unassigned", "nats", "lower", "`--factors`: the rate that no factor explains"),
    ),
    "samples": (
        ("forward_ppl", "forward PPL", "", "lower", "perplexity of prior samples under a language model of the corpus: fluency"),
        ("reverse_ppl", "reverse PPL", "", "lower", "perplexity of the test split under a small language model trained on samples alone: coverage"),
        ("self_bleu", "self-BLEU", "0-100", "lower", "BLEU-4 of each sample against the others: repetition"),
        ("distinct_1", "distinct-1", "share", "higher", "different words / words"),
        ("distinct_2", "distinct-2", "share", "higher", "different pairs of words / words"),
        ("copied", "copied", "share", "lower", "samples that occur in the training data"),
        ("empty", "empty", "", "lower", "number of empty samples"),
        ("neg_elbo_fitted", "-ELBO, fitted prior", "nats", "lower", "under a post-hoc prior"),
        ("rate_fitted", "rate, fitted prior", "nats", "", "under a post-hoc prior"),
        ("iw_nll_fitted", "IW-NLL, fitted prior", "nats", "lower", "under a post-hoc prior"),
        ("forward_ppl_fitted", "forward PPL, fitted prior", "", "lower", "samples of a post-hoc prior"),
        ("reverse_ppl_fitted", "reverse PPL, fitted prior", "", "lower", "samples of a post-hoc prior"),
        ("self_bleu_fitted", "self-BLEU, fitted prior", "0-100", "lower", "samples of a post-hoc prior"),
    ),
    "training": (
        ("train_minutes", "minutes", "min", "lower", "training time without validations"),
        ("train_steps", "updates", "", "", "updates of the model"),
        ("train_tokens_per_s", "tokens/s", "1/s", "higher", "text: tokens per second of training"),
        ("train_pictures_per_s", "images/s", "1/s", "higher", "images per second of training"),
        ("seconds", "seconds", "s", "lower", "time of the evaluation"),
    ),
}
METRICS: dict[str, Metric] = {
    key: Metric(key, label, unit, better, doc, group)
    for group, rows in _ROWS.items()
    for key, label, unit, better, doc in rows
}
# keys of every report, null if one does not apply
ALWAYS = (
    "n", "tokens",
    "neg_elbo", "rate", "distortion",
    "iw_nll", "iw_nll_se", "iw_samples", "ess",
    "ppl", "unknown_share", "bits_per_char",
    "mi", "mi_low", "mi_high",
    "active_units", "active_units_05", "active_units_20", "kl_per_dim",
    "token_accuracy", "exact_match", "bleu",
    "shuffle_gap", "distinct_samples",
)
# default columns of a comparison's table
COMPARED = (
    "neg_elbo", "iw_nll", "ppl", "rate", "distortion", "mi_low", "active_units", "shuffle_gap",
    "token_accuracy", "bleu", "distinct_samples", "train_minutes", "train_tokens_per_s",
)
# columns of a table over rates
OVER_RATES = (
    "n", "iw_samples", "rate", "distortion", "neg_elbo", "neg_elbo_se", "iw_nll", "iw_nll_se",
    "mi_low", "active_units", "token_accuracy", "exact_match", "bleu", "squared_error", "pixel_accuracy",
)
# cells of one row of a table of results
HEADLINE = (
    "neg_elbo", "iw_nll", "ppl", "rate", "mi_low", "active_units", "shuffle_gap", "bleu", "distinct_samples",
)
FACTOR_KEYS = (
    "beta_vae", "factor_vae", "mig", "sap", "nats_unassigned",
    "dci_disentanglement", "dci_completeness", "dci_informativeness", "dci_test_error",
)
LISTS = frozenset({"kl_per_dim", "spectrum", "iw_nll_at", "gain_by_position", "prior_gap_per_dim", "nats_per_factor", "reconstruction_at_samples"})
# fmt: on


def label_of(key: str) -> str:
    """The label of a metric in tables; the key itself if it is unknown."""
    return METRICS[key].label if key in METRICS else key


def axis_of(key: str) -> str:
    """The label of a metric on a plot's axis."""
    return METRICS[key].axis if key in METRICS else key


def headline_cells(report: Mapping[str, Any]) -> list[str]:
    """The cells of one row of a table of results; IW-NLL with its standard error and K."""
    return [_cell(report, key) for key in HEADLINE]


def _cell(report: Mapping[str, Any], key: str) -> str:
    value = report.get(key)
    if value is None:
        return "-"
    if key == "iw_nll" and report["iw_samples"] != 1:
        return f"{value:.2f} ± {report['iw_nll_se']:.2f} (K {report['iw_samples']})"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
