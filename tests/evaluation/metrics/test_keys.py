"""The table of metrics: each key once, and every list of keys is derived from it."""

from __future__ import annotations

from seqvae.evaluation.evaluate import KEYS
from seqvae.evaluation.metrics.keys import (
    COMPARED,
    FACTOR_KEYS,
    HEADLINE,
    LISTS,
    METRICS,
    OVER_RATES,
    axis_of,
    headline_cells,
    label_of,
)
from seqvae.experiments.compare.schema import COLUMNS, KNOWN


def test_every_list_names_metrics_of_the_table() -> None:
    for keys in (KEYS, COMPARED, COLUMNS, HEADLINE, OVER_RATES, FACTOR_KEYS, LISTS, KNOWN):
        assert set(keys) <= set(METRICS)


def test_every_metric_says_what_it_is() -> None:
    for key, metric in METRICS.items():
        assert metric.key == key
        assert metric.label, key
        assert metric.doc, key
        assert metric.better in ("lower", "higher", "")


def test_labels_of_tables_and_axes() -> None:
    assert label_of("neg_elbo") == "-ELBO"
    assert axis_of("neg_elbo") == "-ELBO (nats)"
    assert axis_of("ppl") == "PPL"
    assert label_of("unheard_of") == axis_of("unheard_of") == "unheard_of"


def test_a_row_of_results() -> None:
    report = {"iw_nll": 3.0, "iw_nll_se": 0.25, "iw_samples": 20, "active_units": 4}
    cells = dict(zip(HEADLINE, headline_cells(report), strict=True))
    assert cells["iw_nll"] == "3.00 ± 0.25 (K 20)"
    assert cells["active_units"] == "4"
    assert cells["bleu"] == "-"
    assert headline_cells({"iw_nll": 3.0, "iw_samples": 1})[1] == "3.00"  # exact: a language model
