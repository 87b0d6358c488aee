"""`seqvae fit-prior`: fit a prior to the codes of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seqvae.cli.options import DEVICE, JSON, RUN
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.run_options import apply_run_options
from seqvae.cli.terminal import Terminal
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.inference.posthoc_priors import PosthocPrior


def fit_prior(
    run: RUN,
    prior: Annotated[Literal["mixture", "flow"], typer.Option(help="What to fit.")] = "mixture",
    components: Annotated[int | None, typer.Option(help="Gaussians of a mixture; 20 by default.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call it; mixture or flow by default.")] = None,
    examples: Annotated[int, typer.Option(help="Training examples to encode, at most.", min=1)] = 50_000,
    samples: Annotated[int, typer.Option(help="K of the IW-NLL on validation data.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="The same seed fits the same prior.")] = 0,
    rate: Annotated[float | None, typer.Option(help="Of a variable-rate run: at this rate only.")] = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Fit a prior to a run's encoded data, store it in the run and print the gain in nats.

    A variable-rate run gets one prior for all its rates, conditioned on the rate.
    """
    from seqvae.config.schema import Component
    from seqvae.evaluation.prior_fitting import PriorFitConfig
    from seqvae.inference import load
    from seqvae.inference.posthoc_prior_fit import FitBudget, fit_posthoc_prior

    report, chosen = Terminal(), {"name": prior} | ({} if components is None else {"components": components})
    loaded, amounts = apply_run_options(load(run, device)).run, FitBudget(examples, samples=samples)
    spec = Component.model_validate(chosen)
    fitted = fit_posthoc_prior(
        loaded, spec, name or prior, PriorFitConfig(seed=seed, rate=rate), amounts, report.advance
    )
    report.close()
    emit_json({"name": fitted.name, **fitted.report}) if json else emit_lines(_lines(fitted))


def _lines(fitted: PosthocPrior) -> list[str]:
    report = fitted.report
    rows: list[tuple[str, ...]] = [("held-out ln p(z)", *_pair(report["log_density"]))]
    if report["valid"]["trained"] is not None:
        both = report["valid"]["trained"], report["valid"]["fitted"]
        rows += [(key, *(f"{numbers[key]:.3f}" for numbers in both)) for key in both[0]]
    for each in report.get("rates", ()):
        both = each["trained"], each["fitted"]
        rows.append((f"iw_nll at {each['nats']:g}", *(f"{numbers['iw_nll']:.3f}" for numbers in both)))
    table = align_columns(("nats", "trained prior", "fitted prior"), rows)
    return [f"prior {fitted.name}: {report['n']} codes, {report['epochs']} epochs", *table]


def _pair(values: dict[str, Any]) -> tuple[str, str]:
    return f"{values['trained']:.3f}", f"{values['fitted']:.3f}"


COMMANDS = (fit_prior,)
