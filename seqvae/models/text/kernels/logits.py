"""Logits over a vocabulary, computed a few rows at a time, and the largest among them.

Shapes: n rows, V words, A sentences with U beams each, W beams of the next step, S words of a block, M ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqvae.utils.accelerator import is_asynchronous, reads_are_costly

BITS, NATS = 1 / math.log(2), math.log(2)  # bits per nat, nats per bit
BLOCK = 64  # S
NEAR = 1 << 21  # bytes in fp32 that stay in the cache of a CPU core over several operations
CALM = 100.0  # bits: a sum of powers of two in 2^-100 to 2^100 lost no important term in fp32


def block_maxima(x: Tensor, size: int) -> Tensor:
    """Maxima (n, V // S) of x (n, V) in blocks of S columns; the remaining columns are ignored."""
    blocks = x.shape[1] // size
    return x[:, : blocks * size].view(x.shape[0], blocks, size).amax(-1)


def join(parts: Sequence[Tensor]) -> Tensor:
    """The parts concatenated; a single part is returned without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def even_chunk_size(rows: int, most: int) -> int:
    """The size of the fewest equal chunks of at most `most` rows; a small last chunk would cost as much."""
    return max(1, -(-rows // max(1, -(-rows // most))))


def logits_buffer(low: Tensor) -> Tensor:
    """An fp32 buffer (few, V) for `Logits.parts` of products (n, V); on a GPU it has all rows."""
    few = (
        len(low)
        if is_asynchronous(low.device)
        else max(1, NEAR * torch.get_num_threads() // (4 * low.shape[1]))
    )
    return low.new_empty(min(few, len(low)), low.shape[1], dtype=torch.float32)


def block_words(start: Tensor, size: int) -> Tensor:
    """Ids (A, M S) of the words of blocks that begin at `start` (A, M)."""
    return (start[..., None] + torch.arange(size, device=start.device)).flatten(1)


@dataclass(frozen=True)
class Logits:
    """Logits bias + unit * low (n, V), computed a few rows at a time so that they stay in a cache."""

    low: Tensor  # (n, V) products in low precision, in nats
    bias: Tensor  # (V,) in the unit
    unit: float  # units per nat, such as BITS
    room: Tensor  # (few, V) fp32

    def parts(self) -> Iterator[Tensor]:
        """Logits (few, V) in fp32; each part reuses the memory of the part before, and may be overwritten."""
        for low in torch.split(self.low, even_chunk_size(self.low.shape[0], self.room.shape[0])):
            room = self.room[: low.shape[0]]
            # on a GPU the addition reads both types without a cast
            cast = low.dtype != room.dtype and not is_asynchronous(low.device)
            yield torch.add(self.bias, room.copy_(low) if cast else low, alpha=self.unit, out=room)

    def at(self, words: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits (A, M) of words (A, M), in A rows, or in rows (A, M) of A groups of rows."""
        places = words if rows is None else torch.add(words, rows, alpha=len(self.bias))
        low = self.low.view(len(places), -1).gather(1, places)
        return torch.add(self.bias[words], low.float(), alpha=self.unit)

    def first_largest(self) -> Tensor:
        """The index (n,) of the largest logit of each row, the first of equals.

        A CPU finds maxima three times as fast as their indices, so the index is searched in one block only.
        """
        if is_asynchronous(self.low.device):
            return join([x.argmax(-1) for x in self.parts()])
        size = BLOCK if self.bias.shape[0] >= 2 * BLOCK else 1
        maxima = join([block_maxima(x, size) for x in self.parts()])
        start = maxima.max(-1).indices[:, None] * size
        words = torch.cat([block_words(start, size), self.left_over(size).expand(len(start), -1)], 1)
        return words.gather(1, self.at(words).max(-1).indices[:, None])[:, 0]

    def left_over(self, size: int) -> Tensor:
        """Ids of the words after the last whole block of `size` words."""
        words = self.bias.shape[0]
        return torch.arange(words // size * size, words, device=self.bias.device)

    def without(self, *words: int) -> Logits:
        """The same logits, with -inf for some words."""
        if not words:
            return self
        bias = self.bias.clone()
        for word in words:
            bias[word].fill_(-torch.inf)
        return replace(self, bias=bias)

    def restricted(self, allowed: Tensor | None) -> Logits:
        """The same logits, with -inf for words that are not `allowed` (n, V); `low` is overwritten."""
        return self if allowed is None else replace(self, low=self.low.masked_fill_(~allowed, -torch.inf))


@dataclass(frozen=True)
class BeamCandidates:
    """Candidates for the next words of U beams of A sentences."""

    logits: Logits  # (A U, V), bits
    size: int  # S
    maxima: Tensor  # (A, U, V // S) in blocks of words
    log2_sums: Tensor  # (A, U) log2 sum_v 2^bits

    @classmethod
    def of(cls, logits: Logits, beams: int, width: int) -> BeamCandidates:
        """Candidates of which `width` will be chosen; in a small vocabulary each word is its own block."""
        words = len(logits.bias)
        size = BLOCK if words >= 4 * width * BLOCK else 1
        maxima, sums, careful = [], [], reads_are_costly(logits.low.device)
        for x in logits.parts():
            maxima.append(block_maxima(x, size))
            sums.append(log2_sums(x) if careful else x.exp2_().sum(1))
        log2 = join(sums) if careful else join(sums).log2()
        if not careful and not bool((log2.abs() < CALM).all()):  # on a GPU the host would have to wait for it
            log2 = join([log2_sums(x) for x in logits.parts()])
        return cls(logits, size, join(maxima).view(-1, beams, words // size), log2.view(-1, beams))

    def best(self, scores: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """The W largest of scores (A, U) + bits of each sentence: totals, beams, words (A, W).

        They lie in the W blocks with the largest maxima; searching only there saves a CPU most of the time.
        If there are fewer than W, all are returned.
        """
        beams, blocks = self.maxima.shape[1:]
        maxima = (self.maxima + scores[..., None]).flatten(1)
        chosen = maxima.topk(min(width, maxima.shape[1]), 1).indices  # (A, W)
        owner, left = chosen // blocks, self.logits.left_over(self.size)
        every = torch.arange(beams, device=left.device).repeat_interleave(len(left)).expand(len(chosen), -1)
        rows = torch.cat([owner.repeat_interleave(self.size, 1), every], 1)
        inside = block_words((chosen - owner * blocks) * self.size, self.size)
        words = torch.cat([inside, left.repeat(beams).expand(len(chosen), -1)], 1)
        total = self.logits.at(words, rows) + scores.gather(1, rows)
        total, found = total.topk(min(width, total.shape[1]), 1)
        return total, rows.gather(1, found), words.gather(1, found)


def log2_sums(bits: Tensor) -> Tensor:
    """Log2 sum_v 2^bits (n,) of rows (n, V) of any magnitude, which are overwritten."""
    largest = bits.amax(1, keepdim=True).clamp(min=torch.finfo(bits.dtype).min)  # also if all are -inf
    return bits.sub_(largest).exp2_().sum(1).log2() + largest[:, 0]
