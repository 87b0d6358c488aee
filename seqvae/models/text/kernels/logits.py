"""Rows as wide as a vocabulary: logits that are finished few rows at a time, and the largest among them.

Shapes: n rows, V words, A sentences with U beams each, W beams to come, S words of a block, M places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqvae.utils.accelerator import is_asynchronous, reads_are_costly

BITS, NATS = 1 / math.log(2), math.log(2)  # of one nat, of one bit
BLOCK = 64  # S
NEAR = 1 << 21  # bytes in fp32 that several operations read and write near each core of a CPU
CALM = 100.0  # bits; where a sum of powers of two is nearer to 1, fp32 has held all that matter to it


def block_maxima(x: Tensor, size: int) -> Tensor:
    """(n, V // S) the maxima of x (n, V) in blocks of S columns; those left over are in none."""
    blocks = x.shape[1] // size
    return x[:, : blocks * size].view(x.shape[0], blocks, size).amax(-1)


def join(parts: Sequence[Tensor]) -> Tensor:
    """Parts one after the other; a single one as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def even_chunk_size(rows: int, most: int) -> int:
    """The size of the fewest equal shares of rows, at most so large: a small last one would cost as much."""
    return max(1, -(-rows // max(1, -(-rows // most))))


def logits_buffer(low: Tensor) -> Tensor:
    """An fp32 table (few, V) for `Logits.parts` of products (n, V): all rows on a GPU."""
    few = (
        len(low)
        if is_asynchronous(low.device)
        else max(1, NEAR * torch.get_num_threads() // (4 * low.shape[1]))
    )
    return low.new_empty(min(few, len(low)), low.shape[1], dtype=torch.float32)


def block_words(start: Tensor, size: int) -> Tensor:
    """The words (A, M S) of blocks that begin at `start` (A, M)."""
    return (start[..., None] + torch.arange(size, device=start.device)).flatten(1)


@dataclass(frozen=True)
class Logits:
    """Logits bias + unit * low (n, V), finished few rows at a time: all would not stay in a cache."""

    low: Tensor  # (n, V) products in their precision, in nats
    bias: Tensor  # (V,), of the unit
    unit: float  # of a nat, as BITS
    room: Tensor  # (few, V) fp32

    def parts(self) -> Iterator[Tensor]:
        """Logits (few, V) in fp32, each in the place of those before; they may be overwritten."""
        for low in torch.split(self.low, even_chunk_size(self.low.shape[0], self.room.shape[0])):
            room = self.room[: low.shape[0]]
            cast = low.dtype != room.dtype and not is_asynchronous(
                low.device
            )  # a GPU's addition reads both types
            yield torch.add(self.bias, room.copy_(low) if cast else low, alpha=self.unit, out=room)

    def at(self, words: Tensor, rows: Tensor | None = None) -> Tensor:
        """The numbers (A, M) of words (A, M), and of rows (A, M) of A groups of rows if they have several."""
        places = words if rows is None else torch.add(words, rows, alpha=len(self.bias))
        low = self.low.view(len(places), -1).gather(1, places)
        return torch.add(self.bias[words], low.float(), alpha=self.unit)

    def first_largest(self) -> Tensor:
        """The place (n,) of the largest number of each row, the first of equals.

        A CPU finds maxima three times as fast as their places: these are looked for in one block of columns.
        """
        if is_asynchronous(self.low.device):
            return join([x.argmax(-1) for x in self.parts()])
        size = BLOCK if self.bias.shape[0] >= 2 * BLOCK else 1
        maxima = join([block_maxima(x, size) for x in self.parts()])
        start = maxima.max(-1).indices[:, None] * size
        words = torch.cat([block_words(start, size), self.left_over(size).expand(len(start), -1)], 1)
        return words.gather(1, self.at(words).max(-1).indices[:, None])[:, 0]

    def left_over(self, size: int) -> Tensor:
        """The words that are in no block of so many."""
        words = self.bias.shape[0]
        return torch.arange(words // size * size, words, device=self.bias.device)

    def without(self, *words: int) -> Logits:
        """The same where some words are impossible."""
        if not words:
            return self
        bias = self.bias.clone()
        for word in words:
            bias[word] = -torch.inf
        return replace(self, bias=bias)

    def restricted(self, allowed: Tensor | None) -> Logits:
        """The same where only words of `allowed` (n, V) are possible; the products are overwritten."""
        return self if allowed is None else replace(self, low=self.low.masked_fill_(~allowed, -torch.inf))


@dataclass(frozen=True)
class BeamCandidates:
    """What each of U beams of A sentences may go on with."""

    logits: Logits  # (A U, V), bits
    size: int  # S
    maxima: Tensor  # (A, U, V // S) in blocks of words
    log2_sums: Tensor  # (A, U) of the powers 2^bits of all

    @classmethod
    def of(cls, logits: Logits, beams: int, width: int) -> BeamCandidates:
        """Choices of which `width` will be wanted; few words are blocks of their own."""
        words = len(logits.bias)
        size = BLOCK if words >= 4 * width * BLOCK else 1
        maxima, sums, careful = [], [], reads_are_costly(logits.low.device)
        for x in logits.parts():
            maxima.append(block_maxima(x, size))
            sums.append(log2_sums(x) if careful else x.exp2_().sum(1))
        log2 = join(sums) if careful else join(sums).log2()
        if not careful and not bool((log2.abs() < CALM).all()):  # a GPU would have to be waited for
            log2 = join([log2_sums(x) for x in logits.parts()])
        return cls(logits, size, join(maxima).view(-1, beams, words // size), log2.view(-1, beams))

    def best(self, scores: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """The W largest of scores (A, U) + bits of each sentence: totals, beams, words (A, W).

        They lie in the W blocks with the largest maxima: looking there alone saves a CPU most of it. Fewer
        than W where there are no more.
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
    """Log2 sum_v 2^bits (n,) of rows (n, V) of any size, which are overwritten."""
    largest = bits.amax(1, keepdim=True).clamp(min=torch.finfo(bits.dtype).min)  # of a row without any too
    return bits.sub_(largest).exp2_().sum(1).log2() + largest[:, 0]
