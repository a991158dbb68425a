"""Guesses of what a reply says next, which one pass of the model checks together.

A draft changes no token: the model keeps it only as far as it would have chosen the same ids itself. A wrong guess
costs a few more rows of a pass that is made anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary, Grammar
from n3d_core.language.structured import ANGLE_ZERO, FIELDS

SHORT_DRAFT = 3  # tokens of a draft that is a mere guess; doubled each time that a whole draft was right
LONG_DRAFT = 24
LONG_PREPARED = 48  # tokens of a draft from a prepared reply, which is right more often than not
LONGEST_MATCH = 24  # tokens before a draft that are compared
_NEARBY = 16  # tokens around a place in a prepared reply, to find it again behind what the model said otherwise

Ids = NDArray[np.int64]


class Drafter(Protocol):
    """Guesses within one reply."""

    def propose(self, known: Ids, grammar: Grammar, most: int) -> list[int]:
        """At most `most` ids that may come next.

        Args:
            known: [N] ids of the prompt and of the reply so far.
            grammar: the reply's state.
        """

    def judge(self, right: bool) -> None:
        """Learns whether all of the last draft was right."""


class Lookup:
    """Goes on with a prepared reply, or repeats what followed the place that shares most with what was said last.

    Args:
        prepared: ids of the whole reply as it is expected, where it can be; empty otherwise.
    """

    def __init__(self, prepared: Sequence[int] = ()) -> None:
        self._prepared = np.array(prepared, np.int64)
        self._place = 0  # in the prepared reply, of the next id
        self._seen = -1  # ids that were known at the last look
        self.length = LONG_PREPARED if len(self._prepared) else SHORT_DRAFT

    def propose(self, known: Ids, grammar: Grammar, most: int) -> list[int]:
        """See `Drafter.propose`. Of several places in the context that share as much the last one counts."""
        most = min(most, self.length)
        if len(self._prepared):
            self._follow(known)
            found = self._prepared[self._place : self._place + most]
            if len(found):
                return [int(i) for i in found]
        place, shared = _after_longest_match(known, known)
        return [int(i) for i in known[place : place + most]] if shared else []

    def judge(self, right: bool) -> None:
        """See `Drafter.judge`: a prepared reply is trusted beyond the place where it was wrong."""
        if not len(self._prepared):
            self.length = min(2 * self.length, LONG_DRAFT) if right else SHORT_DRAFT

    def _follow(self, known: Ids) -> None:
        """Moves on in the prepared reply by what was said since the last look.

        An id that differs takes the place of one there, unless the pair that it ends stands nearby: then the model left
        something out, or put something in between.
        """
        first, self._seen = (len(known) if self._seen < 0 else self._seen), len(known)
        for i in range(first, len(known)):
            place, prepared = self._place, self._prepared
            if place < len(prepared) and prepared[place] == known[i]:
                self._place += 1
                continue
            start, stop = max(1, place - _NEARBY), min(place + _NEARBY, len(prepared))
            pairs = np.flatnonzero(
                (prepared[start:stop] == known[i]) & (prepared[start - 1 : max(stop - 1, 0)] == known[i - 1])
            )
            near = min((int(k) + start for k in pairs), key=lambda k: abs(k - place), default=None)
            self._place = place + 1 if near is None else near + 1


def _after_longest_match(text: Ids, said: Ids) -> tuple[int, int]:
    """Where a text goes on after the ids that were said last, and how many of them it shares there; (0, 0) if none."""
    if len(said) == 0 or len(text) == 0:
        return 0, 0
    ends = np.flatnonzero(text[:-1] == said[-1])
    shared = 1
    if len(ends) == 0:
        return 0, 0
    for back in range(1, min(LONGEST_MATCH, len(said))):
        longer = ends[ends >= back]
        longer = longer[text[longer - back] == said[-1 - back]]
        if len(longer) == 0:
            break
        ends, shared = longer, shared + 1
    return int(ends[-1]) + 1, shared


class BoxLines:
    """Writes on what is nearly certain in lines of boxes: one more line, the class that was asked for, no rotation.

    Args:
        label: the class that is asked for; empty where any may come.
    """

    def __init__(self, words: BoxVocabulary, label: str = "") -> None:
        self._words = words
        self._angle = words.tokenizer.encode(str(ANGLE_ZERO))
        self._label = _label_ids(words, label) if label else []

    def propose(self, known: Ids, grammar: Grammar, most: int) -> list[int]:
        """See `Drafter.propose`: what the grammar forces and what can be guessed, up to a number that cannot."""
        found: list[int] = []
        while isinstance(grammar, BoxGrammar) and len(found) < most and not grammar.finished:
            token = grammar.forced[0] if grammar.forced else self._guess(grammar, [*known[-LONGEST_MATCH:], *found])
            if token is None:
                break
            found.append(token)
            grammar = grammar.advance(token)
        return found

    def judge(self, right: bool) -> None:
        """See `Drafter.judge`: a wrong guess says nothing of the next."""

    def _guess(self, state: BoxGrammar, said: list[int]) -> int | None:
        words = self._words
        if state.part == "start":
            return words.opening(state.line)[0]
        if state.part == "closed":
            return None if words.joined else words.newline
        if state.part == "label":
            done = state.label_tokens
            same = done < len(self._label) and said[len(said) - done :] == self._label[:done]
            return self._label[done] if same else None
        if state.number == FIELDS.index("angle_y"):
            done = len(state.digits) if not words.whole_numbers else int(bool(state.digits))
            return self._angle[done] if done < len(self._angle) else None
        return None


def _label_ids(words: BoxVocabulary, label: str) -> list[int]:
    """How a line spells a class, up to the comma behind it; empty where that cannot be told from the tokens."""
    ids, opening = words.tokenizer.encode(f"bbox_0=Bbox({label},1"), words.opening(0)
    if tuple(ids[: len(opening)]) != opening or words.comma not in ids[len(opening) :]:
        return []
    return ids[len(opening) : ids.index(words.comma, len(opening)) + 1]
