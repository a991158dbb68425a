"""Reads a question, or noun phrases: text in, typed question out.

One grammar (`questions.grammar`) covers whole sentences. What it does not consume whole, and what it reads in two ways
that mean different things, is `NotUnderstood`; nothing is guessed. Several sentences may lead up to one question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from n3d_core.reasoning.grammar import Grammar, NoReadingError, TooManyReadingsError
from n3d_core.reasoning.lexicon import FOREIGN, OFF_TOPIC, OTHER_SCRIPTS, Word, hold_names, normal_text, words_of
from n3d_core.reasoning.meaning import Context, Meaning, Unit, in_unit, mentioned, resolved_question, wanted_by
from n3d_core.reasoning.question import CAMERA_PHRASE, NotUnderstood, Phrase, Question

MAX_CHARACTERS = 600
"""Longer texts are not read."""
MAX_WORDS = 70
"""In a sentence; the parser's cost grows faster than the text."""


def read_question(text: str, names: Sequence[str] = ()) -> Question | NotUnderstood:
    """What a question asks for.

    Args:
        text: English: one question, and perhaps sentences before it that say what "it" and "them" are.
        names: names that the caller gave to objects: matched whole, whatever words they hold.
    """
    if len(text) > MAX_CHARACTERS:
        return _too_long(text)
    told: list[Context | Unit] = []
    questions: list[Question] = []
    for sentence in _sentences(text, names):
        asked, before = _ask(sentence)
        if isinstance(asked, NotUnderstood):
            return asked
        if questions and any(isinstance(b, Context) for b in before):
            return sentence.not_understood()
        told += before
        questions += asked
    return _one_question(questions, told)


def _ask(sentence: Sentence) -> tuple[list[Question] | NotUnderstood, list[Context | Unit]]:
    """The question of a sentence and what it tells, or either."""
    asked = sentence.readings("question")
    if len(asked) == 1:
        return asked, []
    if asked:
        return NotUnderstood("wording", f"'{sentence}' can be read in more than one way.", sentence.phrases()), []
    told = sentence.readings("context")
    if told:
        return [], told[:1]
    for at in sentence.places_of(",", ":", "and"):
        before, after = sentence.split(at)
        told, asked = before.readings("context"), after.readings("question")
        if told and len(asked) == 1:
            return asked, told[:1]
    return sentence.why_not(), []


def _one_question(questions: list[Question], told: list[Context | Unit]) -> Question | NotUnderstood:
    if not questions:
        return NotUnderstood("wording", "There is no question in the text.")
    contexts = [t for t in told if isinstance(t, Context)]
    try:
        resolved = list(dict.fromkeys(resolved_question(q, contexts) for q in questions))
        if len(resolved) > 1:
            return NotUnderstood("several", "There are several questions in the text: ask them one by one.")
        for unit in (t for t in told if isinstance(t, Unit) and t.symbol):
            resolved = [in_unit(resolved[0], unit)]
    except NoReadingError as unclear:
        return NotUnderstood("wording", str(unclear) or "The question is not understood.")
    for phrase in mentioned(resolved[0]):
        if len(set(phrase.colors)) > 1:
            return NotUnderstood("contradictory", f"'{phrase.text}' cannot be {' and '.join(phrase.colors)} at once.")
    return resolved[0]


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
    if len(found) != 1:
        return sentence.not_understood()
    phrases = tuple(dict.fromkeys(found[0]))
    for phrase in phrases:
        if phrase.noun.startswith("\0"):
            return NotUnderstood("wording", f"It is unclear what '{phrase.text}' is.")
        if len(set(phrase.colors)) > 1:
            return NotUnderstood("contradictory", f"'{phrase.text}' cannot be {' and '.join(phrase.colors)} at once.")
    return phrases


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

    @staticmethod
    def of(text: str, names: Sequence[str]) -> Sentence:
        """All of a text as one sentence."""
        marked, table = hold_names(text, names)
        normal = normal_text(marked)
        return Sentence(tuple(words_of(normal, table, _grammar().literals)), normal)._tidy()

    def sentences(self) -> Iterator[Sentence]:
        """The sentences of a text."""
        start = 0
        for i, word in enumerate((*self.words, None)):
            if word is None or word.text in (".", "?", "!", ";"):
                if i > start:
                    yield replace(self, words=self.words[start:i])._tidy()
                start = i + 1

    def __str__(self) -> str:
        return self.text[self.words[0].start : self.words[-1].end] if self.words else ""

    def _tidy(self) -> Sentence:
        """Without commas at the ends and repeated ones, which dropped words leave behind."""
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

    def readings(self, start: str) -> list[Any]:
        """What it may mean by a rule of the grammar: with its commas, else without them."""
        found = _readings(self.words, self.text, start)
        if not found and self.places_of(","):
            found = _readings([w for w in self.words if w.text != ","], self.text, start)
        return found

    def phrases(self) -> tuple[Phrase, ...]:
        """The noun phrases with an article or a name in it, as far as they are understood."""
        found: list[Phrase] = []
        at = 0
        while at < len(self.words):
            length = 0
            if self.words[at].types & {"the", "a", "an", "this", "that", "my", "your", "NAME"}:
                for end in range(min(len(self.words), at + 12), at, -1):
                    read = _readings(self.words[at:end], self.text, "phrase")
                    if read and not read[0].noun.startswith("\0"):
                        found.append(read[0])
                        length = end - at
                        break
            at += max(length, 1)
        return tuple(dict.fromkeys(p for p in found if p != CAMERA_PHRASE))

    def foreign(self) -> bool:
        """Whether it is in another language."""
        return any(w.text.lower() in FOREIGN for w in self.words) or bool(OTHER_SCRIPTS.search(self.text))

    def why_not(self) -> NotUnderstood:
        """Why it is not understood."""
        if self.foreign():
            return _LANGUAGE
        halves = [self.split(at) for at in self.places_of("and", "or", ",")]
        if any(a.readings("question") and b.readings("question") for a, b in halves):
            return NotUnderstood("several", "There are several questions in the text: ask them one by one.")
        words = [w.text.lower() for w in self.words]
        if any(word in OFF_TOPIC for word in words) or (self.words and "QUALITY" in self.words[-1].types):
            return NotUnderstood("not_geometry", "Boxes do not tell that: they have places and sizes.", self.phrases())
        return self.not_understood()

    def not_understood(self) -> NotUnderstood:
        """That it is worded in a way which the grammar does not know."""
        return NotUnderstood("wording", f"'{self}' is not understood.", self.phrases())


def _sentences(text: str, names: Sequence[str]) -> list[Sentence]:
    return list(Sentence.of(text, names).sentences())


def _readings(words: Sequence[Word], text: str, start: str) -> list[Any]:
    """What a sentence may mean, each meaning once; nothing where the grammar does not consume it whole."""

    def mean(alias: str, children: tuple[Any, ...], begin: int, end: int) -> Any:
        if alias == "nothing":
            return None
        method: Callable[..., Any] | None = getattr(Meaning, alias, None)
        if method is not None:
            meaning = Meaning(text[words[begin].start : words[end - 1].end] if end > begin else "")
            return method(meaning, *children)
        if not children:
            return alias
        if len(children) > 1:
            raise TypeError(f"the grammar's {alias!r} has {len(children)} children and no meaning")
        return children[0]

    if len(words) > MAX_WORDS:
        return []
    try:
        return _grammar().readings(start, words, mean)
    except TooManyReadingsError:
        return []
