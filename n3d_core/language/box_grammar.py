"""The grammar of a reply of boxes, token by token: what must come next, and what may come next.

Everything in a line is forced except the class, the digits and the choice between another box and the end. Forced text
is fed to the model in one chunk (jump-forward). Only text whose tokens do not depend on what follows is forced: Qwen's
pre-tokenizer joins `(mug` and `)\\n`, and a reply must encode to the ids that were decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError
from n3d_core.language.structured import FIELDS
from n3d_core.language.tokenizer import Tokenizer

MAX_CLASS_TOKENS = 24


class TokenKind(Enum):
    """What a free token decides."""

    DECISION = auto()  # another box, or the end
    LABEL = auto()
    NUMBER = auto()
    TEXT = auto()


class ReplyGrammar(Protocol):
    """A state of a reply. Immutable: `advance` returns the next one, so drafts can be tried and dropped."""

    @property
    def finished(self) -> bool:
        """Whether the reply is complete."""

    @property
    def forced(self) -> tuple[int, ...]:
        """Ids that must come next; empty if there is a choice."""

    @property
    def kind(self) -> TokenKind:
        """What the choice decides."""

    @property
    def ladder(self) -> NDArray[np.int64] | None:
        """[N] allowed ids in the order of their values, if each is a whole box number; else None."""

    def mask(self) -> NDArray[np.bool_] | None:
        """[vocab] True for allowed ids; None if all are."""

    def advance(self, token: int) -> ReplyGrammar:
        """The state after one id."""


class BoxVocabulary:
    """What the grammar needs to know about a tokenizer, computed once.

    Attributes:
        whole_numbers: whether a number of up to three digits is one token.
        joined: whether `)` and a newline are one token.
        open_text: the end of `=Bbox(` that cannot be forced because it may join with the class; empty or "(".
        size: ids in the network's vocabulary; the last ones may be unused.
        texts: text of each token; empty for special tokens and partial characters.
        digit_ids, digit_values: [N] tokens that consist of digits, and their values.
        number_ids: [1000] tokens of 0 to 999 if `whole_numbers`; else empty.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, ends: frozenset[int]) -> None:
        wrong = sorted(i for i in ends if not 0 <= i < vocab_size)
        if wrong:
            raise CheckpointError(
                f"end tokens must be ids from 0 to {vocab_size - 1}; got {wrong}: check eos_token_id in "
                "config.json and generation_config.json"
            )
        self.tokenizer, self.ends = tokenizer, ends
        self.comma, self.close = self._single(","), self._single(")")
        self.newline = self._single("\n")
        joined = tokenizer.encode(")\n")
        self.joined = len(joined) == 1
        self.close_newline = joined[0]
        self.whole_numbers = all(len(tokenizer.encode(str(v))) == 1 for v in (7, 42, 132, 999))
        self.size = vocab_size
        self.texts = [tokenizer.text_of(i) for i in range(min(vocab_size, tokenizer.size))]
        self.digits = {i: t for i, t in enumerate(self.texts) if t.isascii() and t.isdigit() and len(t) <= 3}
        self.digit_ids = np.array(list(self.digits), np.int64)
        self.digit_values = np.array([int(t) for t in self.digits.values()], np.int64)
        spelled = {int(t): i for i, t in self.digits.items() if self.whole_numbers and str(int(t)) == t}
        self.number_ids = np.array([spelled[v] for v in sorted(spelled)], np.int64)
        self.open_text = self._open_text()
        self._label = self._mask_where(lambda t: bool(t) and not set(t) & set(",\n\r"))
        self._label[self.comma] = True
        self._first_label = self._mask_where(lambda t: bool(t.strip()) and not set(t) & set(",\n\r"))
        self._opening = self._mask_where(lambda t: t.startswith(self.open_text) and not set(t) & set(",\n\r"))
        self._masks: dict[tuple[int, ...], NDArray[np.bool_]] = {}
        self._openings: dict[int, tuple[int, ...]] = {}

    def opening(self, line: int) -> tuple[int, ...]:
        """Forced ids that open line `line`."""
        if line not in self._openings:
            text = f"bbox_{line}=Bbox("
            self._openings[line] = tuple(self.tokenizer.encode(text.removesuffix(self.open_text)))
        return self._openings[line]

    def label_mask(self, first: bool, empty: bool) -> NDArray[np.bool_]:
        """Tokens of a class: `first` if the opening text has not been written, `empty` before its first letter."""
        if first and self.open_text:
            return self._opening
        return self._first_label if empty else self._label

    def says(self, token: int) -> bool:
        """Whether a token contains a part of a class, not only spaces and the bracket before it."""
        text = self.texts[token] if token < len(self.texts) else ""
        return bool(text.removeprefix(self.open_text).strip()) if self.open_text else bool(text.strip())

    def only(self, *ids: int) -> NDArray[np.bool_]:
        """A mask of these ids (cached; not to be written to)."""
        if ids not in self._masks:
            mask = np.zeros(self.size, dtype=bool)
            mask[list(ids)] = True
            self._masks[ids] = mask
        return self._masks[ids]

    def number_mask(self, digits: str, ends: tuple[int, ...]) -> NDArray[np.bool_]:
        """Tokens that continue or end a number that has `digits` so far."""
        room = 3 - len(digits)
        key = (-1 - room, int(digits == ""), *ends)
        if key not in self._masks:
            fitting = [i for i, t in self.digits.items() if len(t) <= room and (self.whole_numbers or len(t) == 1)]
            if digits == "" and self.whole_numbers:
                fitting = [i for i in fitting if str(int(self.digits[i])) == self.digits[i]]
            mask = np.zeros(self.size, dtype=bool)
            mask[fitting] = True
            if digits:
                mask[list(ends)] = True
            self._masks[key] = mask
        return self._masks[key]

    def _single(self, text: str) -> int:
        ids = self.tokenizer.encode(text)
        if len(ids) != 1:
            raise CheckpointError(
                f"{text!r} must be one token for the box grammar; this tokenizer spells it with {len(ids)}"
            )
        return ids[0]

    def _open_text(self) -> str:
        """The bracket before the class can be forced unless the vocabulary has tokens that join it with a letter."""
        last = self.texts[self.tokenizer.encode("bbox_0=Bbox(")[-1]]
        joins = any(len(t) > 1 and t.startswith("(") for t in self.texts)
        return "(" if last == "(" and joins else ""

    def _mask_where(self, condition: Callable[[str], bool]) -> NDArray[np.bool_]:
        mask = np.zeros(self.size, dtype=bool)
        mask[[i for i, t in enumerate(self.texts) if condition(t)]] = True
        return mask


@dataclass(frozen=True)
class BoxGrammar:
    """A reply of zero or more box lines; ends with an end-of-turn id.

    Attributes:
        line: number of the current line.
        part: where in the line: "start", "label", "number", "closed" (after `)`) or "newline".
        number: index of the current number.
        digits: its digits so far.
        label_tokens: number of tokens of the class so far.
        named: whether the class has a letter yet; it must not be empty.
    """

    words: BoxVocabulary
    line: int = 0
    part: str = "start"
    number: int = 0
    digits: str = ""
    label_tokens: int = 0
    named: bool = False
    queue: tuple[int, ...] = ()
    finished: bool = False

    @property
    def forced(self) -> tuple[int, ...]:
        """See `ReplyGrammar.forced`."""
        if self.queue or self.finished:
            return self.queue
        allowed = self.mask()
        return (int(allowed.argmax()),) if np.count_nonzero(allowed) == 1 else ()

    @property
    def kind(self) -> TokenKind:
        """See `ReplyGrammar.kind`."""
        if self.part == "label":
            return TokenKind.LABEL
        return TokenKind.NUMBER if self.part == "number" else TokenKind.DECISION

    @property
    def ladder(self) -> NDArray[np.int64] | None:
        """See `ReplyGrammar.ladder`."""
        whole = self.part == "number" and not self.digits and self.words.whole_numbers
        return self.words.number_ids if whole else None

    def mask(self) -> NDArray[np.bool_]:
        """See `ReplyGrammar.mask`."""
        w = self.words
        if self.queue:
            return w.only(self.queue[0])
        if self.part == "start":
            return w.only(w.opening(self.line)[0], *sorted(w.ends))
        if self.part == "label":
            if self.label_tokens >= MAX_CLASS_TOKENS:
                return w.only(w.comma)
            return w.label_mask(first=self.label_tokens == 0, empty=not self.named)
        if self.part == "number":
            return self._number_mask()
        if w.joined:  # a ")" alone ends the reply
            return w.only(*sorted(w.ends))
        return w.only(w.newline, *sorted(w.ends))

    def advance(self, token: int) -> BoxGrammar:
        """See `ReplyGrammar.advance`."""
        w = self.words
        if self.queue:
            return replace(self, queue=self.queue[1:])
        if token in w.ends:
            return replace(self, finished=True)
        if self.part == "start":
            return replace(self, part="label", queue=w.opening(self.line)[1:])
        if self.part == "label":
            if token == w.comma:
                return replace(self, part="number", number=0, digits="")
            return replace(self, label_tokens=self.label_tokens + 1, named=self.named or w.says(token))
        if self.part == "number" and token in w.digits:
            return replace(self, digits=self.digits + w.digits[token])
        if token == w.comma:
            return replace(self, number=self.number + 1, digits="")
        if token == w.close:
            return replace(self, part="closed")
        if token == w.newline:  # a separate newline is followed by a line
            return self._next_line(queue=w.opening(self.line + 1), part="label")
        return self._next_line(queue=(), part="start")

    def _next_line(self, queue: tuple[int, ...], part: str) -> BoxGrammar:
        return BoxGrammar(self.words, line=self.line + 1, part=part, queue=queue)

    def _number_mask(self) -> NDArray[np.bool_]:
        w = self.words
        last = self.number == len(FIELDS) - 1
        ends = ((w.close, w.close_newline) if w.joined else (w.close,)) if last else (w.comma,)
        if self.digits and (w.whole_numbers or len(self.digits) == 3):
            return w.only(*ends)
        return w.number_mask(self.digits, ends)
