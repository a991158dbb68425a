"""Reads a question that the grammar does not, by its likeness to known wordings: a guess, and told as one.

People word one question in endless ways. A small network knows about a hundred plain questions, all of which the
grammar reads, by thousands of their wordings (`python -m training.likeness` trains it). The objects, lengths and counts
of a text become slots; the words, pairs and triples of what is left are looked up, and the mean of their vectors picks
the plain question. What people ask that boxes cannot answer is a class of its own. With its slots filled in, the
grammar reads the plain question as if it had been asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from n3d_core.reasoning.lexicon import Word, hold_names, normal_text, plural, singulars, words_of
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import NotUnderstood

LEAST_PROBABILITY = 0.6
"""Less likely questions are not answered."""
REFUSED = "REFUSE"
"""The class of what boxes cannot answer."""
SLOT = re.compile(r"\{(\w+)\}")
UNIT = "{unit}"
"""Stands for the unit that is asked for; other than a slot, any question may have it."""
_MAX_WORDS = 40
_SINGULAR = re.compile(r"(?:Which|closest|farthest|tallest|only) \{k\}(?! (?:are|is within))")
"""Plain questions whose kind stands in the singular."""
_SHORTEST, _LONG = 3, 5  # letters of words that are corrected: by a swap, by any letter
_LONGEST_TAG = 4  # words: "Would that be right?"
_FEW = ("two", "three", "2", "3")
"""Counts that need no slot: "which of the two", "number two from the left"."""
_LESS_LIKELY = 0.75
"""What a probability is worth where a wording has a cue that its plain question lacks."""
_DETERMINERS = frozenset(["the", "a", "an", "that", "this", "my", "your", "his", "her", "our", "their", "its"])
_ADJECTIVES = ("COLOR", "SHADE", "SIZE", "SMALL", "QUALITY")
_CUES = tuple(
    frozenset(words.split())
    for words in (
        "left right leftmost rightmost lefthand righthand left-hand right-hand leftward rightward",
        "front behind rear",
        "tall taller tallest short shorter shortest high higher highest height above below lower lowest top",
        "wide wider widest width narrow narrower broad broader broadest",
        "long longer longest length lengthwise deep deeper depth",
        "color",
    )
)
"""Words that no other group's question is asked with: a wording with one of them is not a question without any."""
_FRAMING = frozenset().union(*_CUES) | frozenset(
    "opposite side facing face stand standing sit sitting lie view seen if suppose imagine when move moved".split()  # noqa: SIM905
)
"""Words of sentences that say how a question is meant, though they name no object: "I'm sitting opposite you."."""
_EXCEPTIONS = frozenset(
    "not no never neither nor none except without besides excluding other others else but".split()  # noqa: SIM905
)
"""Words that turn a question around or leave something out; see `_turns_around`."""
_EXCEPTIONAL = re.compile(r"\b(?:not|besides|only)\b")
"""Plain questions that leave something out themselves."""
_ENDINGS = ("ing", "ed", "es", "s", "ly")
_MARKS = frozenset(",.?!;:\"-()'")


def likely_question(text: str, nouns: Collection[str], names: Sequence[str] = ()) -> str | None:
    """The plain question that a text most likely means, or None if none is likely enough.

    Args:
        nouns: singular nouns that are objects even without an article ("distance mug to ball").
        names: names that the caller gave to objects.
    """
    asking = _without_chatter(text, nouns, names)
    if asking != text and not isinstance(read_question(asking, names), NotUnderstood):
        return asking
    network, best = Network.shipped(), (LEAST_PROBABILITY, "")
    for said in dict.fromkeys((asking, text)):
        for tokens, slots, unit in _skeletons(said, nouns, names):
            probability, plain = network.likeliest(tokens, slots)
            if probability > best[0]:
                best = (probability, filled(plain, slots, unit))
    plain = best[1]
    return plain if plain and not isinstance(read_question(plain, names), NotUnderstood) else None


def _without_chatter(text: str, nouns: Collection[str], names: Sequence[str]) -> str:
    """A text without the sentences that name no object, unless they ask something: "Nurse here.", "Is that so?"."""

    def says(sentence: str) -> bool:
        named = any(slots for _, slots, _ in _skeletons(sentence, nouns, names, unknown=(False,)))
        framed = not _FRAMING.isdisjoint(re.findall(r"\w+", sentence.lower()))
        return named or framed or (sentence.endswith("?") and len(sentence.split()) > _LONGEST_TAG)

    sentences = [s for s in re.split(r"(?<=[.?!])\s+|\n+", text.strip()) if s]
    return " ".join(filter(says, sentences)) or text


@dataclass(frozen=True)
class Network:
    """Picks plain questions by wordings.

    Attributes:
        features: which row of `vectors` belongs to a word, pair or triple.
        vectors: one row for each feature, (features, width).
        weights, bias: from the mean vector to the classes, (width, classes) and (classes,).
        classes: plain questions with slots, and `REFUSED`.
    """

    features: Mapping[str, int]
    vectors: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    classes: Sequence[str]

    @staticmethod
    @cache
    def shipped() -> Network:
        """The network of this package."""
        with as_file(files("n3d_core.reasoning").joinpath("likeness.safetensors")) as path:
            return Network.load(path)

    @staticmethod
    def load(path: Path) -> Network:
        """Reads a network that `training.likeness` wrote."""
        with safe_open(path, "numpy") as file:
            listed = json.loads(file.metadata()["words"])
            vectors, weights, bias = (file.get_tensor(n).astype(np.float32) for n in ("vectors", "weights", "bias"))
        features = {feature: row for row, feature in enumerate(listed["features"])}
        return Network(features, vectors, weights, bias, tuple(listed["classes"]))

    def probabilities(self, tokens: Sequence[str]) -> npt.NDArray[np.float32]:
        """How likely each class is. Those that have other slots than a wording are not; one may do without a count."""
        rows = [self.features[f] for f in features_of([self._spelled(t) for t in tokens]) if f in self.features]
        mean = self.vectors[rows].mean(0) if rows else np.zeros(self.vectors.shape[1], np.float32)
        scores = np.where(fitting(slots_of(tokens), self.classes), mean @ self.weights + self.bias, -np.inf)
        shares: npt.NDArray[np.float32] = np.exp(scores - scores.max())
        return shares / shares.sum()

    def _spelled(self, token: str) -> str:
        """A known word in place of an unknown one that differs in one letter, or in a short word by a swap."""
        if len(token) < _SHORTEST or _stem(token) in self.features or not token.isalpha():
            return token
        return next((word for word in self._words if _differs_little(word, token)), token)

    @cached_property
    def _words(self) -> tuple[str, ...]:
        return tuple(f for f in self.features if f.isalpha() and len(f) >= _SHORTEST)

    def likeliest(self, tokens: Sequence[str], slots: Mapping[str, str]) -> tuple[float, str]:
        """The likeliest class and its probability.

        The probability is 0 if the class refuses, if it has no place for a count, or if most words are not known; it is
        less if the wording turns the question around, or has a cue that the class lacks.
        """
        words = [_stem(token) for token in tokens if token not in _MARKS]
        said = any(word[0] != "{" for word in words)
        if not said or len(words) < 2 or 2 * sum(word in self.features for word in words) <= len(words):
            return 0.0, REFUSED
        probabilities = self.probabilities(tokens)
        best = int(probabilities.argmax())
        plain = self.classes[best]
        counted = "n" in slots and "{n}" not in plain and slots["n"].lower() not in _FEW
        if plain == REFUSED or counted:
            return 0.0, plain
        asked = frozenset(tokens[:-2] if tokens[-1] == "?" else tokens[:-1])  # "..., right?"
        known = frozenset(re.findall(r"\w+", plain.lower()))
        odd = _turns_around(tokens) and not _EXCEPTIONAL.search(plain)
        odd = odd or any(not asked.isdisjoint(group) and group.isdisjoint(known) for group in _CUES)
        return float(probabilities[best]) * (_LESS_LIKELY if odd else 1.0), plain


def _differs_little(one: str, other: str) -> bool:
    """Whether one letter is missing, added, wrong or swapped with the next one."""
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if sorted(one) == sorted(other):
        return one[start + 2 :] == other[start + 2 :]
    if min(len(one), len(other)) < _LONG:
        return False
    ends = {(one[start + a :], other[start + b :]) for a, b in ((1, 1), (1, 0), (0, 1))}
    return any(first == second for first, second in ends)


def slots_of(tokens: Sequence[str]) -> frozenset[str]:
    """The slots of a wording."""
    return frozenset(token[1:-1] for token in tokens if SLOT.fullmatch(token) and token != UNIT)


def fitting(slots: frozenset[str], classes: Sequence[str]) -> list[bool]:
    """Which classes a wording with these slots can belong to."""
    wanted = (slots, slots - {"n"})
    return [plain == REFUSED or frozenset(SLOT.findall(plain)) in wanted for plain in classes]


def _turns_around(tokens: Sequence[str]) -> bool:
    """Whether a wording negates or leaves out; "no more than" is "within"."""
    following = zip(tokens, [*tokens[1:], ""], strict=True)
    return any(token in _EXCEPTIONS and after not in ("more", "farther", "further") for token, after in following)


def features_of(tokens: Sequence[str]) -> Iterator[str]:
    """The words of a skeleton without their endings, pairs and triples of them, and what stands around each slot."""
    words = [_stem(token) for token in tokens if token not in _MARKS]
    yield from words
    framed = ["^", *words, "$"]
    for length in (2, 3):
        for i in range(len(framed) - length + 1):
            yield " ".join(framed[i : i + length])
    for apart in (2, 3):
        for i in range(len(framed) - apart):
            yield f"{framed[i]}_{framed[i + apart]}"
    slots = [i for i, word in enumerate(words) if word[0] == "{"]
    yield "slots " + " ".join(words[i] for i in slots)
    for i in slots:
        for j in range(max(0, i - 5), min(len(words), i + 6)):
            if i != j:
                yield f"{words[i]}{'>' if j > i else '<'}{words[j]}"


def tokens_of(text: str) -> list[str]:
    """The lower-case words of a text without slots; units and counts are replaced."""
    return [_token(word) for word in words_of(normal_text(text), {}, ())[1]]


def _token(word: Word) -> str:
    if _is_unit(word):
        return UNIT
    return "{n}" if not word.meanings.keys().isdisjoint(("NUMBER", "CARDINAL")) else word.text.lower()


def _stem(word: str) -> str:
    if word[0] == "{":
        return word
    ends = (end for end in _ENDINGS if word.endswith(end) and len(word) > len(end) + 2)
    return word.removesuffix(next(ends, ""))


def _is_unit(word: Word) -> bool:
    return "UNIT" in word.meanings and word.text.lower() != "in"


def _skeletons(
    text: str, nouns: Collection[str], names: Sequence[str], unknown: Sequence[bool] = (True, False)
) -> Iterator[tuple[list[str], dict[str, str], str]]:
    """The ways in which the objects of a text can be told from its other words; see `_Skeleton`."""
    held, table = hold_names(text, names)
    words = words_of(normal_text(held), table, ())[1]
    if len(words) > _MAX_WORDS:
        return
    for bare_is_kind, unknown_is_object in product((True, False), unknown):
        skeleton = _Skeleton(words, nouns, bare_is_kind, unknown_is_object)
        yield skeleton.tokens, skeleton.slots, skeleton.unit


class _Skeleton:
    """A sentence without what it is about.

    Args:
        bare_is_kind: whether a noun without an article is a kind ("which mug"), or an object ("distance mug to ball").
        unknown_is_object: whether an unknown word after an article is an object ("the banana", but "the way to go").

    Attributes:
        tokens: lower-case words and slots.
        slots: what each slot stands for: `o1` to `o4` objects in the order in which they are named, `k` and `k2` kinds,
            `l` a length, `n` a count, `col` a colour that stands alone.
        unit: the unit that is asked for ("in feet"), or an empty string.
    """

    def __init__(
        self, words: Sequence[Word], nouns: Collection[str], bare_is_kind: bool, unknown_is_object: bool
    ) -> None:
        self.tokens: list[str] = []
        self.slots: dict[str, str] = {}
        self.unit = ""
        self._words, self._nouns, self._bare_is_kind = words, nouns, bare_is_kind
        self._unknown_is_object = unknown_is_object
        at = 0
        while at < len(words):
            at = self._length(at) or self._object(at) or self._word(at)

    def _put(self, names: Sequence[str], text: str) -> None:
        """Adds the slot of these words, a new one if they have none yet."""
        known = next((n for n in names if self.slots.get(n, "").lower() == text.lower()), "")
        name = known or next((n for n in names if n not in self.slots), names[-1])
        self.slots.setdefault(name, text)
        self.tokens.append(f"{{{name}}}")

    def _is(self, at: int, *terminals: str) -> bool:
        return at < len(self._words) and not self._words[at].meanings.keys().isdisjoint(terminals)

    def _text(self, start: int, end: int) -> str:
        return " ".join(w.text for w in self._words[start:end])

    def _length(self, at: int) -> int:
        """Takes a length, a count or a unit; returns where it ends, or 0."""
        word = self._words[at]
        one = {"a": "1", "an": "1", "one": "1", "half": "0.5"}.get(word.text.lower(), "")
        if at + 1 < len(self._words) and _is_unit(self._words[at + 1]) and (one or self._is(at, "NUMBER", "CARDINAL")):
            self._put(["l", "l2"], f"{one or word.text} {self._words[at + 1].text}")
            return at + 2
        if self._is(at, "NUMBER", "CARDINAL"):
            self._put(["n", "n2"], word.text)
            return at + 1
        if _is_unit(word):
            self.unit = word.meanings["UNIT"]
            self.tokens.append(UNIT)
            return at + 1
        return 0

    def _noun(self, at: int, after_article: bool) -> int:
        """How many words the noun at a place has; 0 if there is none."""
        if at == len(self._words) or self._is(at, "NAME"):
            return int(at < len(self._words))
        for length in (2, 1):
            if at + length <= len(self._words) and singulars(self._text(at, at + length).lower())[0] in self._nouns:
                return length
        if not (after_article and self._unknown_is_object) or self._words[at].meanings.keys() != {"WORD"}:
            return 0
        return int(_stem(self._words[at].text.lower()) not in Network.shipped().features)

    def _object(self, start: int) -> int:
        """Takes an object, a kind or a colour; returns where it ends, or 0."""
        article = self._words[start].text.lower() if self._words[start].text.lower() in _DETERMINERS else ""
        noun = first = start + bool(article)
        while self._is(noun, *_ADJECTIVES):
            noun += 1
        length = self._noun(noun, bool(article) or noun > first)
        if not length and not article and self._is(start, "COLOR"):
            self._put(["col"], self._words[start].text)
            return start + 1
        if not length:
            return 0
        named = self._is(noun, "NAME")
        said = self._text(first, noun + length) if named else self._text(first, noun + length).lower()
        if not named and (singulars(said)[0] != said or (self._bare_is_kind and not article)):
            self.tokens += [article] if article else []
            self._put(["k", "k2", "k3"], said)
        else:
            the = "" if named else "a " if article in ("a", "an") else "the "
            self._put(["o1", "o2", "o3", "o4"], the + said)
        return noun + length

    def _word(self, at: int) -> int:
        self.tokens.append(self._words[at].text.lower())
        return at + 1


def filled(plain: str, slots: Mapping[str, str], unit: str) -> str:
    """A plain question about what a text is about."""
    said = dict(slots)
    single = _SINGULAR.search(plain)
    for kind in said.keys() & {"k", "k2"}:
        one = singulars(said[kind])[0]
        said[kind] = one if single else plural(one)
    text = SLOT.sub(lambda slot: said[slot[1]], plain)
    if re.match(r"(?:Is|Are) there the ", text):
        text = re.sub(r"(there|and|or) the ", r"\1 a ", text)
    return f"{text} Answer in {unit}." if unit else text
