"""Guesses of a reply's next tokens, which one pass of the model checks together.

Drafts do not change the output: the model keeps only ids that it would have chosen itself. A wrong guess costs a few
more rows in a pass that is made anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary, ReplyGrammar
from n3d_core.language.structured import ANGLE_ZERO, FIELDS

SHORT_DRAFT = 3  # tokens of a guessed draft; doubled each time a whole draft was right
LONG_DRAFT = 24
LONG_PREPARED = 48  # tokens of a draft from a prepared reply: longer ones cost a CPU more than the pass that they save
LONGEST_MATCH = 24  # tokens before a draft that are compared for a match
_SHORT_PREPARED = 4
_SURE = 2  # matching tokens after which the place in a prepared reply is not in doubt
_REPEATED = 2  # matching tokens more than in a prepared reply, for which the model is taken to repeat itself
_NEARBY = 16  # tokens searched around the position in a prepared reply after the model deviates from it

Ids = NDArray[np.int64]


class Drafter(Protocol):
    """Drafts within one reply."""

    def propose(self, known: Ids, grammar: ReplyGrammar, most: int) -> list[int]:
        """Proposes at most `most` next ids.

        Args:
            known: [N] ids of the prompt and the reply so far.
            grammar: the reply's state.
        """

    def judge(self, right: bool) -> None:
        """Reports whether all of the last draft was right."""


class Lookup:
    """Continues a prepared reply, or repeats what followed the longest match of the last tokens.

    The model may deviate from a prepared reply. A different number changes nothing about the words behind it, and where
    the reply states it again, the model's number is drafted. After different words, the reply, or another one that the
    model may have confused it with, is continued where it matches the last tokens.

    Args:
        prepared: ids of the whole expected reply; empty if unknown.
        numbers: ids that consist of digits.
        others: returns the ids of other replies; called once, when the model first deviates from the expected one.
    """

    def __init__(
        self,
        prepared: Sequence[int] = (),
        numbers: Collection[int] = frozenset(),
        others: Callable[[], Iterable[Sequence[int]]] = tuple,
    ) -> None:
        self._prepared = np.array(prepared, np.int64)
        self._numbers, self._others = numbers, others
        self._replies: list[Ids] = []  # the expected one and the others, once they are needed
        self._place = 0  # index of the next id in the prepared reply
        self._matched = _SURE  # ids that matched since the model's words deviated
        self._restated: dict[tuple[int, ...], int] = {}  # a number with the two ids before it -> the model's number
        self._seen = -1  # number of known ids at the last call
        self.length = LONG_PREPARED if len(self._prepared) else SHORT_DRAFT

    def propose(self, known: Ids, grammar: ReplyGrammar, most: int) -> list[int]:
        """See `Drafter.propose`. Of several equally long matches in the context, the last one is used."""
        if not len(self._prepared):
            return self._repeat(known, most)
        gained = len(known) - self._seen if self._seen >= 0 else 0
        self.length = max(self.length, min(2 * gained, LONG_PREPARED))
        self._follow(known)
        if self._matched < _SURE and self._is_repeating(known):
            return self._repeat(known, most)
        end = min(self._place + min(most, self.length), len(self._prepared))
        return self._drafted(self._place, end) or self._repeat(known, most)

    def judge(self, right: bool) -> None:
        """See `Drafter.judge`: a prepared reply is still used after a mistake, in shorter pieces."""
        if not len(self._prepared):
            self.length = min(2 * self.length, LONG_DRAFT) if right else SHORT_DRAFT
        elif right:
            self.length = min(2 * self.length, LONG_PREPARED)
        else:
            self.length = max(self.length // 2, _SHORT_PREPARED)

    def _is_repeating(self, known: Ids) -> bool:
        """Whether the last ids match earlier ones better than any reply; if not, continues the reply that they match.

        Keeps the place in the present reply unless another one matches more.
        """
        if not self._replies:
            self._replies = [self._prepared, *(np.array(other, np.int64) for other in self._others())]
        matches = [_after_longest_match(reply, known) for reply in self._replies]
        best = max(range(len(matches)), key=lambda i: matches[i][1])
        place, shared = matches[best]
        if _after_longest_match(known, known)[1] > max(shared, self._matched + _REPEATED):
            return True
        if shared > max(self._matched, 1):
            if self._replies[best] is not self._prepared:
                self._restated = {}
            self._prepared, self._place, self._matched = self._replies[best], place, shared
        return False

    def _repeat(self, known: Ids, most: int) -> list[int]:
        place, shared = _after_longest_match(known, known)
        return [int(i) for i in known[place : place + min(most, self.length)]] if shared else []

    def _drafted(self, start: int, end: int) -> list[int]:
        plain: list[int] = self._prepared[start:end].tolist()
        if not self._restated:
            return plain
        return [self._restated.get(self._around(start + i), token) for i, token in enumerate(plain)]

    def _around(self, place: int) -> tuple[int, ...]:
        return tuple(self._prepared[max(place - 2, 0) : place + 1].tolist())

    def _follow(self, known: Ids) -> None:
        """Advances in the prepared reply by the ids since the last call."""
        first, self._seen = (len(known) if self._seen < 0 else self._seen), len(known)
        for i in range(first, len(known)):
            place, said = self._place, int(known[i])
            if place < len(self._prepared) and self._prepared[place] == said:
                self._place, self._matched = place + 1, self._matched + 1
            elif not self._follow_number(place, said, int(known[i - 1])):
                self._place, self._matched = self._nearby(place, said, int(known[i - 1])), 0

    def _follow_number(self, place: int, said: int, before: int) -> bool:
        """Advances past a number that the model states differently, with fewer or with more digits."""
        prepared = self._prepared
        expected = place < len(prepared) and int(prepared[place]) in self._numbers
        if said in self._numbers and expected:
            self._restated[self._around(place)] = said
            self._place += 1
        elif expected:
            while place < len(prepared) and int(prepared[place]) in self._numbers:
                place += 1
            if place == len(prepared) or prepared[place] != said:
                return False
            self._place = place + 1
        else:
            return said in self._numbers and before in self._numbers
        return True

    def _nearby(self, place: int, said: int, before: int) -> int:
        """Where the prepared reply goes on after a different id: behind the same pair of ids nearby, as the model then
        omitted or inserted something; else it was a substitution."""
        prepared = self._prepared
        start, stop = max(1, place - _NEARBY), min(place + _NEARBY, len(prepared))
        pairs = np.flatnonzero((prepared[start:stop] == said) & (prepared[start - 1 : max(stop - 1, 0)] == before))
        near = min((int(k) + start for k in pairs), key=lambda k: abs(k - place), default=None)
        return place + 1 if near is None else near + 1


def _after_longest_match(text: Ids, said: Ids) -> tuple[int, int]:
    """Where a text continues after the last ids, and how many of them match there; (0, 0) without a match."""
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
    """Drafts what is nearly certain in lines of boxes: another line, the requested class, no rotation.

    Args:
        label: the requested class; empty if any class may come.
        begins: whether to draft a first line, too.
    """

    def __init__(self, words: BoxVocabulary, label: str = "", begins: bool = True) -> None:
        self._words, self._begins = words, begins
        self._angle = words.tokenizer.encode(str(ANGLE_ZERO))
        self._label = _label_ids(words, label) if label else []

    def propose(self, known: Ids, grammar: ReplyGrammar, most: int) -> list[int]:
        """See `Drafter.propose`: forced and guessed ids, up to a number that cannot be guessed."""
        found: list[int] = []
        while isinstance(grammar, BoxGrammar) and len(found) < most and not grammar.finished:
            token = grammar.forced[0] if grammar.forced else self._guess(grammar, [*known[-LONGEST_MATCH:], *found])
            if token is None:
                break
            found.append(token)
            grammar = grammar.advance(token)
        return found

    def judge(self, right: bool) -> None:
        """See `Drafter.judge`: a wrong guess says nothing about the next."""

    def _guess(self, state: BoxGrammar, said: list[int]) -> int | None:
        words = self._words
        if state.part == "start":
            return words.opening(state.line)[0] if state.line or self._begins else None
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
    """Tokens of a class in a line, up to the comma behind it; empty if the tokens are ambiguous."""
    ids, opening = words.tokenizer.encode(f"bbox_0=Bbox({label},1"), words.opening(0)
    if tuple(ids[: len(opening)]) != opening or words.comma not in ids[len(opening) :]:
        return []
    return ids[len(opening) : ids.index(words.comma, len(opening)) + 1]
