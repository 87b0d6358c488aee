"""Trains another project's LSTM VAE in turn with other processes; run as a script, see `seqvae.benchmarks.peers`.

Each is driven as its own training script drives it: its batches, its loss, its optimizer, its clipping, and
the numbers that it reads per step. None of their code is copied here.
"""  # noqa: E501

from __future__ import annotations

import importlib
import os
import random
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import torch
from torch import nn

from seqvae.benchmarks.worker import answer

Train = Callable[[], int]  # an update; its tokens
DROPOUT = 0.5


def lagging_encoder(text: str, sizes: Sequence[int], device: torch.device) -> Train:
    """He et al. 2019 without the encoder's inner loop: SGD for both halves, clipped at 5."""
    embed, hidden, dim, batch = sizes
    data, modules = importlib.import_module("data"), importlib.import_module("modules")
    corpus = data.MonoTextData(text)
    batches = corpus.create_data_batch(batch_size=batch, device=device, batch_first=True)
    how = Namespace(ni=embed, nz=dim, enc_nh=hidden, dec_nh=hidden, device=device)
    how.dec_dropout_in = how.dec_dropout_out = DROPOUT
    start = (lambda x: nn.init.uniform_(x, -0.01, 0.01)), (lambda x: nn.init.uniform_(x, -0.1, 0.1))
    encoder = modules.LSTMEncoder(how, len(corpus.vocab), *start)
    vae = modules.VAE(encoder, modules.LSTMDecoder(how, corpus.vocab, *start), how).to(device)
    optimizers = [torch.optim.SGD(half.parameters(), lr=1.0) for half in (vae.encoder, vae.decoder)]

    def train(x: Any) -> int:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss, reconstruction, kl = vae.loss(x, 0.5, nsamples=1)
        loss.mean(dim=-1).backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 5.0)
        for optimizer in optimizers:
            optimizer.step()
        reconstruction.sum().item(), kl.sum().item()
        return len(x) * (int(x.shape[1]) - 1)  # all sentences of a batch have one length

    return _over(batches, train)


def text_autoencoder(text: str, sizes: Sequence[int], device: torch.device) -> Train:
    """The plain VAE of Shen et al. 2020: Adam, a bidirectional encoder."""
    embed, hidden, dim, batch = sizes
    model, batchify, utils, vocab = map(importlib.import_module, ("model", "batchify", "utils", "vocab"))
    sentences = utils.load_sent(text)
    with tempfile.NamedTemporaryFile() as file:
        vocab.Vocab.build(sentences, file.name, 10_000)
        words = vocab.Vocab(file.name)
    how = Namespace(dim_z=dim, dim_emb=embed, dim_h=hidden, dim_d=512, nlayers=1, dropout=DROPOUT)
    how.lr, how.lambda_kl, how.noise = 5e-4, 0.1, [0, 0, 0, 0]
    vae = model.VAE(words, how).to(device)
    vae.train()
    batches, _ = batchify.get_batches(sentences, words, batch, device)

    def train(pair: Any) -> int:
        losses = vae.autoenc(*pair, is_train=True)
        losses["loss"] = vae.loss(losses)
        vae.step(losses)
        for value in losses.values():
            value.item()
        return int(pair[0].numel())  # all sentences of a batch have one length

    return _over(batches, train)


def _over(batches: Sequence[Any], train: Callable[[Any], int]) -> Train:
    """A function that makes one update, cycling over all batches in random order."""
    order = list(batches)
    random.Random(0).shuffle(order)
    endless = cycle(order)
    return lambda: train(next(endless))


KINDS = {"vae-lagging-encoder": lagging_encoder, "text-autoencoders": text_autoencoder}


def main(arguments: Sequence[str]) -> None:
    """Arguments: which project, the folder of its code, the text, four sizes, the device."""
    kind, folder, text, *sizes, name = arguments
    sys.path[0] = folder
    found = "cuda" if name == "auto" and torch.cuda.is_available() else name
    device = torch.device("cpu" if found == "auto" else found)
    printed, sys.stdout = sys.stdout, sys.stderr  # loading prints to stdout
    train = KINDS[kind](os.path.abspath(text), [int(size) for size in sizes], device)
    for _ in range(20):
        train()
    sys.stdout = printed
    answer(train, device)


if __name__ == "__main__":
    main(sys.argv[1:])
