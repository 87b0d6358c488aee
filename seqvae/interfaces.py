"""The sockets: what an encoder, latent, prior, decoder, likelihood and remedy must be able to do.

Shapes: S samples, B examples, D latent dims, H features, C conditions. A `Batch` is a TextBatch, or any
later modality's own. Everything above this floor knows only z, q(z|x), p(z), p(x|z) and nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from seqvae.registry import UserError

if TYPE_CHECKING:
    from seqvae.batch import Loss, VAEOutput
    from seqvae.numerics import Randomness

Batch = Any  # every wing brings its own type with size, units, cells, index, random, labels, condition


class Posterior(Protocol):
    """q(z|x) for B examples."""

    @property
    def mean(self) -> Tensor:
        """(B, D); codes whose mean is no code have a `mode` (B, D) besides, see `stands_for`."""
        ...

    def rsample(self, n: int, random: Randomness) -> Tensor:
        """Z (n, B, D), differentiable, drawn with the examples' own noise."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B) nats, for z (S, B, D) or anything that broadcasts to it."""
        ...

    def detach(self) -> Self:
        """The same distribution, without gradients."""
        ...

    def index(self, i: Tensor | slice) -> Self:
        """q(z|x) of the chosen examples."""
        ...


def stands_for(q: Posterior) -> Tensor:
    """(B, D): the one code that is decoded for each example: the mode where q names one, else the mean."""
    code: Tensor = q.mode if hasattr(q, "mode") else q.mean
    return code


class PriorDistribution(Protocol):
    """p(z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B) nats for z (S, B, D)."""
        ...

    def sample(self, n: int, random: Randomness) -> Tensor:
        """Z (n, D); row i of the noise belongs to sample i."""
        ...


class Likelihood(Protocol):
    """p(x|z) as an object: loss, metrics and generation need to know no more."""

    support: str  # tokens | binary | levels | real; numbers of different supports are not comparable

    def log_prob(self, batch: Batch) -> Tensor:
        """(S, B) nats, summed over each example."""
        ...


class Codec(Protocol):
    """What turns the things of one modality into batches and back; a run keeps it."""

    unit: str  # what `batch.units` counts: tokens | pictures

    @property
    def sizes(self) -> Mapping[str, Any]:
        """What encoders and decoders must be told of the data."""
        ...

    @property
    def card(self) -> dict[str, Any]:
        """The same for JSON: what config.json says of it."""
        ...

    def save(self, folder: Path) -> None:
        """Write its own files, where it has any."""
        ...


class Labelled(Protocol):
    """Labels of a split: numbers, or the places of categories' names."""

    @property
    def labels(self) -> Any:
        """An array (N, L), NaN where a label is missing."""
        ...

    @property
    def categories(self) -> Mapping[str, Sequence[str]]:
        """The names, by label."""
        ...


class Data(Protocol):
    """What a run trains on."""

    @property
    def train(self) -> Labelled:
        """The training split."""
        ...

    @property
    def codec(self) -> Codec:
        """What made batches of it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of `batch.labels`."""
        ...

    @property
    def fingerprint(self) -> str:
        """The content of the training split: the same files and settings give the same one."""
        ...

    def report(self) -> list[str]:
        """What became of the data, for people."""
        ...


class Feed(Protocol):
    """The training loop's view of the data: batches as pure functions of (seed, step)."""

    @property
    def examples(self) -> int:
        """Training examples."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Updates in which each training example is read once."""
        ...

    def update(self, step: int, inner: int = 0) -> list[Batch]:
        """The parts of update `step`, of each the rows of this process.

        `inner` counts the encoder's own updates before it, from 1.
        """
        ...

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[Batch]:
        """At most so many validation examples."""
        ...


class Measures(Protocol):
    """What only one modality can measure of a model; nats, over the N evaluation examples."""

    def units(self, batches: Sequence[Batch], iw_nll: Tensor | None) -> dict[str, Any]:
        """How many units there are, and IW-NLL (N,), where there is one, a unit."""
        ...

    def scores(self, likelihood: Any, batch: Batch) -> Tensor:
        """(B, P): log p(x|z) of one sample by place; P = 1 where places do not come apart."""
        ...

    def by_place(self, gains: Tensor, batch: Batch) -> Any:
        """What `places` needs of one batch's gains (B, P)."""
        ...

    def places(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Where in an example the code gains: from what `by_place` gave for each batch."""
        ...

    def fidelity(self, batch: Batch, codes: Tensor, drawn: Tensor) -> Any:
        """What `returned` needs of one batch: what comes back from `codes` (B, D), and from `drawn` ones."""
        ...

    def returned(self, parts: Sequence[Any]) -> dict[str, Any]:
        """How well examples come back: from what `fidelity` gave for each batch."""
        ...

    def draws(self, n: int, seed: int) -> dict[str, Any]:
        """What `n` draws from the prior look like."""
        ...


class Sourced:
    """Whatever comes from a paper says which."""

    paper: ClassVar[str] = ""  # authors, title, where
    year: ClassVar[int] = 0


class Encoder(nn.Module, Sourced, ABC):
    """Reads a batch into features."""

    out_dim: int

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """H (B, H), H = `out_dim`."""

    def pseudo_inputs(self, count: int) -> Tensor:
        """First values of `count` inputs that can be learned, (count, ...) as `read` takes them.

        Raises:
            UserError: this encoder reads no such inputs.
        """
        raise UserError(f"{type(self).__name__} reads no learned inputs, which vamp needs: use prior mixture")

    def read(self, x: Tensor) -> Tensor:
        """H (B, H) of inputs (B, ...) such as `pseudo_inputs` gives.

        Raises:
            UserError: this encoder reads no such inputs.
        """
        raise UserError(f"{type(self).__name__} reads no learned inputs, which vamp needs: use prior mixture")


class Latent(nn.Module, Sourced, ABC):
    """A family of q(z|x) and its divergence from the prior.

    `has_density` is false where log q(z|x) does not exist (a plain autoencoder): rate and likelihoods
    are then not defined, and evaluation says so instead of printing a number. `reads` is false where no
    encoder is needed. `diagonal` is true where q(z|x) is a normal with `mean` and `logvar` (B, D).
    `pathwise` is false where codes are choices, whose draws have no gradient but a substitute. `condition`
    is how many features C the family tells posterior and decoder besides x: the rate that is asked for.
    """

    dim: int
    condition: int = 0
    reads: ClassVar[bool] = True
    default_prior: ClassVar[str] = "standard"  # where the config names none
    priors: ClassVar[tuple[str, ...]] = ()  # the only ones that fit, where not all do
    has_density: ClassVar[bool] = True
    diagonal: ClassVar[bool] = False
    pathwise: ClassVar[bool] = True

    @abstractmethod
    def posterior(self, h: Tensor, c: Tensor | None = None) -> Posterior:
        """q(z|x) from features (B, H)."""

    @abstractmethod
    def kl(self, q: Any, p: PriorDistribution, z: Tensor) -> Tensor:
        """(S, B, D), or (S, B, 1) where dims do not come apart, or (S, B, G) where groups of them do.

        Closed form where there is one.
        """

    def conditions(self, random: Randomness) -> Tensor | None:
        """C (B, C) of the examples of `random`: drawn in training, the default at use; none where C = 0."""
        return None

    def for_decoder(self, c: Tensor | None) -> Tensor | None:
        """What the decoder hears of the whole condition (B, C), whose end is what the family told."""
        return c

    def asking_for(self, nats: Tensor) -> Tensor:
        """C (B, C) that asks for rates (B,) in nats.

        Raises:
            UserError: a rate that this family was not trained for, or one that knows no rates.
        """
        raise UserError(
            "this run has no dial: a rate can be chosen where the latent is exact_rate and was trained "
            "over a range, as `nats: [2, 64]`"
        )

    def at_rate(self, nats: float) -> Self:
        """The same family with another default rate.

        Raises:
            UserError: as `asking_for`.
        """
        self.asking_for(torch.tensor([nats]))
        return self


class Prior(nn.Module, Sourced, ABC):
    """p(z), or p(z|c) where it is told the C = `condition` features c."""

    condition: int = 0

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> PriorDistribution:
        """The distribution, differentiable in the prior's own parameters."""


class Decoder(nn.Module, Sourced, ABC):
    """Turns codes into p(x|z)."""

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor | None = None) -> Likelihood:
        """p(x|z) for z (S, B, D)."""


@dataclass(frozen=True)
class Facts:
    """What a remedy may know of the run when it is attached."""

    total_steps: int
    examples: int
    batch_size: int
    latent_dim: int
    vocab_size: int | None = None
    labels: tuple[str, ...] = ()  # names of the columns of batch.labels
    known: tuple[float, ...] = ()  # of each, the share of the training examples that have it


class Remedy(nn.Module, Sourced):
    """One cure; every method is idle by default and `objective.py` is its only caller.

    Parameters train with the model, buffers are saved with it. The model itself is never kept here.
    """

    batch_type: ClassVar[str] = "any"  # "text" or "image" where the remedy reads what only these have
    shapes_whole_kl: ClassVar[bool] = False  # true where shape_kl is not elementwise: one of these a run

    def attach(self, vae: nn.Module, facts: Facts) -> None:
        """Create what depends on the model's sizes or on the run's length; called once."""

    def encoder_reads(self, batch: Batch) -> Batch:
        """Change what the encoder reads (training only)."""
        return batch

    def decoder_reads(self, batch: Batch) -> Batch:
        """Change what the decoder reads (training only), never the targets."""
        return batch

    def decoder_codes(self, z: Tensor, batch: Batch) -> Tensor:
        """Change the codes (S, B, D) that the decoder reads (training only), never those the KL is of."""
        return z

    def shape_kl(self, kl: Tensor, out: VAEOutput, step: int) -> Tensor:
        """(B, D) -> (B or 1, any): the KL that the optimizer sees."""
        return kl

    def beta(self, step: int) -> Tensor | float:
        """A factor of the KL at update `step`, counted from 0."""
        return 1.0

    def settled_at(self) -> int:
        """The first step from which this remedy's schedule does not change any more."""
        return 0

    def extra(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Further named terms () of the loss, already weighted."""
        return {}

    def trained_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """Which of `parts` the coming update moves: of all four, or of encoder and latent on their own."""
        return parts

    def encoder_first(self, losses: Sequence[Tensor]) -> bool:
        """Whether the encoder alone takes one more update before the coming one.

        `losses` () are those of the updates that it has taken so far, in nats a token.
        """
        return False

    def wants_mi(self) -> bool:
        """Whether the coming validation is to measure `mi_low`."""
        return False

    def after_step(self, loss: Loss) -> None:
        """Feedback after an update; the encoder's own ones give none."""

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """Feedback after a validation."""

    def adversary(self) -> nn.Module | None:
        """A second player with its own optimizer; `player(out, batch)` is its loss () on detached input."""
        return None
