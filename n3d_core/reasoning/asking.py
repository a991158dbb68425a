"""A typed question in plain words, about the objects that its phrases turned out to mean.

A small model is asked so: clauses, pronouns, politeness and whatever else its second pass was not taught are resolved
by then. Kinds that have no one plain wording are asked in the user's own words.
"""

from __future__ import annotations

from n3d_core.reasoning.nouns import plural, without_id
from n3d_core.reasoning.outcome import sought
from n3d_core.reasoning.question import COMPARISONS, Question
from n3d_core.reasoning.relations import PREDICATES
from n3d_core.reasoning.replies import relation_words
from n3d_core.reasoning.resolve import Roles, article
from n3d_core.reasoning.units import UNITS

_ADJECTIVES = {"width": "wide", "height": "tall", "length": "long", "thickness": "thick"}
_CHOSEN = {
    "left": "further to the left", "right": "further to the right", "front": "closer to the camera",
    "behind": "farther from the camera", "above": "higher", "below": "lower",
}  # fmt: skip


def plain_question(question: Question, roles: Roles) -> str:
    """The question in plain words; empty where there are none."""
    if question.opposite or question.limit is not None or question.negated:
        return ""
    names = [name if name == "camera" else _the(name) for name in roles.names]
    if question.type in COMPARISONS:
        return _comparison(question, names)
    if question.type in _ADJECTIVES and question.form == "number":
        return f"How {_ADJECTIVES[question.type]} is {names[0]}{_unit(question)}?"
    if question.form == "number" and question.type in ("distance", "vertical_distance", "horizontal_distance", "gap"):
        return _distance(question, names)
    if question.type in ("count", "exists"):
        return _count(question)
    if question.type == "relative_distance":
        return _closest(question, names)
    if question.type == "direction" and question.unit != "deg" and "camera" not in names:
        return f"At what o'clock is {names[1]} from {names[0]}?"
    if question.type == "extreme" and question.form == "choice" and question.among is not None:
        plain = not question.among.where and (question.among.pick is None or question.among.pick.rank == 1)
        return f"Which {question.among.noun} is the {PREDICATES[question.predicate].superlative}?" if plain else ""
    return ""


def _the(name: str) -> str:
    return name if without_id(name) != name else f"the {name}"


def _unit(question: Question) -> str:
    return "" if question.unit == "m" else f" in {UNITS[question.unit].plural}" if question.unit in UNITS else ""


def _comparison(question: Question, names: list[str]) -> str:
    predicate = PREDICATES[question.predicate]
    if question.form == "yes_no":
        return f"Is {names[0]} {predicate.phrase} {names[1]}?"
    if question.form == "choice":
        word = _CHOSEN.get(question.predicate) or predicate.phrase.removesuffix(" than")
        return f"Which is {word}, {names[0]} or {names[1]}?"
    if question.form == "free":
        return f"Is {names[0]} {predicate.phrase} or {PREDICATES[predicate.converse].phrase} {names[1]}?"
    return ""


def _distance(question: Question, names: list[str]) -> str:
    a, b = names
    if question.type == "distance":
        if "camera" in names:
            return f"How far is {b if a == 'camera' else a} from the camera{_unit(question)}?"
        return f"How far is {a} from {b}{_unit(question)}?"
    if question.type == "gap" or "camera" in names:
        return ""
    kind = question.type.removesuffix("_distance")
    return f"What is the {kind} distance between {a} and {b}{_unit(question)}?"


def _count(question: Question) -> str:
    kind = sought(question)
    if kind.where or kind.pick:
        return ""
    if question.type == "exists":
        return f"Is there {article(kind.label)} in the scene?"
    return f"How many {plural(kind.label)} are there?" if question.form == "number" else ""


def _closest(question: Question, names: list[str]) -> str:
    anchor, *rest = names
    word, to = ("farther", "from") if question.predicate == "farther" else ("closer", "to")
    if question.form == "yes_no" and question.among is None and len(rest) == 2:
        return f"Is {anchor} {word} {to} {rest[0]} than {to} {rest[1]}?"
    if question.form != "choice":
        return ""
    if question.among is not None:
        return (
            f"Which {question.among.noun} is {relation_words('nearest' if word == 'closer' else 'farthest')} {anchor}?"
        )
    return f"Which is {word} {to} {anchor}, {rest[0]} or {rest[1]}?" if len(rest) == 2 else ""
