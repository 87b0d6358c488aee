"""What sentences cost under a language model, and whether a model's samples are as good as that one's.

Without a language model of the user's, n-grams counted on the training split take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from torch import Tensor

from seqvae.analysis.doctor.ngram import ORDER, NGramModel, Tokens
from seqvae.analysis.sample_quality import check_scorer, draw_samples
from seqvae.data.text.sharded_store import ShardedStore
from seqvae.data.text.token_store import TokenStore
from seqvae.inference import TextVAE
from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig

TRAINED = 20_000  # sentences that n-grams are counted on
DRAWN = 400  # samples of each kind
COVERAGE_ORDER = 3  # of the n-grams that are counted on samples


@dataclass(frozen=True)
class SampleScores:
    """Sentences of one source: nats per token under n-grams of the corpus, and of the corpus under theirs.

    `forward` is high where they are not fluent, `reverse` where they do not cover the held-out sentences.
    """

    forward: float
    reverse: float


@dataclass(frozen=True)
class LanguageTest:
    """Costs in nats, each over the same held-out sentences.

    `per_sentence` is what the language model needs without any code: all that a code can carry. `samples` are
    the model's, `baseline` the language model's, `real` training sentences; `prior_text` and `code_text` are
    nats per token of texts decoded from prior draws and from codes of held-out sentences.
    """

    model: str  # which language model
    is_ngrams: bool
    per_sentence: float
    per_token: float
    by_frequency: float  # per sentence, if each token had its frequency whatever stands before it
    samples: SampleScores | None
    baseline: SampleScores
    real: SampleScores
    prior_text: float | None
    code_text: float | None


@dataclass(frozen=True)
class Judge:
    """The n-grams that score, and the sentences that others are scored on."""

    scorer: NGramModel
    held: Sequence[Tokens]
    vocab_size: int

    def scores(self, sentences: Sequence[Tokens]) -> SampleScores:
        """Both directions; the longest n-grams of so few sentences would say little."""
        learned = NGramModel(sentences, self.vocab_size, COVERAGE_ORDER)
        return SampleScores(self.scorer.nll_per_token(sentences), learned.nll_per_token(self.held))


def measure_language(
    vae: TextVAE,
    data: Any,
    held: Sequence[Tokens],
    holes: tuple[Tensor, Tensor] | None,
    scorer: TextVAE | None,
) -> LanguageTest:
    """Cost of the held-out sentences, and the scores of samples.

    Args:
        vae: the model.
        data: its splits.
        held: held-out sentences as token ids.
        holes: codes of held-out sentences and draws of the prior, each (n, D), to be decoded and scored.
        scorer: a language model of the same corpus; n-grams where None.

    Raises:
        UserError: a scorer with a code or with another tokenizer.
    """
    train, size = sentences_of(data.train, TRAINED), vae.tokenizer.vocab_size
    order = ORDER if sum(map(len, train)) < 30 * len(train) else ORDER + 2  # characters
    model, judge = (
        NGramModel(train[::2], size, order),
        Judge(NGramModel(train[1::2], size, order), held, size),
    )
    longest = vae.config.data.max_tokens
    if scorer is None:
        whole = NGramModel(train, size, order)
        name, cost = f"{order}-grams", sum(map(whole.nll, held)) / len(held)
        drawn: Sequence[Tokens] = model.sample(DRAWN, longest)
    else:
        name, cost = scorer.run.path.name, _cost(vae, scorer, len(held))
        drawn = _encoded(vae, scorer.sample(DRAWN, _exact(scorer)))
    return LanguageTest(
        model=name,
        is_ngrams=scorer is None,
        per_sentence=cost,
        per_token=cost * len(held) / sum(len(s) + 1 for s in held),
        by_frequency=sum(map(NGramModel(train, size, order=1).nll, held)) / len(held),
        samples=judge.scores(_encoded(vae, draw_samples(vae, DRAWN, 0, store=data.train))),
        baseline=judge.scores(drawn),
        real=judge.scores(train[: 2 * DRAWN : 2]),
        prior_text=None if holes is None else _decoded(vae, judge, holes[1]),
        code_text=None if holes is None else _decoded(vae, judge, holes[0]),
    )


def sentences_of(store: TokenStore | ShardedStore, most: int) -> list[list[int]]:
    """The first sentences of a split as token ids."""
    return [store.tokens(i).tolist() for i in islice(range(len(store)), most)]


def _decoded(vae: TextVAE, judge: Judge, codes: Tensor) -> float | None:
    """Nats per token of texts drawn from codes (n, D); None if the decoder is conditioned on labels."""
    if vae.vae.labels is not None:
        return None
    return judge.scorer.nll_per_token(_encoded(vae, vae.decode(codes[:DRAWN], _exact(vae))))


def _exact(vae: TextVAE) -> GenerationConfig:
    return replace(UNTRUNCATED, max_length=vae.config.data.max_tokens)


def _encoded(vae: TextVAE, texts: Sequence[str]) -> list[list[int]]:
    encode: Callable[[Sequence[str]], list[list[int]]] = vae.tokenizer.encode_batch
    return [row[: vae.config.data.max_tokens] for row in encode(list(texts))]


def _cost(vae: TextVAE, scorer: TextVAE, examples: int) -> float:
    """Nats per held-out sentence under the language model."""
    check_scorer(vae, scorer)
    cost: float = scorer.evaluate(samples=1, examples=examples)["iw_nll"]
    return cost
