"""What the alternatives of `questions.grammar` mean: phrases and questions.

Each method is the alias of an alternative and takes what the alternative's children mean. `NoReadingError` drops that
reading of the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from n3d_core.reasoning.grammar import NoReadingError
from n3d_core.reasoning.lexicon import CARDINALS, CLASSES, ORDINALS, PARTS, Word, is_compound
from n3d_core.reasoning.nouns import singulars, strip_article
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Pick, Question, Where
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.units import to_metres, unit_symbol

SUBJECT = Phrase("", "\0subject")
"""Stands in a predicate for what it is said of."""
IT, THEM, ONE = (Phrase(word, f"\0{word}") for word in ("it", "them", "one"))
"""Pronouns, until the phrase that they stand for is known."""
THEM = replace(THEM, plural=True)
WHICH = Phrase("", "\0which", plural=True)
"""What "which" chooses from: what was told of, else everything."""
ANYTHING = Phrase("object", "object", plural=True)


@dataclass(frozen=True)
class Alternatives:
    """The named objects that compete."""

    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class Part:
    """A piece of a phrase: a "color", "attribute", "number", "determiner", an "end" of the picture, ..."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Draft:
    """A phrase in the making: its pieces without the head."""

    determiner: str = ""
    colors: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    number: int | None = None
    pick: Pick | None = None
    where: tuple[Where, ...] = ()
    end: str = ""

    def with_part(self, part: Any) -> Draft:
        """This draft and one more piece."""
        if isinstance(part, Where):
            return replace(self, where=(*self.where, part))
        if isinstance(part, Pick):
            return replace(self, pick=_joined(self.pick, part))
        if not isinstance(part, Part):
            return self
        if part.kind == "color":
            return replace(self, colors=(*self.colors, part.value))
        if part.kind == "attribute":
            return replace(self, attributes=(*self.attributes, part.value))
        if part.kind == "number":
            if self.number is not None or part.value != int(part.value) or not 0 <= part.value <= 1000:
                raise NoReadingError
            return replace(self, number=int(part.value))
        if part.kind == "to":
            if self.pick not in (Pick("front"), Pick("behind")):
                raise NoReadingError
            if part.value == CAMERA_PHRASE:
                return self
            relation: Any = "nearest" if self.pick == Pick("front") else "farthest"
            return replace(self, pick=None, where=(*self.where, Where(relation, (part.value,))))
        if part.kind == "from":
            if self.pick is None or self.pick.predicate:
                raise NoReadingError
            return replace(self, pick=_joined(self.pick, Pick(part.value)))
        return replace(self, **{part.kind: part.value})

    def phrase(self, head: Phrase, said: str) -> Phrase:
        """The whole phrase. "On the left" is the leftmost of one kind, and for several all those on that side."""
        plural = head.plural or self.determiner == "all" or (self.number or 1) > 1
        pick, where = self.pick, self.where
        if head == ANYTHING and not said:
            raise NoReadingError
        if self.end:
            if plural and pick is None and self.end != "middle":
                where = (*where, Where(self.end, (CAMERA_PHRASE,)))  # type: ignore[arg-type]
            else:
                pick = _joined(pick, Pick(self.end))
        if plural and any(" and " in color for color in self.colors):
            raise NoReadingError  # "the red and blue mugs" are not of two colours each
        if pick is not None and not pick.predicate:
            raise NoReadingError  # "the second mug": counted from where?
        first = strip_article(said).split()[0].lower() if said else ""
        if pick is not None and head.noun in PARTS and first in ("front", "back", "rear"):
            raise NoReadingError  # "front door" is a noun
        if head.noun in CAMERA_WORDS and self == Draft(self.determiner) and self.determiner in ("", "the"):
            raise NoReadingError  # it is the camera itself
        return replace(
            head,
            text=strip_article(said),
            colors=self.colors,
            attributes=self.attributes,
            plural=plural,
            number=self.number,
            where=where,
            pick=pick,
        )


@dataclass(frozen=True)
class Degree:
    """A key of `relations.PREDICATES`, as "taller" or as "tallest"."""

    predicate: str
    superlative: bool = False


@dataclass(frozen=True)
class Bound:
    """`more`, `less`, `at_least` or `at_most`."""

    kind: str


@dataclass(frozen=True)
class Unit:
    """The unit that is wanted, by its symbol; empty for none."""

    symbol: str


@dataclass(frozen=True)
class Context:
    """What a sentence before the question speaks of: its objects, and where they are put."""

    phrases: tuple[Phrase, ...]
    places: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class Standing:
    """Where the asker stands."""

    place: Phrase


@dataclass(frozen=True)
class Gripper:
    """How far a gripper opens, in metres."""

    opening: float


class _Meanings(dict[str, str]):
    """What words stand for; a word that is not among them has no reading."""

    def __missing__(self, word: str) -> str:
        raise NoReadingError(word)


def _meanings(**words: str) -> _Meanings:
    """Each word of a list with the list's name."""
    return _Meanings({word: meaning for meaning, listed in words.items() for word in listed.split()})


_SUPERLATIVES = _meanings(
    left="leftmost",
    right="rightmost",
    front="frontmost foremost",
    behind="rearmost backmost",
    above="highest topmost uppermost",
    below="lowest bottommost lowermost",
    wider="widest broadest",
    thinner="thinnest narrowest slimmest",
    taller="tallest",
    shorter="shortest",
    bigger="biggest largest greatest",
    smaller="smallest tiniest",
    longer="longest",
    thicker="thickest",
)
_COMPARATIVES = _meanings(
    taller="taller",
    shorter="shorter",
    wider="wider broader",
    thinner="thinner narrower slimmer",
    bigger="bigger larger greater",
    smaller="smaller tinier lesser",
    longer="longer",
    thicker="thicker",
    above="higher",
    below="lower",
)
_SIZES = _meanings(
    height="tall high height heights",
    width="wide broad width widths breadth",
    length="long deep length lengths",
    thickness="thick thickness",
    volume="volume",
    dimensions="big large",
)
_SMALL = _meanings(
    smaller="small little tiny",
    shorter="short",
    thinner="narrow thin slim",
    below="low",
)
_OF_MEASURE = _meanings(
    wider="width", taller="height", longer="length", thicker="thickness", bigger="volume dimensions"
)
_OPPOSITES = _Meanings({name: p.converse for name, p in PREDICATES.items()})
_PLACES = ("on", "under", "inside", "next_to", "between")
_RELATIONS = (*_PLACES, "left", "right", "front", "behind", "above", "below")
_MORE = ("greater", "larger", "bigger", "wider", "higher", "taller", "longer", "broader", "thicker", "more", "greatest")
_THRESHOLDS = {
    "taller": ("height", "more"), "shorter": ("height", "less"), "wider": ("width", "more"),
    "thinner": ("width", "less"), "longer": ("length", "more"), "less_long": ("length", "less"),
    "thicker": ("thickness", "more"), "less_thick": ("thickness", "less"), "front": ("distance", "less"),
    "behind": ("distance", "more"),
}  # fmt: skip
_SIDES = ("front", "back", "top", "bottom", "side", "left", "right", "middle", "center", "place")
CAMERA_WORDS = frozenset(CLASSES["_CAMERA"].split())
_NO_PLACES = (*CLASSES["_SCENE"].split(), "foot", "front", "back", "total", "order", "space", "middle", "center")


class Meaning:
    """The methods; `said` is the part of the text that the alternative covers."""

    def __init__(self, said: str) -> None:
        self.said = said

    # ------------------------------------------------------------------------------------------------- noun phrases
    def phrase(self, *parts: Any) -> Phrase:
        """Determiner, modifiers, head and clauses."""
        head = next((part for part in parts if isinstance(part, Phrase)), ANYTHING)
        draft = Draft()
        for part in parts:
            draft = draft.with_part(part)
        return draft.phrase(head, self.said)

    def headless(self, *parts: Any) -> Phrase:
        """The tallest; the second from the left."""
        return self.phrase(WHICH, *parts)

    def camera(self, *_: Any) -> Phrase:
        return replace(CAMERA_PHRASE, text=strip_article(self.said))

    def it(self) -> Phrase:
        return IT

    def them(self) -> Phrase:
        return THEM

    def one_of_them(self) -> Phrase:
        return replace(ONE, plural=self.said.lower() == "ones")

    def things(self, *_: Any) -> Phrase:
        return replace(ANYTHING, plural=self.said.lower().endswith("s"))

    def person(self) -> Phrase:
        return Phrase(self.said, "person")

    def anything(self, *_: Any) -> Phrase:
        return ANYTHING

    def named(self, word: Word) -> Phrase:
        return Phrase(word.name, word.name, named=True)

    def noun(self, *parts: Any) -> Phrase:
        """One or more nouns, and what follows with "of", "with" or "'s"."""
        if len(parts) == 1 and isinstance(parts[0], Word) and parts[0].name:
            raise NoReadingError  # it is `named`
        words = self.said.lower().split()
        head, rest = _split_noun(words)
        if head in _SIDES or (len(words) > 1 and words[0] == "a"):
            raise NoReadingError  # "in [front of the box]"
        if not is_compound(head.split()):
            raise NoReadingError  # "how many [mugs can] you see"
        one = singulars(head)[0]
        return Phrase(self.said, " ".join((one, *rest)), plural=one != head)

    def color_noun(self, word: Word) -> Phrase:
        """An orange, a lime."""
        if word.text.lower() not in ("orange", "lime", "olive", "peach"):
            raise NoReadingError
        return Phrase(self.said, word.text.lower())

    def color(self, *words: Word) -> Part:
        return Part("color", " ".join(w.text.lower() for w in words))

    def light_color(self, word: Word) -> Part:
        return Part("color", f"light {word.text.lower()}")

    def two_colors(self, first: Word, second: Word) -> Part:
        return Part("color", f"{first.text.lower()} and {second.text.lower()}")

    def attribute(self, word: Word) -> Part:
        return Part("attribute", word.text.lower())

    def number_of(self, value: float) -> Part:
        return Part("number", value)

    def determiner(self, word: str) -> Part:
        return Part("determiner", word)

    def number(self, word: Word) -> float:
        text = word.text.lower().replace(",", ".")
        return float(CARDINALS.get(text, 0)) if text in CARDINALS else float(text)

    def one(self) -> float:
        return 1.0

    # Picks and clauses.
    def ranked(self, *parts: Any) -> Pick:
        """`tallest`, `second tallest`."""
        return Pick(parts[-1], ORDINALS[parts[0].text.lower()] if len(parts) > 1 else 1)

    def is_most(self, predicate: str) -> Pick:
        return Pick(predicate)

    def ordinal(self, word: Word) -> Pick:
        return Pick("", ORDINALS[word.text.lower()])

    def last(self) -> Pick:
        return Pick("", -1)

    def pick_side(self, word: Word) -> Pick:
        return Pick(_side(word))

    def pick_end(self, predicate: str) -> Pick:
        return Pick(predicate)

    def superlative(self, word: Word) -> str:
        return _SUPERLATIVES[word.text.lower()]

    def most(self, word: Word) -> str:
        return _OF_MEASURE[_SIZES[word.text.lower()]]

    def least(self, word: Word) -> str:
        return _OPPOSITES[self.most(word)]

    def from_side(self, word: Word) -> Part:
        return Part("from", _side(word))

    def from_end(self, predicate: str) -> Part:
        return Part("from", predicate)

    def nearest_to(self, reference: Phrase) -> Part:
        return Part("to", reference)

    def side_of(self, word: Word) -> Any:
        return _side(word)

    def end(self, word: Word) -> str:
        return _side(word)

    def where(self, relation: Any, reference: Phrase) -> Where:
        _check_reference(relation, reference)
        return Where(relation, (reference,))

    def where_between(self, *references: Phrase) -> Where:
        if len(references) == 1 and not (references[0].plural and references[0].number in (2, None)):
            raise NoReadingError
        return Where("between", references)

    def where_near(self, near: str, reference: Phrase) -> Where | Pick:
        if reference == CAMERA_PHRASE:
            return Pick("front" if near == "closer" else "behind")
        return Where("nearest" if near == "closer" else "farthest", (reference,))

    def where_side(self, reference: Phrase, word: Word) -> Where:
        return Where(_side(word), (reference,))

    def where_end(self, predicate: str) -> Part:
        return Part("end", predicate)

    def listed(self, *items: Phrase | tuple[Phrase, ...]) -> tuple[Phrase, ...]:
        return tuple(p for item in items for p in (item if isinstance(item, tuple) else (item,)))

    def of_colors(self, *parts: Any) -> tuple[Phrase, ...]:
        """The red and the blue mug; red and blue mugs."""
        colors = [p for p in parts if isinstance(p, Word)]
        rest = [p for p in parts if not isinstance(p, Word)]
        found = (self.phrase(self.color(color), *rest) for color in colors)
        return tuple(replace(p, text=f"{p.colors[0]} {p.noun}") for p in found)

    # ---------------------------------------------------------------------------------- what is said of a subject
    def relative_place(self, relation: str, reference: Phrase) -> Question:
        _check_reference(relation, reference)
        return Question(_type(relation), "yes_no", (SUBJECT, reference), relation)

    def in_between(self, *references: Phrase) -> Question:
        return Question("place", "yes_no", (SUBJECT, *references), "between")

    def compared(self, degree: Degree, reference: Phrase) -> Question:
        if degree.superlative or reference == CAMERA_PHRASE:
            raise NoReadingError
        return Question(_type(degree.predicate), "yes_no", (SUBJECT, reference), degree.predicate)

    def compared_side(self, word: Word, reference: Phrase) -> Question:
        return self.compared(Degree(_side(word)), reference)

    def bounded_degree(self, degree: Degree, metres: float) -> Question:
        kind: Any
        kind, bound = _THRESHOLDS.get(degree.predicate, ("", ""))
        if not kind or degree.superlative:
            raise NoReadingError
        objects: tuple[Phrase, ...] = (SUBJECT, CAMERA_PHRASE) if kind == "distance" else (SUBJECT,)
        return Question(kind, "yes_no", objects, bound, limit=metres)

    def beats_all(self, degree: Degree, *parts: Any) -> Question:
        return self.is_extreme_of(degree.predicate, *parts)

    def bounded_volume(self, degree: Degree, litres: float) -> Question:
        if degree.predicate not in ("bigger", "smaller"):
            raise NoReadingError
        bound = "more" if degree.predicate == "bigger" else "less"
        return Question("volume", "yes_no", (SUBJECT,), bound, limit=litres / 1000)

    def at_side_of(self, reference: Phrase, word: Word) -> Question:
        return self.relative_place(_side(word), reference)

    def bounded_size(self, *parts: Any) -> Question:
        metres, measure = (p for p in parts if not isinstance(p, Bound))
        if _size(measure) == "dimensions":
            raise NoReadingError
        return Question(_size(measure), "yes_no", (SUBJECT,), _bound(parts), limit=metres)

    def bounded_distance(self, *parts: Any) -> Question:
        metres = next(p for p in parts if isinstance(p, float))
        reference = next((p for p in parts if isinstance(p, Phrase)), CAMERA_PHRASE)
        return Question("distance", "yes_no", (SUBJECT, reference), _bound(parts), limit=metres)

    def within(self, metres: float, reference: Phrase = CAMERA_PHRASE) -> Question:
        return Question("distance", "yes_no", (SUBJECT, reference), "at_most", limit=metres)

    def nearer_than_to(self, near: str, first: Phrase, second: Phrase) -> Question:
        return _relative("yes_no", SUBJECT, (first, second), near)

    def nearer_than_is(self, near: str, anchor: Phrase, other: Phrase) -> Question:
        if anchor == CAMERA_PHRASE:
            return self.compared(Degree("front" if near == "closer" else "behind"), other)
        return _relative("yes_no", anchor, (SUBJECT, other), near)

    def nearer_which(self, near: str, first: Phrase, second: Phrase) -> Question:
        return _relative("choice", SUBJECT, (first, second), near)

    def at_end(self, predicate: str) -> Question:
        if predicate not in ("left", "right"):
            raise NoReadingError
        return Question("left_right", "yes_no", (SUBJECT, CAMERA_PHRASE), predicate)

    def of_color(self, *words: Word) -> Question:
        color = self.color(*words).value
        return Question("exists", "yes_no", (replace(SUBJECT, colors=(color,)),))

    def is_there(self) -> Question:
        return Question("exists", "yes_no", (SUBJECT,))

    def is_extreme(self, predicate: str) -> Question:
        return Question("extreme", "yes_no", (SUBJECT,), predicate, among=ANYTHING)

    def is_extreme_of(self, predicate: str, *parts: Any) -> Question:
        return replace(self.is_extreme(predicate), among=replace(self.phrase(*parts), text="", plural=True))

    def is_nearest(self, near: str, reference: Phrase) -> Question:
        if reference == CAMERA_PHRASE:
            return self.is_extreme("front" if near == "closer" else "behind")
        return replace(_relative("yes_no", reference, (SUBJECT,), near), among=ANYTHING)

    def is_nearest_of(self, near: str, *parts: Any) -> Question:
        question = self.is_nearest(near, parts[-1])
        return replace(question, among=replace(self.phrase(*parts[:-1]), text="", plural=True))

    def either(self, *parts: Any) -> Question:
        """In front of or behind: which of two relations that exclude each other."""
        first, second = (p.predicate if isinstance(p, Degree) else p for p in parts[:2])
        if _OPPOSITES[first] != second:
            raise NoReadingError
        return Question(_type(first), "free", (SUBJECT, parts[2]), first)

    def either_of_it(self, first: str, reference: Phrase, second: str) -> Question:
        return self.either(first, second, reference)

    def nearer_or_farther(self, reference: Phrase) -> Question:
        return self.either("front", "behind", reference)

    def either_side(self, first: Word, second: Word, reference: Phrase = CAMERA_PHRASE) -> Question:
        return self.either(_side(first), _side(second), reference)

    # Degrees: taller, the tallest, further to the left.
    def comparative(self, word: Word) -> Degree:
        return Degree(_COMPARATIVES[word.text.lower()])

    def comparative_side(self, word: Word) -> Degree:
        return Degree(_side(word))

    def superlative_side(self, word: Word) -> Degree:
        return Degree(_side(word), superlative=True)

    def most_in(self, word: Word, measure: str) -> Degree:
        predicate = _OF_MEASURE[measure]
        more = _SUPERLATIVES[word.text.lower()] in ("bigger", "above", predicate)
        return Degree(predicate if more else _OPPOSITES[predicate], superlative=True)

    def most_of(self, measure: str) -> Degree:
        return Degree(_OF_MEASURE[measure], superlative=True)

    def most_of_all(self, predicate: str) -> Degree:
        return Degree(predicate, superlative=True)

    def end_of_depth(self, predicate: str) -> Degree:
        return Degree(predicate)

    def on_top(self) -> Degree:
        return Degree("above")

    def at_bottom(self) -> Degree:
        return Degree("below")

    def more_of(self, measure: str) -> Degree:
        return Degree(_OF_MEASURE[measure])

    def less_of(self, measure: str) -> Degree:
        return Degree(_OPPOSITES[_OF_MEASURE[measure]])

    def more(self, word: Word) -> Degree:
        return Degree(_OF_MEASURE[_SIZES[word.text.lower()]])

    def less(self, word: Word) -> Degree:
        return Degree(_OPPOSITES[self.more(word).predicate])

    def more_in(self, word: Word, measure: str) -> Degree:
        predicate = _OF_MEASURE[measure]
        return Degree(predicate if word.text.lower() in _MORE else _OPPOSITES[predicate])

    # Bounds and lengths.
    def bound(self, kind: str) -> Bound:
        return Bound(kind.removesuffix("_than"))

    def metres(self, value: float, unit: Word) -> float:
        return to_metres(value, unit_symbol(unit.text) or "m")

    def one_unit(self, unit: Word) -> float:
        return self.metres(1.0, unit)

    def half_unit(self, unit: Word) -> float:
        return self.metres(0.5, unit)

    # --------------------------------------------------------------------------------------------- yes/no questions
    def polar(self, *parts: Any) -> Question:
        subject, question = (p for p in parts if not isinstance(p, Word))
        negated = sum(isinstance(p, Word) for p in parts) % 2 == 1
        return replace(_about(subject, question), negated=negated)

    def polar_more(self, subject: Phrase, degree: Degree, reference: Phrase) -> Question:
        return _about(subject, self.compared(degree, reference))

    def near_each_other(self, *parts: Any) -> Question:
        objects = next(p for p in parts if isinstance(p, tuple))
        return Question("place", "yes_no", objects, "next_to", negated=any(isinstance(p, Word) for p in parts))

    def apart_by(self, *parts: Any) -> Question:
        pair = next(p for p in parts if isinstance(p, tuple))
        metres = next(p for p in parts if isinstance(p, float))
        return Question("distance", "yes_no", pair, _bound(parts), limit=metres)

    def exists(self, *parts: Any) -> Question:
        question = next(p for p in parts if isinstance(p, Question))
        return replace(question, negated=(sum(isinstance(p, Word) for p in parts) % 2 == 1) != question.negated)

    def some(self, phrase: Phrase) -> Question:
        """A thing, or a number of things."""
        if phrase in (CAMERA_PHRASE, IT, THEM) or phrase.pick is not None:
            raise NoReadingError
        if phrase.number is not None and phrase.number != 1:
            return Question("count", "yes_no", among=replace(phrase, number=None), count=phrase.number)
        return Question("exists", "yes_no", (replace(phrase, number=None),))

    def some_bound(self, bound: Bound, phrase: Phrase) -> Question:
        if phrase.number is None:
            raise NoReadingError
        among = replace(phrase, number=None, plural=True)
        return Question("count", "yes_no", predicate=bound.kind, among=among, count=phrase.number)

    def only(self, phrase: Phrase) -> Question:
        return self.some_bound(Bound(""), phrase)

    def none(self, *parts: Any) -> Question:
        return replace(self.some(self.phrase(*parts)), negated=True)

    def count(self, *parts: Any) -> Question:
        """How many, of a phrase and perhaps of those of them of which something holds."""
        among = next(p for p in parts if isinstance(p, Phrase))
        said = next((p for p in parts if isinstance(p, Question)), None)
        if among in (CAMERA_PHRASE, IT, THEM) or among.pick is not None or among.number is not None:
            raise NoReadingError
        among = replace(among, plural=True)
        return Question("count", "number", among=among if said is None else _restricted(among, said))

    def nothing_there(self, *clauses: Any) -> Question:
        return self.none(ANYTHING, *clauses)

    # ------------------------------------------------------------------------------------------------ which of them
    def kind(self, phrase: Phrase | None = None) -> Phrase:
        if phrase == ONE:
            raise NoReadingError
        return ANYTHING if phrase is None else phrase

    def which(self) -> Phrase:
        return WHICH

    def alternatives(self, *phrases: Phrase) -> Alternatives:
        return Alternatives(phrases)

    def choice(self, *parts: Any) -> Question:
        degree = next(p for p in parts if isinstance(p, Degree))
        phrases = next(p for p in parts if isinstance(p, Alternatives)).phrases
        _check_kind([p for p in parts if isinstance(p, Phrase)])
        if CAMERA_PHRASE in phrases:
            raise NoReadingError
        kind: Any = _type(degree.predicate) if len(phrases) == 2 else "extreme"
        return Question(kind, "choice", phrases, degree.predicate)

    def nearer_choice(self, *parts: Any) -> Question:
        near = next(p for p in parts if isinstance(p, str))
        alternatives = next(p for p in parts if isinstance(p, Alternatives))
        *kinds, anchor = (p for p in parts if isinstance(p, Phrase))
        _check_kind(kinds)
        if anchor == CAMERA_PHRASE:
            return self.choice(Degree("front" if near == "closer" else "behind"), alternatives)
        return _relative("choice", anchor, alternatives.phrases, near)

    def nearest(self, *parts: Any) -> Question:
        near = next(p for p in parts if isinstance(p, str))
        kind, anchor = (p for p in parts if isinstance(p, Phrase))
        if anchor == CAMERA_PHRASE:
            return self.extreme(kind, Degree("front" if near == "closer" else "behind", superlative=True))
        return replace(_relative("choice", anchor, (), near), among=_among(kind))

    def extreme(self, kind: Phrase, degree: Degree) -> Question:
        if (kind.is_anything and not degree.superlative) or kind.pick is not None:
            raise NoReadingError  # "which object is taller?": than what?
        if kind == WHICH and not degree.superlative:
            kind = replace(WHICH, number=2)
        return Question("extreme", "choice", (), degree.predicate, among=_among(kind))

    def extreme_of(self, among: Phrase, kind: Phrase, degree: Degree) -> Question:
        _check_kind([kind])
        return self.extreme(among, replace(degree, superlative=True))

    def related(self, kind: Phrase, said: Question | None = None) -> Question:
        """What is left of the mug; what do you see."""
        if said is None:
            return Question("related", "objects", among=_among(kind))
        if said.form != "yes_no" or said.limit is not None or said.type in ("relative_distance", "extreme"):
            raise NoReadingError
        if said.type == "exists":
            if not said.objects[0].colors:
                raise NoReadingError
            return Question("related", "objects", among=_among(_restricted(kind, said)))
        return Question("related", "objects", said.objects[1:], said.predicate, among=_among(kind))

    def ranked_kind(self, kind: Phrase, pick: Pick) -> Question:
        if pick.rank == 1:
            raise NoReadingError
        return self.bare(replace(kind, pick=pick))

    def counted_from(self, kind: Phrase, ordinal: Pick, word: Word) -> Question:
        return self.bare(replace(kind, pick=_joined(ordinal, Pick(_side(word)))))

    def biggest(self, kind: Phrase) -> Question:
        return self.extreme(kind, Degree("bigger", superlative=True))

    def what_is(self, kind: Phrase, phrase: Phrase) -> Question:
        """What is the tallest mug."""
        if kind not in (ANYTHING, WHICH):
            raise NoReadingError
        if phrase.is_anything and phrase.plural and len(phrase.where) == 1 and phrase.pick is None:
            return _listing(phrase)  # "what are the things on the table"
        return self.bare(phrase)

    def bare(self, phrase: Phrase) -> Question:
        """The tallest mug; the mug closest to the lamp."""
        if phrase.pick is not None and phrase.pick.predicate != "middle":
            rest = phrase if phrase.pick.rank > 1 else replace(phrase, pick=None)
            return Question("extreme", "choice", (), phrase.pick.predicate, among=_among(rest))
        if len(phrase.where) == 1 and phrase.where[0].relation in ("nearest", "farthest"):
            near = "closer" if phrase.where[0].relation == "nearest" else "farther"
            relative = _relative("choice", phrase.where[0].references[0], (), near)
            return replace(relative, among=_among(replace(phrase, where=())))
        raise NoReadingError

    def find(self, phrase: Phrase) -> Question:
        if phrase.pick is not None or any(w.relation in ("nearest", "farthest") for w in phrase.where):
            return self.bare(phrase)
        return _listing(phrase) if phrase.plural else self.position(phrase)

    # ------------------------------------------------------------------------------------------------------- orders
    def ordering(self, *parts: Any) -> Question:
        competing = next(p for p in parts if isinstance(p, (Alternatives, Phrase)))
        predicate = next(p for p in parts if isinstance(p, str))
        kind: Any = "depth_order" if predicate in ("front", "behind") else "order"
        if isinstance(competing, Alternatives):
            return Question(kind, "order", competing.phrases, predicate)
        return Question(kind, "order", (), predicate, among=_among(competing))

    def from_to(self, first: str, last: str) -> str:
        if _OPPOSITES[first] != last:
            raise NoReadingError
        return first

    def by_size(self, measure: str) -> str:
        return _OF_MEASURE[measure]

    def by_how(self, word: Word) -> str:
        return _OF_MEASURE[_SIZES[word.text.lower()]]

    def by_distance(self) -> str:
        return "front"

    def by_size_up(self, measure: str) -> str:
        return _OPPOSITES[_OF_MEASURE[measure]]

    def first_is(self, *parts: str) -> str:
        return parts[-1]

    def end_side(self, word: Word) -> str:
        return _side(word)

    end_big = by_how

    def end_small(self, word: Word) -> str:
        return _SMALL[word.text.lower()]

    # ---------------------------------------------------------------------------------------------- sizes, distances
    def dim(self, word: Word) -> str:
        return _SIZES[word.text.lower()]

    def size(self, *parts: Any) -> Question:
        phrase = next(p for p in parts if isinstance(p, Phrase))
        measure = next(p for p in parts if isinstance(p, (Word, str)))
        return _with_unit(Question(_size(measure), "number", (_thing(phrase),)), parts)

    def extent(self, *parts: Any) -> Question:
        phrase = next(p for p in parts if isinstance(p, Phrase))
        return self.size("width" if "horizontal" in parts else "height", phrase)

    def its_size(self, measure: str) -> Question:
        return self.size(measure, IT)

    def compare(self, *parts: Any) -> Question:
        """How does A compare to B in height: which of taller and shorter holds."""
        measures = {p for p in parts if isinstance(p, str)}
        pairs = [p for p in parts if isinstance(p, tuple)]
        objects = pairs[0] if pairs else tuple(p for p in parts if isinstance(p, Phrase))
        if len(measures) != 1:
            raise NoReadingError
        predicate = _OF_MEASURE[measures.pop()]
        return Question(_type(predicate), "free", objects, predicate)

    def volume_of(self, *parts: Any) -> Question:
        return self.size("volume", *parts)

    def size_difference(self, measure: str, pair: tuple[Phrase, ...]) -> Question:
        predicate = _OF_MEASURE[measure]
        return Question(_type(predicate), "difference", pair, predicate)

    def pair(self, first: Phrase, second: Phrase) -> tuple[Phrase, ...]:
        return first, second

    def two(self, phrase: Phrase) -> tuple[Phrase, ...]:
        if not phrase.plural or phrase.number not in (2, None) or phrase == ANYTHING:
            raise NoReadingError
        return (phrase if phrase == THEM else replace(phrase, number=2),)

    def distance(self, *parts: Any) -> Question:
        phrases = tuple(p for p in parts if isinstance(p, Phrase))
        if len(phrases) == 1 and ("apart" in parts or phrases[0].plural):
            raise NoReadingError  # apart from what?
        return _distance((*phrases, CAMERA_PHRASE)[:2], parts)

    def distance_between(self, *parts: Any) -> Question:
        return _distance(next(p for p in parts if isinstance(p, tuple)), parts)

    def gap(self, first: Phrase, second: Phrase) -> Question:
        return Question("gap", "number", (first, second))

    def gap_between(self, *parts: Any) -> Question:
        pair = next(p for p in parts if isinstance(p, tuple))
        return _with_unit(Question("gap", "number", pair), parts)

    def bounded(self, *parts: Any) -> Question:
        question = next(p for p in parts if isinstance(p, Question))
        if question.form != "number" or question.type in ("direction", "volume", "dimensions"):
            raise NoReadingError
        metres = next(p for p in parts if isinstance(p, float))
        return replace(question, form="yes_no", predicate=_bound(parts), limit=metres)

    def bounded_more(self, question: Question, word: Word, metres: float) -> Question:
        return self.bounded(question, Bound("more" if word.text.lower() in _MORE else "less"), metres)

    def compared_quantity(self, question: Question, word: Word, reference: Phrase) -> Question:
        if question.type not in _OF_MEASURE or len(question.objects) != 1:
            raise NoReadingError
        return self.polar_more(question.objects[0], self.more_in(word, question.type), reference)

    def difference(self, *parts: Any) -> Question:
        degree = next(p for p in parts if isinstance(p, Degree))
        pair = tuple(p for p in parts if isinstance(p, Phrase))
        if degree.superlative:
            raise NoReadingError
        return _with_unit(Question(_type(degree.predicate), "difference", pair, degree.predicate), parts)

    def nearer_difference(self, *parts: Any) -> Question:
        near = next(p for p in parts if isinstance(p, str))
        anchor, *candidates = (p for p in parts if isinstance(p, Phrase))
        if anchor == CAMERA_PHRASE:
            raise NoReadingError  # a degree
        return _with_unit(_relative("difference", anchor, tuple(candidates), near), parts)

    def difference_than(self, *parts: Any) -> Question:
        """How much taller than B is A."""
        reference, subject = (p for p in parts if isinstance(p, Phrase))
        return self.difference(subject, reference, *(p for p in parts if not isinstance(p, Phrase)))

    def side_difference(self, *parts: Any) -> Question:
        side = next(p for p in parts if isinstance(p, Word))
        return self.difference_than(Degree(_side(side)), *(p for p in parts if not isinstance(p, Word)))

    def nearer_difference_to(self, *parts: Any) -> Question:
        near = next(p for p in parts if isinstance(p, str))
        return _with_unit(_relative("difference", *_first_and_rest(parts), near), parts)

    def offset(self, *parts: Any) -> Question:
        """How far left of B is A."""
        reference, subject = (p for p in parts if isinstance(p, Phrase))
        relation = next((p for p in parts if isinstance(p, str) and p in _OPPOSITES), "")
        if not relation:
            raise NoReadingError
        unit = [p for p in parts if isinstance(p, Unit)]
        if relation in ("above", "below"):
            return _with_unit(Question("vertical_distance", "number", (subject, reference)), unit)
        return self.difference(subject, Degree(relation), reference, *unit)

    def offset_of(self, *parts: Any) -> Question:
        subject, reference = (p for p in parts if isinstance(p, Phrase))
        return self.offset(reference, subject, *(p for p in parts if not isinstance(p, Phrase)))

    # -------------------------------------------------------------------------------- places, directions, what fits
    def position(self, *phrases: Phrase) -> Question:
        return Question("position", "position", (_thing(phrases[0]), *phrases[1:]))

    def which_side(self, reference: Phrase, subject: Phrase) -> Question:
        return Question("left_right", "free", (subject, reference), "left")

    def turn(self, *_: Any) -> str:
        return "degrees"

    def how_large(self, *parts: Any) -> Question:
        return next(p for p in parts if isinstance(p, Question))

    def which_way(self, first: Word, second: Word, phrase: Phrase) -> Question:
        return _about(phrase, self.either_side(first, second))

    def direction(self, *parts: Any) -> Question:
        """From the first phrase, or the camera, to the last."""
        phrases = tuple(p for p in parts if isinstance(p, Phrase))
        unit = "deg" if "degrees" in parts else "m"
        return Question("direction", "number", (CAMERA_PHRASE, *phrases)[-2:], unit=unit)

    def direction_to(self, *parts: Any) -> Question:
        phrases = [p for p in parts if isinstance(p, Phrase)]
        return self.direction(*reversed(phrases), *(p for p in parts if isinstance(p, str)))

    def grip(self, *parts: Any) -> Question:
        return _fit("grip", parts)

    def through(self, *parts: Any) -> Question:
        return _fit("gap", parts)

    def under_it(self, *parts: Any) -> Question:
        return _fit("under", [p for p in parts if not isinstance(p, Phrase)] + [_first_and_rest(parts)[0]])

    def tool(self, *parts: Any) -> float:
        return float(next(p for p in parts if isinstance(p, float)))

    hole = tool

    robot = tool

    def gap_for(self, *parts: Any) -> Question:
        """Whether something passes between two objects."""
        return self.gap_of(Bound("at_least"), *parts)

    def gap_of(self, *parts: Any) -> Question:
        pair = next(p for p in parts if isinstance(p, tuple))
        metres = next(p for p in parts if isinstance(p, float))
        return Question("gap", "yes_no", pair, _bound(parts), limit=metres)

    def into(self, *parts: Any) -> Question:
        inner, outer = (p for p in parts if isinstance(p, Phrase))
        return Question("fit", "yes_no", (_thing(inner), _thing(outer)), "inside")

    def contains(self, outer: Phrase, inner: Phrase) -> Question:
        return Question("place", "yes_no", (_thing(inner), _thing(outer)), "inside")

    def holds(self, outer: Phrase, inner: Phrase) -> Question:
        return self.into(inner, outer)

    # ----------------------------------------------------------------------------------------------- whole sentences
    def sentence(self, *parts: Any) -> Question:
        question: Question = next(p for p in parts if isinstance(p, Question))
        for part in parts:
            if isinstance(part, Unit):
                question = in_unit(question, part)
            elif part == "opposite":
                question = replace(question, opposite=True)
            elif part in ("vertical", "horizontal"):
                if question.type != "distance":
                    raise NoReadingError
                plane: Any = f"{part}_distance"
                question = replace(question, type=plane)
            elif part == "centers":
                if question.type not in ("gap", "distance"):
                    raise NoReadingError
                question = replace(question, type="distance")
        return question

    def context(self, *parts: Any) -> Context:
        return Context(next(p for p in parts if isinstance(p, tuple)), tuple(p for p in parts if isinstance(p, Phrase)))

    def subject(self, phrase: Phrase, _: Question) -> Context:
        return Context((phrase,))

    def standing(self, phrase: Phrase) -> Standing:
        return Standing(phrase)

    def gripper(self, metres: float, *_: Any) -> Gripper:
        return Gripper(metres)

    def instruction(self, unit: Unit) -> Unit:
        return unit

    def aside(self) -> Unit:
        """What changes nothing."""
        return Unit("")

    def wanted(self, *parts: Any) -> tuple[Phrase, ...]:
        return next(p for p in parts if isinstance(p, tuple))

    def unit(self, word: Word) -> Unit:
        return Unit(unit_symbol(word.text) or "m")

    def litres(self) -> Unit:
        return Unit("l")

    def in_degrees(self) -> Unit:
        return Unit("deg")

    def plane(self, word: Word) -> str:
        return "vertical" if word.text.lower().startswith("vertical") else "horizontal"


def _side(word: Word) -> Any:
    return "left" if word.text.lower().startswith("left") else "right"


def _type(predicate: Any) -> Any:
    return "place" if predicate in _PLACES else PREDICATES[predicate].type


def _size(measure: Word | str) -> Any:
    return measure if isinstance(measure, str) else _SIZES[measure.text.lower()]


def _first_and_rest(parts: Sequence[Any]) -> tuple[Phrase, tuple[Phrase, ...]]:
    first, *rest = (p for p in parts if isinstance(p, Phrase))
    return first, tuple(rest)


def _bound(parts: Sequence[Any]) -> str:
    return next((p.kind for p in parts if isinstance(p, Bound)), "equal")


def _thing(phrase: Phrase) -> Phrase:
    """A phrase that can be measured: neither the camera nor the picture."""
    if phrase == CAMERA_PHRASE or phrase.noun in _NO_PLACES:
        raise NoReadingError
    return phrase


def _among(kind: Phrase) -> Phrase:
    if kind in (CAMERA_PHRASE, IT):
        raise NoReadingError
    return replace(kind, plural=True)


def _listing(phrase: Phrase) -> Question:
    """All objects that a phrase means; one relative clause is what is asked."""
    if len(phrase.where) == 1 and phrase.where[0].relation in _RELATIONS and phrase.pick is None:
        where = phrase.where[0]
        rest = replace(phrase, where=())
        return Question("related", "objects", where.references, where.relation, among=rest)
    return Question("related", "objects", among=phrase)


def _check_kind(kinds: Sequence[Phrase]) -> None:
    """Refuses "which mug is taller, the box or the can"."""
    if any(kind.noun not in ("object", WHICH.noun, THEM.noun) for kind in kinds):
        raise NoReadingError


def _check_reference(relation: str, reference: Phrase) -> None:
    if relation in ("inside", "on") and (reference == CAMERA_PHRASE or _is_no_place(reference.noun)):
        raise NoReadingError  # "in the picture", "in feet"
    if relation in ("left", "right") and reference.noun in ("image", "scene", "view", "photo", "side"):
        raise NoReadingError  # "on the left of the image"


def _is_no_place(noun: str) -> bool:
    return noun in _NO_PLACES or noun.split()[-1] in CLASSES["_CLOTHES"].split()


def _relative(form: Any, anchor: Phrase, candidates: tuple[Phrase, ...], near: str) -> Question:
    if CAMERA_PHRASE in candidates:
        raise NoReadingError
    return Question("relative_distance", form, (anchor, *candidates), near)


def _fit(predicate: str, parts: Sequence[Any]) -> Question:
    metres = next((p for p in parts if isinstance(p, float)), None)
    phrase = next(p for p in parts if isinstance(p, Phrase))
    return Question("fit", "yes_no", (_thing(phrase),), predicate, limit=metres)


def _distance(objects: tuple[Phrase, ...], parts: Sequence[Any]) -> Question:
    """A distance, the camera last."""
    planes = [p for p in parts if p in ("vertical", "horizontal")]
    if len(planes) > 1 or objects == (CAMERA_PHRASE, CAMERA_PHRASE):
        raise NoReadingError
    if objects[0] == CAMERA_PHRASE:
        objects = objects[::-1]
    kind: Any = f"{planes[0]}_distance" if planes else "distance"
    return _with_unit(Question(kind, "number", objects), parts)


def _with_unit(question: Question, parts: Sequence[Any]) -> Question:
    unit = next((p for p in parts if isinstance(p, Unit)), None)
    return question if unit is None else in_unit(question, unit)


def in_unit(question: Question, unit: Unit) -> Question:
    litres, degrees = question.type in ("volume", "big_small"), question.type == "direction"
    if question.form not in ("number", "difference", "position") or question.type == "count":
        raise NoReadingError
    if question.type == "position" and unit.symbol == "deg" and len(question.objects) == 1:
        return Question("direction", "number", (CAMERA_PHRASE, *question.objects), unit="deg")
    if (unit.symbol == "l") != litres or (unit.symbol == "deg") != degrees:
        raise NoReadingError
    return replace(question, unit=unit.symbol)


def _about(subject: Phrase, question: Question) -> Question:
    """The question with its subject in place."""

    def put(phrase: Phrase) -> Phrase:
        if phrase.noun != SUBJECT.noun:
            return phrase
        colored = " ".join((*phrase.colors, subject.text))
        return replace(subject, colors=(*subject.colors, *phrase.colors), text=colored)

    if subject == CAMERA_PHRASE:
        raise NoReadingError
    if (subject.is_anything or subject.text.startswith("any ")) and question.predicate in _RELATIONS:
        where = Where(question.predicate, question.objects[1:])  # type: ignore[arg-type]
        return Question("exists", "yes_no", (replace(subject, where=(*subject.where, where)),))
    return replace(question, objects=tuple(put(p) for p in question.objects))


def _restricted(among: Phrase, said: Question) -> Phrase:
    """Of `among` those of which a predicate holds."""
    if said.type == "exists":
        return replace(among, colors=(*among.colors, *said.objects[0].colors))
    if said.predicate not in _RELATIONS or said.type == "relative_distance":
        raise NoReadingError
    return replace(among, where=(*among.where, Where(said.predicate, said.objects[1:])))  # type: ignore[arg-type]


def _joined(first: Pick | None, second: Pick) -> Pick:
    """An ordinal and the end that it is counted from."""
    if first is None:
        return second
    if second.predicate and not first.predicate:
        first, second = second, first
    if second.predicate or first.rank != 1:
        raise NoReadingError
    return Pick(_OPPOSITES[first.predicate], 1) if second.rank == -1 else Pick(first.predicate, second.rank)


def _split_noun(words: list[str]) -> tuple[str, list[str]]:
    """Head of a noun, and what follows with "of" or "with", without articles: "cup", "of coffee"."""
    for at, word in enumerate(words):
        if at and word in ("of", "with"):
            return " ".join(words[:at]), [w for w in words[at:] if w not in ("a", "an", "the")]
    return " ".join(words), []


def within(phrase: Phrase) -> tuple[Phrase, ...]:
    """A phrase and those of its relative clauses."""
    return (phrase, *(p for where in phrase.where for reference in where.references for p in within(reference)))


def mentioned(question: Question) -> tuple[Phrase, ...]:
    """All phrases of a question, those of relative clauses too."""
    among = (question.among,) if question.among else ()
    return tuple(p for phrase in (*question.objects, *among) for p in within(phrase))


def wanted_by(question: Question) -> tuple[Phrase, ...]:
    """What a question asks to be shown, where it asks for objects."""
    if question.type in ("exists", "position"):
        return question.objects[:1]
    if question.type == "extreme" and question.form == "choice" and question.among is not None:
        pick = question.among.pick or Pick(question.predicate)
        return (replace(question.among, pick=pick, plural=False),)
    if question.type == "related" and question.among is not None:
        if not question.predicate:
            return (question.among,)
        where = Where(question.predicate, question.objects)  # type: ignore[arg-type]
        return (
            (replace(question.among, where=(*question.among.where, where)),) if question.predicate in _RELATIONS else ()
        )
    return ()


def resolved_question(question: Question, told: Sequence[Any]) -> Question:
    """A question whose pronouns are replaced by what they stand for.

    Args:
        told: what the sentences before it say.

    Raises:
        NoReadingError: where that is unclear.
    """
    question = _from_where(question, told)
    contexts = [t for t in told if isinstance(t, Context)]
    spoken_of = [p for c in contexts for p in (*c.phrases, *c.places)]
    if not spoken_of and question.type == "distance" and question.objects[0] == IT:
        question = replace(question, objects=(question.objects[1], CAMERA_PHRASE))  # "how far is it to the door"
    several = tuple(dict.fromkeys(spoken_of))
    question = _with_them(question, several)
    named = [p for p in mentioned(question) if not p.noun.startswith("\0") and p not in (CAMERA_PHRASE, ANYTHING)]
    last = [*contexts[-1].phrases, *contexts[-1].places] if contexts else []
    free = tuple(p for p in dict.fromkeys(last) if p not in named)
    kinds = spoken_of or [p for p in question.objects if p in named]
    nouns = tuple(dict.fromkeys(p.noun for p in kinds))
    among = _resolved(question.among, free, nouns) if question.among else None
    objects = tuple(_resolved(p, free, nouns) for p in question.objects)
    if question.type == "related" and _is_in_picture(question.predicate, objects):
        return replace(question, predicate="", objects=(), among=among)
    return replace(question, objects=objects, among=among)


def resolved_phrases(phrases: Sequence[Phrase]) -> tuple[Phrase, ...]:
    """Phrases, each once, without pronouns; raises as `resolved_question`."""
    nouns = tuple(dict.fromkeys(p.noun for p in phrases if not p.noun.startswith("\0")))
    things = (replace(p, noun=p.text.lower()) if p == CAMERA_PHRASE else p for p in phrases)
    return tuple(dict.fromkeys(_resolved(p, (), nouns) for p in things))


def _resolved(phrase: Phrase, free: tuple[Phrase, ...], nouns: tuple[str, ...]) -> Phrase:
    """A phrase without pronouns: "it" is the one of `free`, "one" the one of `nouns`."""
    if phrase.where:
        where = [replace(w, references=tuple(_resolved(r, free, nouns) for r in w.references)) for w in phrase.where]
        phrase = replace(phrase, where=tuple(w for w in where if not _is_in_picture(w.relation, w.references)))
    if phrase == IT:
        if len(free) != 1 or free[0].plural:
            raise NoReadingError("does not say what 'it' is")
        return free[0]
    if phrase.noun == ONE.noun and len(free) == 1 and not (phrase.colors or phrase.attributes or phrase.pick):
        return replace(free[0], where=(*free[0].where, *phrase.where))
    if phrase.noun == ONE.noun:
        if len(nouns) != 1:
            raise NoReadingError("does not say what 'one' is")
        return replace(phrase, noun=nouns[0], text=f"{phrase.text.rpartition(' ')[0]} {nouns[0]}".strip())
    if phrase.noun == WHICH.noun and len(free) < 2:
        return replace(phrase, noun="object")
    if phrase.noun in (THEM.noun, WHICH.noun):
        raise NoReadingError("does not say what 'them' means")
    return phrase


def _is_in_picture(relation: str, references: Sequence[Phrase]) -> bool:
    """ "Look at this picture. How many mugs are in it?" """
    return relation in ("inside", "on") and references[0].noun in CLASSES["_SCENE"].split()


def _from_where(question: Question, told: Sequence[Any]) -> Question:
    """With the place where the asker stands, and the gripper that was told of."""
    for standing in (t for t in told if isinstance(t, Standing)):
        if question.type == "position" and len(question.objects) == 1:
            question = Question("direction", "number", question.objects)
        elif question.type != "direction" or question.objects[0] != CAMERA_PHRASE:
            raise NoReadingError
        question = replace(question, objects=(standing.place, question.objects[-1]))
    for gripper in (t for t in told if isinstance(t, Gripper)):
        if question.type != "fit" or question.limit is not None:
            raise NoReadingError
        question = replace(question, limit=gripper.opening)
    if question.type == "fit" and question.limit is None and len(question.objects) == 1:
        raise NoReadingError("does not say how far the gripper opens, as 'a gripper that opens 10 cm' would")
    return question


def _with_them(question: Question, several: tuple[Phrase, ...]) -> Question:
    """ "Them", and "which", where a question takes several objects: those that were told of."""
    if question.among is not None and question.among.noun in (THEM.noun, WHICH.noun):
        if question.among == WHICH and len(several) < 2 and not any(p.plural for p in several):
            return replace(question, among=ANYTHING)
        if len(several) == 1 and several[0].plural:
            return replace(question, among=several[0])
        if len(several) < 2 or question.type not in ("extreme", "order", "depth_order", "relative_distance"):
            raise NoReadingError("does not say which objects are meant")
        kind = _type(question.predicate) if question.type == "extreme" and len(several) == 2 else question.type
        return replace(question, type=kind, objects=(*question.objects, *several), among=None)
    if THEM in question.objects and len(question.objects) == 1:
        if len(several) == 1 and several[0].plural and several[0].number in (2, None):
            return replace(question, objects=(replace(several[0], number=2),))
        if len(several) == 2:
            return replace(question, objects=several)
    return question
