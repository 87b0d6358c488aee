"""Seeded damage to the bytes of a file, as disks, networks and editors cause it."""

from __future__ import annotations

import random

_SPLICES = (b"\0", b'"', b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b",", b"{", b"}", b"[", b"\\",
            b"\xed\xa0\x80", b"nan", b"1e999", b"-1", b"null", b"true", b"\x1b[0m", b"9" * 400, b"\xf0\x9f",
            b"\\ud800")  # fmt: skip


def damaged(data: bytes, seed: int) -> bytes:
    """The bytes after one to three accidents."""
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 3)):
        data = _accident(data, dice)
    return data


def _accident(data: bytes, dice: random.Random) -> bytes:
    at = dice.randint(0, len(data))
    length = dice.choice((1, 2, 8, 64, 512))
    kind = dice.randint(0, 6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + length :]
    if kind == 2:
        return data[:at] + dice.choice(_SPLICES) * dice.choice((1, 1, 1, 50)) + data[at:]
    if kind == 3:
        return data[:at] + dice.randbytes(length) + data[at + length :]
    if kind == 4:
        return data[:at] + data[max(0, at - length) : at] + data[at:]
    if kind == 5:
        bits = bytearray(data)
        for place in dice.sample(range(len(bits)), min(len(bits), dice.choice((1, 4)))):
            bits[place] ^= 1 << dice.randint(0, 7)
        return bytes(bits)
    return data[:at] + data[at : at + length][::-1] + data[at + length :]
