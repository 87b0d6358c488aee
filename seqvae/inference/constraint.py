"""What generated texts have to be: a regular expression, a grammar or a function, and how many were."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqvae.data.text.byte_dfa import ByteDFA, compile_regex
from seqvae.data.text.token_automaton import token_moves
from seqvae.data.text.token_bytes import token_bytes
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.models.text.decoding import GenerationConfig

Check = Callable[[str], object]
TRIES = 20  # draws of a sentence in all, until one is valid
NO_TEXT = type("NoText", (str,), {})("")  # the empty text that says that no draw was valid
_KINDS = ("python", "grammar", "regex")


class Constraint:
    """Keeps valid texts only, and counts: `tried` texts, of which `kept` were valid.

    A regular expression is followed while decoding, token by token, so that every text matches; with
    `filter_only`, and for grammars and functions, texts are drawn and those that are not valid are discarded.
    The first draws from p(x|z) renormalised at each token, the second from p(x | z, x is valid).

    Example:
        >>> digits = Constraint("[0-9]+")
        >>> digits.check("12"), digits.check("a"), digits.share
        (True, False, 0.5)
    """

    def __init__(self, rule: str | Check, filter_only: bool = False, tries: int = TRIES) -> None:
        """Read a rule.

        Args:
            rule: a regular expression (`regex:` before it where it begins like the next two),
                `grammar:FILE.lark`, `python:module.function`, or a function of a text that returns what is
                true for valid ones.
            filter_only: whether to discard texts even where decoding could follow the rule.
            tries: draws of each sentence in all.

        Raises:
            UserError: a rule that cannot be read, or less than one try.
        """
        if tries < 1:
            raise UserError(f"tries got {tries}: a sentence is drawn at least once")
        self.name = rule if isinstance(rule, str) else getattr(rule, "__name__", repr(rule))
        self.filter_only, self.tries = filter_only, tries
        self.tried = self.kept = 0
        self.regex: ByteDFA | None = None
        self._accepts: Check
        if not isinstance(rule, str):
            self._accepts = rule
            return
        kind, separator, rest = rule.partition(":")
        kind, text = (kind, rest) if separator and kind in _KINDS else ("regex", rule)
        if kind == "regex":
            self.regex = compile_regex(text)
            self._accepts = self.regex.accepts
        else:
            self._accepts = load_function(text) if kind == "python" else load_grammar(text)

    @classmethod
    def of(cls, rule: Rule) -> Constraint:
        """A constraint unchanged, or that of a rule.

        Raises:
            UserError: as the constructor.
        """
        return rule if isinstance(rule, Constraint) else cls(rule)

    def accepts(self, text: str) -> bool:
        """Whether a text is valid.

        Raises:
            UserError: the function of a user failed.
        """
        try:
            return bool(self._accepts(text))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(
                f"{self.name} failed for {text!r} ({reason}): return False for bad texts"
            ) from error

    def check(self, text: str) -> bool:
        """Whether a text is valid; it is counted."""
        valid = self.accepts(text)
        self.tried += 1
        self.kept += valid
        return valid

    @property
    def share(self) -> float | None:
        """Share of the texts that were valid; None where none was drawn."""
        return self.kept / self.tried if self.tried else None

    @property
    def report(self) -> dict[str, Any]:
        """What became of the texts, for JSON."""
        how = "while decoding" if self.follows else "filter"
        counts = {"tried": self.tried, "kept": self.kept, "share": self.share}
        return {"rule": self.name, "applied": how, **counts}

    @property
    def follows(self) -> bool:
        """Whether decoding follows the rule, where the tokenizer lets it."""
        return self.regex is not None and not self.filter_only

    def restrict(self, how: GenerationConfig, tokenizer: TextTokenizer) -> GenerationConfig:
        """`how`, restricted to tokens that lead to valid texts; unchanged where texts are filtered.

        Raises:
            UserError: no text of the tokenizer's tokens is valid.
        """
        if self.regex is None or self.filter_only:
            return how
        spelled = token_bytes(tokenizer)
        if spelled is None:  # its texts are more than the bytes of their tokens
            self.filter_only = True
            return how
        never = () if how.unknown else (tokenizer.special.unk,)
        return replace(how, moves=token_moves(self.regex, spelled, never))

    def collect(self, n: int, write: Callable[[Sequence[int], int], Sequence[str]]) -> list[str | None]:
        """`n` valid texts; None where no try gave one.

        Args:
            n: number of texts.
            write: a text for each of some rows, at a try from 0 on.
        """
        found: list[str | None] = [None] * n
        rows: Sequence[int] = range(n)
        for number in range(self.tries):
            for row, text in zip(rows, write(rows, number), strict=True):
                if self.check(text):
                    found[row] = text
            rows = [row for row in rows if found[row] is None]
            if not rows:
                break
        return found


Rule = Constraint | str | Check


def load_function(path: str) -> Check:
    """The function `module.function`; modules of the current folder are found too.

    Raises:
        UserError: no such module or function.
    """
    module, dot, name = path.rpartition(".")
    if not dot:
        raise UserError(f"python:{path} names no function: write python:module.function")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a module does while it is imported
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"python:{path} cannot be loaded ({reason}): write python:module.function") from None
    if not callable(function):
        raise UserError(f"python:{path} is no function but {type(function).__name__}: name one of a text")
    return function  # type: ignore[no-any-return]


def load_grammar(file: str) -> Check:
    """Whether a context-free grammar in Lark's notation derives a text from its rule `start`.

    Raises:
        UserError: no such file, not a grammar, or lark is not installed.
    """
    try:
        import lark
    except ImportError:
        raise UserError("grammars need lark: `pip install 'seqvae[constraints]'`") from None
    try:
        parser = lark.Lark(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"grammar:{file} cannot be read ({error.strerror}): name a file") from None
    except (lark.exceptions.LarkError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} is not a grammar that lark reads ({reason}): mend it") from None

    def derives(text: str) -> bool:
        try:
            parser.parse(text)
        except lark.exceptions.LarkError:
            return False
        return True

    return derives
