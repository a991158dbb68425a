"""The grammar of a reply that reasons and then answers: free text in the thought, then one of the possible answers.

Answers are texts, and any tokenisation of them is allowed, so the model keeps the one it was trained on. A token may
span the marks of the thought, as some of Qwen's do.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from n3d_core.language.box_grammar import BoxVocabulary, TokenKind
from n3d_core.reasoning.replies import DIGIT

THINK, END_THINK = "<think>", "</think>"
LEADS = ("", " ", "\n", "\n\n")  # allowed between a thought and its answer
MAX_THOUGHT = 768  # tokens; then the thought is closed so that an answer follows
FREE_ANSWER = 128  # tokens kept for an answer of unknown length
_DIGITS = frozenset("0123456789")
_ANY_DIGIT = re.compile("[0-9]")


class _Lexicon:
    """Sorted texts with their tokens, to look up matches without trying them all."""

    def __init__(self, pairs: Iterable[tuple[str, int]]) -> None:
        tokens: dict[str, list[int]] = {}
        for text, token in pairs:
            tokens.setdefault(text, []).append(token)
        self.texts = sorted(tokens)
        self.tokens = [tokens[text] for text in self.texts]

    def starting_with(self, beginning: str) -> range:
        """Indices of the texts with this prefix."""
        return range(bisect_left(self.texts, beginning), bisect_left(self.texts, beginning + chr(0x10FFFF)))

    def fitting(self, rests: frozenset[str], said: str = "") -> Iterator[int]:
        """Tokens that begin with the given text and continue like one of the rests."""
        place = bisect_left(self.texts, said)
        if place == len(self.texts) or not self.texts[place].startswith(said):
            return
        if said and self.texts[place] == said:
            yield from self.tokens[place]
        heads = _heads(rests)
        for head in heads | _DIGITS if DIGIT in heads else heads:
            yield from self.fitting(after(rests, head), said + head)


class Spelling:
    """A vocabulary's tokens by text, and by shape: the text with `DIGIT` for each digit.

    For arbitrary numbers there are few shapes but many texts.
    """

    def __init__(self, words: BoxVocabulary) -> None:
        self.words, self.texts = words, words.texts
        spoken = [(text, i) for i, text in enumerate(self.texts) if text and i not in words.ends]
        self._by_text = _Lexicon(spoken)
        self._by_shape = _Lexicon((_ANY_DIGIT.sub(DIGIT, text), i) for text, i in spoken)
        self._closing = [i for text, i in spoken if ">" in text]
        self._silent = [i for i, text in enumerate(self.texts) if not text]
        self._longest = max((len(text) for text, _ in spoken), default=0)
        self._letters = {text for text in self._by_text.texts if len(text) == 1}

    def spells(self, texts: Iterable[str]) -> bool:
        """Whether each character of some texts is a token, so that every partial spelling can be completed."""
        return set("".join(texts)) - {DIGIT} <= self._letters

    def text_mask(self, rests: frozenset[str], opening: str | None) -> NDArray[np.bool_]:
        """[vocab] tokens that continue (or end) one of the rests, or open a thought that has not been opened yet."""
        literal = any(_ANY_DIGIT.search(rest, 0, self._longest) for rest in rests)  # within reach of one token
        lexicon = self._by_text if literal else self._by_shape
        fitting = set(lexicon.fitting(rests))
        if opening is not None:
            fitting |= set(self._by_text.fitting(frozenset({opening}))) | self._opening(opening)
        mask = np.zeros(self.words.size, dtype=bool)
        mask[list(fitting | (self.words.ends if "" in rests else set()))] = True
        return mask

    def thought_mask(self, tail: str, answers: frozenset[str]) -> NDArray[np.bool_]:
        """[vocab] tokens that may follow a thought ending in `tail`: all except those that end it invalidly."""
        mask = np.ones(self.words.size, dtype=bool)
        mask[list(self.words.ends)] = False
        if tail:
            mask[self._silent] = False  # tokens without text must not hide a mark that has begun
        for token in self._closing:
            _, closed, said = (tail + self.texts[token]).partition(END_THINK)
            mask[token] = not closed or bool(after(answers, said))
        return mask

    def _opening(self, opening: str) -> set[int]:
        """Tokens that open a thought, and possibly begin its text."""
        lexicon = self._by_text
        places = (p for p in lexicon.starting_with(opening) if END_THINK not in lexicon.texts[p])
        return {token for p in places for token in lexicon.tokens[p]}


def after(texts: frozenset[str], said: str) -> frozenset[str]:
    """The remainders of those texts that begin with the given text."""
    for c in said:
        texts = _after(texts, DIGIT if c in _DIGITS and c not in _heads(texts) else c)
    return texts


@lru_cache(maxsize=256)  # hundreds of answers and a thousand number tokens share a few dozen steps
def _after(texts: frozenset[str], c: str) -> frozenset[str]:
    return frozenset(t[1:] for t in texts if t and (t[0] == c or (t[0] == DIGIT and c in _DIGITS)))


@lru_cache(maxsize=256)
def _heads(texts: frozenset[str]) -> frozenset[str]:
    """The first letters of some texts."""
    return frozenset(t[0] for t in texts if t)


def split_reply(reply: str) -> tuple[str, str]:
    """(reasoning, answer) of a second reply. Without the marks of a thought all of it is the answer; a truncated
    thought has no answer."""
    before, closed, after = reply.partition(END_THINK)
    if not closed and THINK not in reply:
        return "", reply.strip()
    return before.replace(THINK, "").strip(), after.strip()


def answer_room(answers: Iterable[str]) -> int:
    """Upper bound for the tokens of the longest answer, including its closing mark and the end of the turn."""
    return max((len(answer) for answer in answers), default=FREE_ANSWER) + len(END_THINK) + 3


@dataclass(frozen=True)
class FreeReply:
    """Any text up to the end of the turn. A thought that uses up its budget is closed so that an answer follows.

    Attributes:
        budget: tokens left for the thought.
        head, tail: first and last characters that may be part of a thought's marks.
        closed: whether the thought has ended.
    """

    words: BoxVocabulary
    budget: int = MAX_THOUGHT
    head: str = ""
    tail: str = ""
    closed: bool = False
    queue: tuple[int, ...] = ()
    finished: bool = False
    kind: TokenKind = TokenKind.TEXT
    ladder: None = None

    @property
    def forced(self) -> tuple[int, ...]:
        """See `ReplyGrammar.forced`."""
        return self.queue

    def mask(self) -> NDArray[np.bool_] | None:
        """See `ReplyGrammar.mask`."""
        return self.words.only(self.queue[0]) if self.queue else None

    def advance(self, token: int) -> FreeReply:
        """See `ReplyGrammar.advance`."""
        if token in self.words.ends:
            return replace(self, finished=True)
        if self.closed:
            return self
        if self.queue:
            return replace(self, queue=self.queue[1:], closed=len(self.queue) == 1)
        said = self.words.texts[token] if token < len(self.words.texts) else ""
        head = (self.head + said).lstrip()[: len(THINK)]
        if not THINK.startswith(head):
            return replace(self, closed=True)  # an answer without a thought
        tail = self.tail + said
        left, closed = self.budget - 1, END_THINK in tail
        queue = () if left > 0 or closed else tuple(self.words.tokenizer.encode(END_THINK))
        return replace(self, budget=left, head=head, tail=tail[-len(END_THINK) :], closed=closed, queue=queue)


@dataclass(frozen=True)
class ThoughtThenAnswer:
    """One of the given answers, with or without a thought before it; then the end of the turn.

    Attributes:
        answers: with their possible leads; see `answering`.
        budget: tokens left for the thought.
        tail: inside a thought, its last characters that may be part of the closing mark; else None.
        rests: outside a thought, the remainders of the allowed texts.
        opening: remainder of the mark that opens a thought, while it may still come.
    """

    spelling: Spelling
    answers: frozenset[str]
    budget: int
    tail: str | None
    rests: frozenset[str]
    opening: str | None
    finished: bool = False
    kind: TokenKind = TokenKind.TEXT
    ladder: None = None
    masks: dict[object, NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def answering(cls, spelling: Spelling, answers: Iterable[str], budget: int = MAX_THOUGHT) -> ThoughtThenAnswer:
        """The initial state for a reply that ends in one of the answers; `DIGIT` in them stands for any digit."""
        plain = frozenset(answers)
        led = frozenset(lead + answer for lead in LEADS for answer in plain)
        return cls(spelling, led, budget, None, plain, THINK)

    @property
    def forced(self) -> tuple[int, ...]:
        """See `ReplyGrammar.forced`."""
        if self.tail is not None or self.finished:
            return ()
        allowed = self.mask()
        return (int(allowed.argmax()),) if np.count_nonzero(allowed) == 1 else ()

    def mask(self) -> NDArray[np.bool_]:
        """See `ReplyGrammar.mask`."""
        key = (self.rests, self.opening) if self.tail is None else self.tail
        if key not in self.masks:
            if self.tail is None:
                self.masks[key] = self.spelling.text_mask(self.rests, self.opening)
            else:
                self.masks[key] = self.spelling.thought_mask(self.tail, self.answers)
        return self.masks[key]

    def advance(self, token: int) -> ThoughtThenAnswer:
        """See `ReplyGrammar.advance`."""
        if token in self.spelling.words.ends:
            return replace(self, finished=True)
        text = self.spelling.texts[token] if token < len(self.spelling.texts) else ""
        if self.tail is not None:
            return self._thinking(self.tail + text)
        if self.opening is not None and text.startswith(self.opening):
            return replace(self, rests=frozenset(), opening=None)._thinking(text.removeprefix(self.opening))
        still = self.opening is not None and self.opening.startswith(text)
        opening = self.opening.removeprefix(text) if self.opening is not None and still else None
        return replace(self, rests=after(self.rests, text), opening=opening)

    def _thinking(self, text: str) -> ThoughtThenAnswer:
        _, closed, said = text.partition(END_THINK)
        if closed:
            return replace(self, tail=None, rests=after(self.answers, said))
        if self.budget <= 1:
            return replace(self, tail=None, rests=frozenset(END_THINK + answer for answer in self.answers))
        begun = ""
        if END_THINK[0] in text:
            begun = next(END_THINK[:n] for n in range(len(END_THINK) - 1, -1, -1) if text.endswith(END_THINK[:n]))
        return ThoughtThenAnswer(
            self.spelling, self.answers, self.budget - 1, begun, self.rests, self.opening, masks=self.masks
        )  # `replace` takes four times as long, and runs for every token of a thought
