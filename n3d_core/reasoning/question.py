"""The typed question and the typed value of its answer.

A text is parsed once into a `Question` over `Phrase`s (noun phrases). Solver, drafts, grammar and audit all take these
types; none of them looks at the words of the question again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from n3d_core.geometry.boxes import Vector

QuestionType = Literal[
    # comparisons of two objects; what decides is in `predicate`
    "left_right",
    "above_below",
    "front_behind",
    "wide_thin",
    "tall_short",
    "big_small",
    "long_short",
    "thick_thin",
    # places: yes/no only; predicate: on, under, inside, next_to, between (`objects` is subject, reference(s))
    "place",
    # which candidate is closest to (farthest from) an anchor; predicate: closer, farther
    "relative_distance",
    # three or more by depth; `order` is the same by any other measure
    "depth_order",
    "order",
    # lengths of one object; with the predicate `sum` of several together
    "width",
    "height",
    "length",
    "thickness",
    "volume",
    "dimensions",  # width, height and length together; or the `footprint`, the area of width by length
    # lengths between two (one may be CAMERA); with the predicate `path` from one to the next of more; with `closer` or
    # `farther` between those two of `among` that are closest to each other, or farthest apart (`objects`: which two)
    "distance",
    "vertical_distance",
    "horizontal_distance",
    "gap",
    # the rest
    # from objects[0] (or CAMERA) to objects[1]: clock hour, or degrees where unit is "deg"; yes/no: whether it is at
    # the hour `count`, or straight ahead
    "direction",
    "angle",  # between the lines of sight to objects[0] and objects[1]
    "color",  # which color the label of objects[0] names, or which colors those of all `among`
    "position",  # where is objects[0]
    "count",  # how many `among`; how many `kinds` or `colors` of them
    "exists",  # is there an objects[0]
    "extreme",  # which of `among` is the most of something
    "related",  # what stands in relation `predicate` to objects
    "fit",  # does objects[0] fit into `limit` metres (`cube`: in each direction), into objects[1], or between
    # objects[1] and objects[2]
    # are two alike in `predicate`, a `Size` or "dimensions" (all three), or on one side or the other of the picture
    # (`side`, `other_side`), or in the color that their labels name (`color`, `other_color`; perhaps of all `among`;
    # `some_color`: of any two of these);
    # yes/no only
    "same",
    "all",  # does all of `among` belong to objects[0]; yes/no only
    "outnumber",  # are there more (`predicate`: less, equal) objects[0] than objects[1], or how many more; `any`: are
    # there any of them, or how many together; `each`: are there some of each
    "proportion",  # is the first of `sizes` of objects[0] more (less, equal, at least, at most) than `factor` times the
    # second, of itself or of objects[1]; or how many times, or (`percent`) what percentage of it
]

Form = Literal["yes_no", "choice", "free", "number", "difference", "order", "objects", "position"]

Relation = Literal[
    "left", "right", "front", "behind", "above", "below", "wider", "thinner", "taller", "shorter", "bigger", "smaller",
    "longer", "less_long", "thicker", "less_thick", "on", "under", "inside", "next_to", "between", "nearest",
    "farthest", "within", "beyond", "among", "color",
]  # fmt: skip
Size = Literal["width", "height", "length", "thickness", "distance"]


COMPARISONS: tuple[QuestionType, ...] = (
    "left_right", "above_below", "front_behind", "wide_thin", "tall_short", "big_small", "long_short", "thick_thin",
)  # fmt: skip
SIZES: tuple[QuestionType, ...] = ("width", "height", "length", "thickness", "volume")
DISTANCES: tuple[QuestionType, ...] = ("distance", "vertical_distance", "horizontal_distance", "gap")
TYPES: tuple[QuestionType, ...] = get_args(QuestionType)


@dataclass(frozen=True)
class Pick:
    """A superlative or ordinal, which picks among the objects that the rest of a phrase means.

    Attributes:
        predicate: key of `relations.PREDICATES` ("taller" for tallest, "left" for leftmost, "front" for nearest), or
            "middle": the one in the middle from left to right.
        rank: 1 for the first from that end, 2 for the second, ...
    """

    predicate: str
    rank: int = 1


@dataclass(frozen=True)
class Where:
    """A relative clause: the objects of the phrase stand in `relation` to those of the references.

    "the lamp next to the green car" has relation `next_to`, references (green car,). "the mug closest to the lamp" has
    relation `nearest`: of several candidates it keeps one. `between` has two references. A reference may be CAMERA.
    "Wider than 20 cm" has a limit in metres and no reference, "within 50 cm of the camera" (or "beyond") has both.
    "Second closest to the lamp" has the rank 2. `among` keeps the references themselves: "the taller one of A and B".
    `color` keeps what has the same color as the reference.
    """

    relation: Relation
    references: tuple[Phrase, ...]
    limit: float | None = None
    rank: int = 1


@dataclass(frozen=True)
class Phrase:
    """A noun phrase.

    Attributes:
        text: as written, without article ("red mug on the left"). Ignored when phrases are compared.
        noun: head noun in the singular, lower case ("mug"); "object" where anything is meant ("everything", "things",
            "what"); "camera" for CAMERA. A name that the caller supplied ("4_chair") is kept whole.
        colors: colour words, lower case, in order.
        attributes: other adjectives, lower case, in order ("big", "wooden"); geometry can only check sizes.
        plural: whether several may be meant ("the mugs", "all mugs").
        number: the number in the phrase ("the two mugs"), if there is one.
        where: relative clauses, each of which must hold.
        without: what is left out ("everything except the ball", "mugs that are not red").
        pick: superlative or ordinal, applied after `where`.
        named: whether the phrase is a name that the caller supplied; such names are matched whole.
        every: whether all of several are meant ("all mugs", "the mugs", "everything"), not just some.
            Ignored when phrases are compared.
    """

    text: str = field(compare=False)
    noun: str
    colors: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    plural: bool = False
    number: int | None = None
    where: tuple[Where, ...] = ()
    pick: Pick | None = None
    named: bool = False
    without: tuple[Phrase, ...] = ()
    every: bool = field(default=False, compare=False)

    @property
    def label(self) -> str:
        """What is grounded for this phrase: attributes, colours and noun ("red mug")."""
        return " ".join((*self.attributes, *self.colors, self.noun))

    @property
    def is_anything(self) -> bool:
        """Whether every object is meant, whatever its class and colour."""
        return self.noun == "object" and not (self.colors or self.attributes)

    @property
    def is_plain(self) -> bool:
        """Whether a label says it all, so that nothing is left for geometry."""
        return not (self.where or self.pick or self.without)

    @property
    def parts(self) -> tuple[Phrase, ...]:
        """This phrase and those that its clauses and exceptions refer to, the camera too."""
        inner = [*(reference for where in self.where for reference in where.references), *self.without]
        itself = () if any(where.relation == "among" for where in self.where) else (self,)
        return (*itself, *(part for phrase in inner for part in phrase.parts))


CAMERA_PHRASE = Phrase("camera", "camera")
"""The camera (the robot, the asker: "me", "you", "us", "here") as a place."""
ANYTHING = Phrase("object", "object", plural=True)
"""Every object."""


@dataclass(frozen=True)
class Question:
    """What one question asks for.

    Attributes:
        type: what is computed.
        form: how it is answered: `yes_no`; `choice` of one of `objects`; `free` (which of both relations holds);
            `number`; `difference` (how much taller: a length); `order`; `objects` (which ones); `position`.
        objects: noun phrases in the order of their roles: A, B for comparisons, distances and directions; the anchor
            first and then the candidates for `relative_distance`; all that compete for orders and choices among named
            ones.
        predicate: what is asked for: a key of `relations.PREDICATES`; a `Relation`; `closer` or `farther` for
            `relative_distance`; how a length or count is compared (`more`, `less`, `at_least`, `at_most`, `equal` or
            empty) in yes/no questions; `grip`, `gap` (or empty), `under`, `inside` or `between` for `fit`; empty where
            the type says all. Others are named with the types.
        unit: symbol of the unit that is wanted: m, cm, mm, ft, in; "deg" for directions in degrees; "l" for litres.
        opposite: whether the view from the side opposite the camera is meant.
        among: the phrase whose objects compete or are counted ("mugs left of the laptop").
        count: for yes/no questions about a number ("are there two mugs?"): the number.
        limit: for `fit`, and yes/no questions about a length ("is it taller than 20 cm?"): metres; about a volume,
            cubic metres.
        negated: whether the negation is asked: "is the mug not red", "are there no mugs": yes if it is not, if there
            are none. "Isn't the mug red?" asks whether it is.
        sizes, factor: for `proportion`, the two that are compared, and how many times the second is meant.
    """

    type: QuestionType
    form: Form
    objects: tuple[Phrase, ...] = ()
    predicate: str = ""
    unit: str = "m"
    opposite: bool = False
    among: Phrase | None = None
    count: int | None = None
    limit: float | None = None
    negated: bool = False
    sizes: tuple[Size, ...] = ()
    factor: float = 1.0

    @property
    def is_computed(self) -> bool:
        """Whether boxes alone answer it: what models are not asked, as they were not taught to answer it."""
        others = ("sum", "path", "kinds", "colors", "color", "other_color", "some_color", "cube", "but_no", "footprint")
        paired = self.type in DISTANCES and self.among is not None
        ordered = self.type == "relative_distance" and self.form == "order"
        measured = self.type == "proportion" and self.form == "number"
        listed = self.type == "color" and self.among is not None
        away = self.type == "same" and self.predicate == "distance"
        colored = any(where.relation == "color" for phrase in self.phrases for where in phrase.where)
        beside = self.type == "outnumber" and any(phrase.where for phrase in self.objects)
        alone = (paired, ordered, measured, listed, away, colored, beside)
        return self.negated or self.predicate in others or any(alone)

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """Every noun phrase, those of relative clauses too, once each."""
        named = (*self.objects, *([self.among] if self.among is not None else []))
        return tuple(dict.fromkeys(part for phrase in named for part in phrase.parts))


@dataclass(frozen=True)
class NotUnderstood:
    """A text that was not understood, or that geometry cannot answer.

    Attributes:
        why: `language` (not English), `wording` (not understood), `not_geometry` (understood as about something that
            boxes do not hold: cost, material, owner), `too_long`, `several` (more than one question), `contradictory`.
        reason: one sentence for the user.
        phrases: noun phrases that were recognised all the same.
    """

    why: Literal["language", "wording", "not_geometry", "too_long", "several", "contradictory"]
    reason: str
    phrases: tuple[Phrase, ...] = field(default=())


Kind = Literal["none", "truth", "length", "count", "objects", "direction", "position"]


@dataclass(frozen=True)
class Value:
    """What an answer says, in SI units; the fields of `msg/Value.msg`. Zero means nothing.

    Attributes:
        kind: which of the other fields holds the value.
        truth: for `truth`.
        number: for `length` metres, for `count` a number, for `direction` radians about the up axis, counter-clockwise
            from ahead.
        objects: for `objects` indices into the boxes of the answer, in its order.
        point: for `position` metres, in the frame of the boxes.
    """

    kind: Kind = "none"
    truth: bool = False
    number: float = 0.0
    objects: tuple[int, ...] = ()
    point: Vector = (0.0, 0.0, 0.0)


NOTHING = Value()
"""No value: the question was not answered, or the boxes do not decide it."""
