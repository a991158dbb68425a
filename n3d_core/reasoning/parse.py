"""Reads a question, or noun phrases: text in, typed question out.

One grammar (`questions.grammar`) covers whole sentences. A sentence that it does not consume to the end, or that
has two meanings, is `NotUnderstood`. Sentences before the question may say what "it" and "them" are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from n3d_core.reasoning.constituents import IT, ONE, THEM, AskedUnit, Context, in_unit
from n3d_core.reasoning.grammar import Grammar, NoReadingError, TooManyReadingsError
from n3d_core.reasoning.lexicon import LISTS, TERMINALS, Word, hold_names, is_foreign, normal_text, words_of
from n3d_core.reasoning.meaning import SIMPLE, Meaning
from n3d_core.reasoning.question import CAMERA_PHRASE, NotUnderstood, Phrase, Question
from n3d_core.reasoning.references import resolved_phrases, resolved_question, wanted_by

_T = TypeVar("_T")
MAX_CHARACTERS = 600
"""Longer texts are refused."""
MAX_WORDS = 70
"""Longer sentences are refused, as the cost of parsing grows faster than the text."""


def read_question(text: str, names: Sequence[str] = ()) -> Question | NotUnderstood:
    """Reads one question.

    Args:
        text: an English question, perhaps after sentences that say what "it" and "them" are.
        names: names that the caller gave to objects; they are matched whole, whatever words they contain.
    """
    if len(text) > MAX_CHARACTERS:
        return _too_long(text)
    read = [_read(sentence) for sentence in _sentences(text, names)]
    for not_understood in (r for r in read if isinstance(r, NotUnderstood)):
        return not_understood
    return _one_question([r for r in read if isinstance(r, _Read)])


@dataclass(frozen=True)
class _Read:
    """What a sentence may ask and what it may state. "The mug is on the table." can be either."""

    sentence: Sentence
    asks: Sequence[Question] = ()
    tells: tuple[Any, ...] = ()
    certain: bool = True


def _read(sentence: Sentence) -> _Read | NotUnderstood:
    asked = sentence.readings("question")
    told = [] if asked and sentence.mark == "?" else sentence.readings("context")
    if asked or told:
        return _Read(sentence, asked, tuple(told[:1]), certain=not (asked and told))
    bare, unit = sentence.without_unit()
    if unit is not None and (asked := bare.readings("question")):
        return _Read(sentence, asked, (unit,))
    if led := _told_first(sentence, 2):
        return led
    if asked := sentence.readings("loose"):
        return _Read(sentence, asked)
    return sentence.why_not()


def _told_first(sentence: Sentence, most: int) -> _Read | None:
    """A question after one or more statements in the same sentence: "I have two mugs, which one is taller?"."""
    for at in sentence.places_of(",", ":", "-", "and")[:6]:
        before, after = sentence.split(at)
        told = before.readings("context") or ([] if before.foreign() else before.readings("topic"))
        if not told:
            continue
        asked = after.readings("question")
        rest = _Read(after, asked) if asked else _told_first(after, most - 1) if most > 1 else None
        if rest is not None:
            return _Read(sentence, rest.asks, (told[0], *rest.tells))
    return None


def _one_question(read: list[_Read]) -> Question | NotUnderstood:
    """The question of a text: the sentence that can only be a question, or the last one that can be one."""
    asking = [r for r in read if r.asks and r.certain] or [r for r in read if r.asks][-1:]
    if len(asking) > 1 and any(p in (IT, THEM, ONE) for q in asking[-1].asks for p in q.phrases):
        # "Do you see the mug? How tall is it?"
        asking, shown = (
            asking[-1:],
            [q.objects for r in asking[:-1] for q in r.asks if q.type in ("exists", "position")],
        )
        read = [*(_Read(r.sentence, (), (Context(objects),)) for r, objects in zip(read, shown, strict=False)), *read]
    told = [t for r in read if r not in asking or r.certain for t in r.tells]
    meant: list[Question] = []
    for sentence in asking:
        found, unclear = _resolved(sentence, told)
        if len(found) > 1:
            return sentence.sentence.not_understood("can be read in more than one way")
        if not found:
            return sentence.sentence.not_understood(unclear)
        meant = list(dict.fromkeys([*meant, *found]))
    if not meant:
        return NotUnderstood("wording", "There is no question in the text.")
    if len(meant) > 1:
        return NotUnderstood("several", "There are several questions in the text: ask them one by one.")
    return _without_contradiction(meant[0], meant[0].phrases)


def _resolved(read: _Read, told: Sequence[Any]) -> tuple[list[Question], str]:
    """The meanings that a question can have after the sentences before it, or why it has none."""
    found: list[Question] = []
    unclear = ""
    for question in read.asks:
        try:
            meant = resolved_question(question, told)
            for unit in (t for t in told if isinstance(t, AskedUnit) and t.symbol):
                meant = in_unit(meant, unit.symbol)
            found.append(meant)
        except NoReadingError as reason:
            unclear = unclear or str(reason)
    found = list(dict.fromkeys(found))
    for weaker in ("exists", "place", "height"):
        # "Is the mug on the table in this image?" does not ask whether there is one; "Is the lamp next to the car left
        # of the ball?" asks about the direction, and the place says which lamp; "How high is the lamp above the floor?"
        # does not ask for the height of one that is above it.
        found = [q for q in found if q.type != weaker] or found
    found = [q for q in found if q.type == "extreme"] or found  # "taller than any box" is not about one of them
    return found, unclear


def _without_contradiction(meant: _T, phrases: Sequence[Phrase]) -> _T | NotUnderstood:
    for phrase in phrases:
        if len(set(phrase.colors)) > 1:
            return NotUnderstood("contradictory", f"'{phrase.text}' cannot be {' and '.join(phrase.colors)} at once.")
    return meant


def read_phrases(text: str) -> tuple[Phrase, ...] | NotUnderstood:
    """The noun phrases of a text that says what to look for: "all the mugs", "red mug, blue box and the ball"."""
    if len(text) > MAX_CHARACTERS:
        return _too_long(text)
    sentence = Sentence.of(text.strip(" .?!;,"), ())
    if sentence.foreign():
        return _LANGUAGE
    found = sentence.readings("wanted")
    if not found:
        question = read_question(text)
        if isinstance(question, NotUnderstood):
            return question
        found = [wanted_by(question)] if wanted_by(question) else []
    hands = TERMINALS["_GRIPPER"]  # "put your hand on the ball": it is not the hand that is looked for
    found = [f for f in found if not any(p.noun in hands for p in f)] or found
    meant, unclear = [], ""
    for phrases in found:
        try:
            meant.append(resolved_phrases(phrases))
        except NoReadingError as reason:
            unclear = str(reason)
    meant = list(dict.fromkeys(meant))
    return _without_contradiction(meant[0], meant[0]) if len(meant) == 1 else sentence.not_understood(unclear)


NOT_GEOMETRY = "Boxes do not tell that: they have places and sizes."
_LANGUAGE = NotUnderstood("language", "Only English is understood: ask in English, please.")


def _too_long(text: str) -> NotUnderstood:
    return NotUnderstood("too_long", f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are read.")


@cache
def _grammar() -> Grammar:
    return Grammar(files("n3d_core.reasoning").joinpath("questions.grammar").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Sentence:
    """The words of one sentence of a normal text."""

    words: tuple[Word, ...]
    text: str
    mark: str = ""

    @staticmethod
    def of(text: str, names: Sequence[str]) -> Sentence:
        """All of a text as one sentence."""
        marked, table = hold_names(text, names)
        normal, words = words_of(normal_text(marked), table, _grammar().literals)
        return Sentence(tuple(words), normal)._tidy()

    def sentences(self) -> Iterator[Sentence]:
        """The sentences of a text."""
        start = 0
        for i, word in enumerate((*self.words, None)):
            if word is None or word.text in (".", "?", "!", ";"):
                if i > start:
                    yield replace(self, words=self.words[start:i], mark=word.text if word else "")._tidy()
                start = i + 1

    def __str__(self) -> str:
        return self.text[self.words[0].start : self.words[-1].end] if self.words else ""

    def _tidy(self) -> Sentence:
        """Drops the leading, trailing and repeated commas that dropped words leave behind."""
        kept: list[Word] = []
        for word in self.words:
            if word.text not in (",", ":") or (kept and kept[-1].text not in (",", ":")):
                kept.append(word)
        while kept and kept[-1].text in (",", ":"):
            kept.pop()
        return replace(self, words=tuple(kept))

    def places_of(self, *marks: str) -> list[int]:
        """Where one of some words or marks stands, not at an end."""
        return [i for i, w in enumerate(self.words) if w.text.lower() in marks and 0 < i < len(self.words) - 1]

    def split(self, at: int) -> tuple[Sentence, Sentence]:
        """What stands before and after a word."""
        return replace(self, words=self.words[:at])._tidy(), replace(self, words=self.words[at + 1 :])._tidy()

    def without_unit(self) -> tuple[Sentence, AskedUnit | None]:
        """The sentence without a unit in the middle of it ("in cm"), and that unit."""
        for at in self.places_of("in", "using"):
            if "UNIT" in self.words[at + 1].meanings:
                rest = replace(self, words=(*self.words[:at], *self.words[at + 2 :]))._tidy()
                return rest, AskedUnit(self.words[at + 1].meanings["UNIT"])
        return self, None

    def readings(self, start: str) -> list[Any]:
        """Its meanings by a rule of the grammar; if there are none, those without its commas."""
        found = _readings(self.words, self.text, start)
        if not found and self.places_of(","):
            found = _readings([w for w in self.words if w.text != ","], self.text, start)
        return found

    def phrases(self) -> tuple[Phrase, ...]:
        """Noun phrases in it that begin with an article or a name."""
        found: list[Phrase] = []
        at = 0
        while at < len(self.words):
            length = 0
            if self.words[at].meanings.keys() & {"the", "a", "an", "this", "that", "my", "your", "NAME"}:
                for end in range(min(len(self.words), at + 12), at, -1):
                    read = _readings(self.words[at:end], self.text, "phrase")
                    if read and not any(p.noun.startswith("\0") for p in read[0].parts):
                        found.append(read[0])
                        length = end - at
                        break
            at += max(length, 1)
        return tuple(dict.fromkeys(p for p in found if p != CAMERA_PHRASE))

    def foreign(self) -> bool:
        """Whether it is in a language other than English."""
        return is_foreign(self.text, self.words)

    def why_not(self) -> NotUnderstood:
        """Why it is not understood."""
        if self.foreign():
            return _LANGUAGE
        halves = [self.split(at) for at in self.places_of("and", "or", ",")[:6]]
        if any(a.readings("question") and b.readings("question") for a, b in halves):
            return NotUnderstood("several", "There are several questions in the text: ask them one by one.")
        words = [w.text.lower() for w in self.words]
        if not LISTS["off_topic"].isdisjoint(words) or (self.words and "QUALITY" in self.words[-1].meanings):
            return NotUnderstood("not_geometry", NOT_GEOMETRY, self.phrases())
        return self.not_understood()

    def not_understood(self, why: str = "") -> NotUnderstood:
        """Not understood for its wording, or because something in it is unclear."""
        return NotUnderstood("wording", f"'{self}' {why or 'is not understood'}.", self.phrases())


def _sentences(text: str, names: Sequence[str]) -> list[Sentence]:
    return list(Sentence.of(text, names).sentences())


def _readings(words: Sequence[Word], text: str, start: str) -> list[Any]:
    """The distinct meanings of a sentence; empty if the grammar does not consume it to the end."""

    def mean(alias: str, children: tuple[Any, ...], begin: int, end: int) -> Any:
        name, *arguments = alias.split(".")
        method: Callable[..., Any] | None = getattr(Meaning, name, None) if name else None
        if method is not None:
            said = text[words[begin].start : words[end - 1].end] if end > begin else ""
            return method(Meaning(said), *arguments, *children)
        if name in SIMPLE:
            return SIMPLE[name](*arguments, *children)
        if name == "nothing" or not (name or children):
            return None
        if len(children) > 1 or (name and children):
            raise TypeError(f"the grammar's alias {alias!r} has children and no meaning")
        return name or children[0]

    if len(words) > MAX_WORDS:
        return []
    try:
        return _grammar().readings(start, words, mean)
    except TooManyReadingsError:
        return []
