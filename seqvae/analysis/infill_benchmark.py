"""Missing words filled in by a VAE and by a language model, judged as Bowman et al. 2016 did (section 4.3).

Shapes: N sentences, V words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.metrics.optional_deps import import_sklearn
from seqvae.inference.infilling import MARK, Infilled, InfillSearch, infill
from seqvae.inference.inputs import load_inputs
from seqvae.inference.text_vae import TextVAE
from seqvae.keyed_noise import KeyedNoise

SHARE = 5  # a fifth of the words is missing
CHUNK = 50  # sentences between two calls of `progress`
TRAINED = 0.75  # share of the sentences that the discriminators learn from
EMBED, HIDDEN, EPOCHS = 64, 64, 8  # of the recurrent discriminator
Masked = tuple[list[str], list[int]]  # words, places of the blanks


def benchmark_infill(
    vae: TextVAE,
    lm: TextVAE,
    how: InfillSearch | None = None,
    examples: int = 500,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> list[dict[str, Any]]:
    """A row for each method and kind of blanks, over the first held-out sentences of 5 words or more.

    Blanks are a fifth of the words: the last ones before the final mark (`end`, as in the paper), or random
    ones (`anywhere`). `words_right`: share of the blanks that are filled with the very word. `lm_nll`: nats
    per sentence under the language model `lm` (of the sentences themselves: `method` true).
    `adversarial_unigram` and `adversarial_gru`: the accuracy - 1/2, on held-out pairs, of a discriminator
    that learns to separate filled from true sentences; the lower the better. One reads the words as a bag,
    the other in order. The language model fills in by beam search alone, of as many beams
    as the VAE has in all.

    Raises:
        UserError: `lm` has a code, reads other tokens, or there are too few sentences.
    """
    how = how or InfillSearch()
    _check(vae, lm)
    texts = _sentences(vae, examples)
    wide = InfillSearch(beam=how.beam * how.starts * how.rounds)
    rows: list[dict[str, Any]] = []
    done, total = 0, 4 * len(texts)
    for kind, mask in (("end", _mask_end), ("anywhere", _mask_anywhere)):
        masked = [mask(text.split(), i, seed) for i, text in enumerate(texts)]
        rows.append(_row("true", kind, texts, [text.split() for text in texts], masked, lm, seed))
        for method, model, search in (("vae", vae, how), ("lm", lm, wide)):
            found: list[Infilled] = []
            for start in range(0, len(texts), CHUNK):
                patterns = [_pattern(*pair) for pair in masked[start : start + CHUNK]]
                found += infill(model, patterns, search, seed)
                done += len(patterns)
                if progress is not None:
                    progress(done, total, f"{kind}, {method}")
            made = [_filled(pair, one.words) for pair, one in zip(masked, found, strict=True)]
            rows.append(_row(method, kind, texts, made, masked, lm, seed))
    return rows


def _row(
    method: str,
    kind: str,
    texts: Sequence[str],
    made: Sequence[list[str]],
    masked: Sequence[Masked],
    lm: TextVAE,
    seed: int,
) -> dict[str, Any]:
    true = [text.split() for text in texts]
    blanks = [(a[i], b[i]) for a, b, (_, places) in zip(true, made, masked, strict=True) for i in places]
    nll = [score.distortion for score in lm.score([" ".join(words) for words in made])]
    same = method == "true"
    return {
        "method": method,
        "blanks": kind,
        "n": len(texts),
        "words_right": sum(a == b for a, b in blanks) / len(blanks),
        "lm_nll": sum(nll) / len(nll),
        "adversarial_unigram": None if same else adversarial_error(true, made, _bag_accuracy, seed),
        "adversarial_gru": None if same else adversarial_error(true, made, _gru_accuracy, seed),
    }


Rows = tuple[list[list[int]], list[int]]  # sentences as word numbers, and 1 for those that were filled
Judge = Callable[[Rows, Rows, int], float]  # (training, held out, seed) -> accuracy


def adversarial_error(
    true: Sequence[Sequence[str]], made: Sequence[Sequence[str]], judge: Judge, seed: int
) -> float:
    """Accuracy - 1/2 of a discriminator between true and filled sentences, on held-out pairs."""
    ids: dict[str, int] = {}
    rows = [[[ids.setdefault(word, len(ids) + 1) for word in text] for text in side] for side in (true, made)]
    order = KeyedNoise(seed, 0, torch.arange(len(true))).uniform("infill/held").argsort(stable=True).tolist()
    cut = int(TRAINED * len(order))
    training, held = (  # both sentences of a pair are in the same part
        ([side[i] for side in rows for i in places], [0] * len(places) + [1] * len(places))
        for places in (order[:cut], order[cut:])
    )
    return judge(training, held, seed) - 0.5


def _bag_accuracy(training: Rows, held_out: Rows, seed: int) -> float:
    """Of logistic regression on which words a sentence has, its penalty chosen by cross-validation."""
    (x, y), (held, wanted) = training, held_out
    size = 1 + max(map(max, [*x, *held]))
    linear = import_sklearn("linear_model")
    selection = import_sklearn("model_selection")
    search = selection.GridSearchCV(linear.LogisticRegression(max_iter=500), {"C": [0.01, 0.1, 1.0]}, cv=3)
    search.fit(_bags(x, size), y)
    return float(search.score(_bags(held, size), wanted))


def _bags(rows: Sequence[Sequence[int]], size: int) -> npt.NDArray[np.float32]:
    found = np.zeros((len(rows), size), np.float32)
    for bag, row in zip(found, rows, strict=True):
        bag[list(row)] = 1.0
    return found


class _Discriminator(nn.Module):
    """A GRU over the words, its last state and a linear map to one logit."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, EMBED, padding_idx=0)
        self.gru = nn.GRU(EMBED, HIDDEN, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * HIDDEN, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (N,) of ids (N, T) that 0 pads."""
        states, _ = self.gru(self.embed(ids))
        states = states.masked_fill((ids == 0)[..., None], -torch.inf)
        logits: Tensor = self.out(states.amax(1))[:, 0]
        return logits


def _gru_accuracy(training: Rows, held_out: Rows, seed: int) -> float:
    """Of a small bidirectional GRU that reads the words in order, trained for some epochs."""
    (x, y), (held, wanted) = training, held_out
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Discriminator(1 + max(map(max, [*x, *held])))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        ids, labels = _padded(x), torch.tensor(y, dtype=torch.float32)
        for _ in range(EPOCHS):
            for rows in torch.split(torch.randperm(len(ids)), 64):
                loss = nn.functional.binary_cross_entropy_with_logits(model(ids[rows]), labels[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
    with torch.no_grad():
        guesses = model.eval()(_padded(held)) > 0
    return float((guesses == torch.tensor(wanted, dtype=torch.bool)).float().mean())


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


def _check(vae: TextVAE, lm: TextVAE) -> None:
    if lm.latent_dim:
        raise UserError(
            f"{lm.run.path} has a code: the benchmark compares with a language model (latent: none)"
        )
    if not vae.latent_dim:
        raise UserError(
            f"{vae.run.path} has no code: give the VAE first and the language model to --benchmark"
        )
    if lm.tokenizer.fingerprint != vae.tokenizer.fingerprint:
        raise UserError("both runs must have the same tokenizer: train the language model on the same data")


def _sentences(vae: TextVAE, examples: int) -> list[str]:
    """Held-out sentences of known words, each once, short enough for the model."""
    drawn = load_inputs(vae, None, 4 * examples)
    texts = list(dict.fromkeys(text for text in drawn.x if len(text.split()) >= SHARE))
    unknown = vae.unknown(texts)
    kept = [t for t, n in zip(texts, unknown, strict=True) if not n and "<unk>" not in t][:examples]
    if len(kept) < 20:
        raise UserError(f"{len(kept)} held-out sentences have 5 known words or more: 20 are needed")
    return kept


def _mask_end(words: list[str], row: int, seed: int) -> Masked:
    """The last fifth, without the final mark."""
    last = len(words) - (not words[-1].isalnum())
    count = max(1, len(words) // SHARE)
    return words, list(range(max(1, last - count), last))


def _mask_anywhere(words: list[str], row: int, seed: int) -> Masked:
    """A random fifth."""
    places = [i for i, word in enumerate(words) if word.isalnum()] or [0]
    chance = KeyedNoise(seed, row, torch.arange(len(places))).uniform("infill/blanks")
    chosen = chance.argsort(stable=True)[: max(1, len(words) // SHARE)].tolist()
    return words, sorted(places[i] for i in chosen)


def _pattern(words: Sequence[str], places: Sequence[int]) -> str:
    return " ".join(MARK if i in places else word for i, word in enumerate(words))


def _filled(masked: Masked, found: Sequence[str]) -> list[str]:
    words, places = masked
    new = dict(zip(places, found, strict=True))
    return [new.get(i, word) for i, word in enumerate(words)]
