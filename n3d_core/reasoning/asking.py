"""Rewords a question for a small model, in the words that it was trained on.

By then the noun phrases have been resolved: clauses, pronouns and politeness are gone, and each object is called what
it is called in the model's prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from n3d_core.reasoning.lexicon import ORDINALS, plural, without_id
from n3d_core.reasoning.outcome import rank_of, sought
from n3d_core.reasoning.question import ANYTHING, COMPARISONS, SIZES, Question
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.resolve import Roles, article, listed
from n3d_core.reasoning.units import UNITS

_ADJECTIVES = {"width": "wide", "height": "tall", "length": "long", "thickness": "thick"}
_CHOSEN = {
    "left": "further to the left", "right": "further to the right", "front": "closer to the camera",
    "behind": "farther from the camera", "above": "higher", "below": "lower",
}  # fmt: skip
"""What one of two is, where that is not the comparative."""
_MORE = {
    "left": "farther to the left than", "right": "farther to the right than", "front": "closer to the camera than",
    "behind": "farther from the camera than", "thinner": "narrower than",
    **{p: PREDICATES[p].phrase for p in ("wider", "taller", "shorter", "bigger", "smaller", "longer", "thicker")},
}  # fmt: skip
"""What stands behind "how much" in a question for a difference."""
RELATION_WORDS = {p: PREDICATES[p].phrase for p in ("left", "right", "front", "behind", "above", "below")} | {
    "on": "on top of", "under": "underneath", "inside": "inside", "next_to": "next to",
}  # fmt: skip
"""What training texts and prompts say of a relation to one object."""
_LIMITS = {"width": ("wider", "narrower"), "height": ("taller", "shorter"), "length": ("longer", "less long")}
_ORDERS = {
    "left": "from left to right", "right": "from right to left", "shorter": "from shortest to tallest",
    "taller": "from tallest to shortest", "smaller": "from smallest to largest", "bigger": "from largest to smallest",
    "wider": "from widest to narrowest", "thinner": "from narrowest to widest", "below": "from lowest to highest",
    "above": "from highest to lowest", "front": "from near to far", "behind": "from far to near",
}  # fmt: skip
_FITS = {
    "grip": "Can a gripper with an opening of {} hold {}?",
    "gap": "Does {1} fit through a gap of {0}?",
    "under": "Does {1} fit under a shelf that is {0} high?",
}
_MOST_LISTED = 5


def plain_question(question: Question, roles: Roles) -> str:
    """A question in the model's words, about the objects in its roles; empty if it was not trained on this kind."""
    if question.is_computed:
        return ""
    opposite = question.opposite and question.type in ("left_right", "front_behind") and question.form == "yes_no"
    if question.opposite and not opposite:
        return ""
    write = _comparison if question.type in COMPARISONS else _WRITE.get(question.type)
    counted = question.type in ("count", "exists")
    plain = write(question, _called(roles.names)) if write is not None and (len(roles) or counted) else ""
    return f"{plain[:-1]} as seen from the opposite side?" if plain and opposite else plain


def _called(names: Sequence[str]) -> list[str]:
    """`the red mug`; `3_red mug` where two have that name, and for up to three objects if their names are numbered."""
    bare = [without_id(name) for name in names]
    numbered = len(set(bare)) < len(bare) or (len(names) <= 3 and any(b != n for b, n in zip(bare, names, strict=True)))
    return [
        "the camera" if name == "camera" else name if numbered and b != name else f"the {b}"
        for name, b in zip(names, bare, strict=True)
    ]


def _unit(question: Question) -> str:
    return "" if question.unit == "m" else f" in {UNITS[question.unit].plural}" if question.unit in UNITS else ""


def _limit(question: Question) -> str:
    """The limit in whole centimetres, as the model knows limits; empty if it has a fraction of one."""
    cm = round((question.limit or 0.0) * 100, 6)
    return f"{cm:.0f} cm" if cm == int(cm) else ""


def _whether(name: str, what: str) -> str:
    """A yes/no question. One that begins with "is" is taken for one about existence more often."""
    return f"Would you say that {name} is {what}?"


def _comparison(question: Question, names: list[str]) -> str:
    predicate, (a, b) = PREDICATES[question.predicate], names
    if question.form == "yes_no":
        return f"Is {a} {predicate.phrase} {b}?" if question.opposite else _whether(a, f"{predicate.phrase} {b}")
    if question.form == "choice":
        word = _CHOSEN.get(question.predicate) or predicate.phrase.removesuffix(" than")
        return f"Which is {word}, {a} or {b}?"
    if question.form == "free":
        return f"Is {a} {predicate.phrase.removesuffix(' than')} or {PREDICATES[predicate.converse].phrase} {b}?"
    more, unit = _MORE.get(question.predicate), " in liters" if predicate.measure == "V" else _unit(question)
    return f"How much {more} {b} is {a}{unit}?" if more else ""


def _size(question: Question, names: list[str]) -> str:
    (name,) = names
    if question.type == "volume":
        return f"What is the volume of {name} in liters?" if question.form == "number" else ""
    if question.form == "number":
        return f"How {_ADJECTIVES[question.type]} is {name}{_unit(question)}?"
    words, limit = _LIMITS.get(question.type), _limit(question)
    if not words or not limit or question.predicate not in ("more", "less"):
        return ""
    return _whether(name, f"{words[question.predicate == 'less']} than {limit}")


def _distance(question: Question, names: list[str]) -> str:
    a, b = names
    if question.form == "yes_no":
        limit = _limit(question)
        known = question.type == "distance" and limit and question.predicate in ("more", "less")
        return f"Is the distance between {a} and {b} {question.predicate} than {limit}?" if known else ""
    if question.type == "distance":
        other = b if a == "the camera" else a
        return f"How far is {other} from {'the camera' if 'the camera' in names else b}{_unit(question)}?"
    if "the camera" in names:
        return ""
    if question.type == "gap":
        return f"How big is the gap between {a} and {b}{_unit(question)}?"
    kind = question.type.removesuffix("_distance")
    return f"What is the {kind} distance between {a} and {b}{_unit(question)}?"


def _closest(question: Question, names: list[str]) -> str:
    anchor, *rest = names
    word, to = ("farther", "from") if question.predicate == "farther" else ("closer", "to")
    pair = len(rest) == 2
    if question.form == "difference":
        return f"By how much is {anchor} {word} {to} {rest[0]} than {to} {rest[1]}{_unit(question)}?"
    if question.form == "yes_no":
        return _whether(anchor, f"{word} {to} {rest[0]} than {to} {rest[1]}") if pair else ""
    if pair:
        return f"Which is {word} {to} {anchor}, {rest[0]} or {rest[1]}?"
    most = "farthest from" if question.predicate == "farther" else "closest to"
    return f"Which object is {most} {anchor}?" if question.among is not None else ""


def _extreme(question: Question, names: list[str]) -> str:
    among, rank, word = question.among, rank_of(question), PREDICATES[question.predicate].superlative
    kind = among.label if among is not None and replace(among, pick=None).is_plain and not among.attributes else ""
    if question.form == "yes_no":
        return _whether(names[0], f"the {word} {kind}") if kind else ""
    order = f"{ORDINALS[rank - 1]} " if 1 < rank <= len(ORDINALS) else ""
    if kind and rank <= len(ORDINALS):
        return f"Which is the {order}{word} {kind}?" if order else f"Which {kind} is the {word}?"
    listable = rank == 1 and 2 < len(names) <= _MOST_LISTED
    return f"Which of {listed(names)} is the {word}?" if listable else ""


def _order(question: Question, names: list[str]) -> str:
    how = _ORDERS.get(question.predicate, "")
    return f"Sort {listed(names)} {how}." if how and len(names) <= _MOST_LISTED else ""


def _direction(question: Question, names: list[str]) -> str:
    a, b = names
    if question.form != "number":
        return ""
    if "the camera" not in names:
        return f"At what o'clock is {b} from {a}?" if question.unit != "deg" else ""
    if a != "the camera":
        return ""
    return f"How many degrees to the side is {b}?" if question.unit == "deg" else f"At what o'clock is {b}?"


def _position(question: Question, names: list[str]) -> str:
    return f"Where is {names[1]}?" if names[0] == "the camera" and question.unit == "m" else ""


def _count(question: Question, names: list[str]) -> str:
    """How many there are, or how many of them are in a relation to the first of the names."""
    kind = sought(question)
    if kind.pick or kind.without or kind.attributes or question.limit is not None:
        return ""
    if kind.where:
        where = kind.where[0]
        relation, name = RELATION_WORDS.get(where.relation, ""), names[0] if names else ""
        known = relation and question.form == "number" and len(kind.where) == len(where.references) == 1
        named = known and not where.references[0].plural and name.endswith(f" {where.references[0].noun}")
        return f"How many {plural(kind.label)} are {relation} {name}?" if named else ""
    if question.type == "exists":
        return f"Is there {article(kind.label)} in the scene?"
    return f"How many {plural(kind.label)} are there?" if question.form == "number" else ""


def _related(question: Question, names: list[str]) -> str:
    kind, relation = question.among, RELATION_WORDS.get(question.predicate, "")
    if question.form != "objects" or not relation or (kind is not None and not kind.is_plain):
        return ""
    return f"Which {plural((kind or ANYTHING).label)} are {relation} {names[0]}?"


def _same(question: Question, names: list[str]) -> str:
    if question.predicate in ("side", "other_side"):
        return ""
    return f"Is {names[0]} as {_ADJECTIVES.get(question.predicate, 'big')} as {names[1]}?"


def _dimensions(question: Question, names: list[str]) -> str:
    return f"What are the dimensions of {names[0]}{_unit(question)}?"


def _place(question: Question, names: list[str]) -> str:
    if question.predicate == "between":
        return _whether(names[0], f"between {names[1]} and {names[2]}")
    relation = RELATION_WORDS.get(question.predicate, "")
    return _whether(names[0], f"{relation} {names[1]}") if relation and len(names) == 2 else ""


def _fit(question: Question, names: list[str]) -> str:
    if question.predicate == "between":
        return f"Does {names[0]} fit between {names[1]} and {names[2]}?"
    if question.limit is None:
        return f"Does {names[0]} fit into {names[1]}?" if question.predicate in ("", "inside") else ""
    words, limit = _FITS.get(question.predicate or "gap"), _limit(question)
    return words.format(limit, names[0]) if words and limit else ""


_WRITE: dict[str, Callable[[Question, list[str]], str]] = {
    **dict.fromkeys(SIZES, _size),
    **dict.fromkeys(("distance", "vertical_distance", "horizontal_distance", "gap"), _distance),
    "relative_distance": _closest,
    "extreme": _extreme,
    **dict.fromkeys(("order", "depth_order"), _order),
    "direction": _direction,
    "position": _position,
    **dict.fromkeys(("count", "exists"), _count),
    "related": _related,
    "place": _place,
    "same": _same,
    "dimensions": _dimensions,
    "fit": _fit,
}
