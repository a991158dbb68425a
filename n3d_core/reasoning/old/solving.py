"""Answers a spatial question by geometry, with the reasoning spelled out in the model's own patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.old import relations
from n3d_core.reasoning.old.chain import Style, chain_of_thought
from n3d_core.reasoning.old.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.old.reading import read_question
from n3d_core.reasoning.old.relations import PREDICATES
from n3d_core.reasoning.old.roles import Roles, resolve
from n3d_core.reasoning.old.sentences import possible_answers
from n3d_core.reasoning.units import from_metres

Value = float | int | bool | str | tuple[str, ...]

EQUAL = "equal"
"""The value of a choice between objects that the boxes do not tell apart."""


@dataclass(frozen=True)
class Solution:
    """The answer that the boxes give.

    Attributes:
        question: what was asked.
        roles: the objects and boxes it is about.
        value: metres converted to `unit` for lengths; the hour 1..12; a count; True or False; the name of the chosen
            object; the predicate that holds (`left`) for free questions; names in order; `equal` where nothing decides.
        unit: `m`, `cm`, `mm`, `ft`, `in` for lengths, `o'clock` for directions, otherwise empty.
        text: the answer in words.
        steps: the chain of thought, one sentence or formula each. It is computed from the numbers as the model's prompt
            states them (2 decimals), so it can differ from `value` in the last digit.
    """

    question: Question
    roles: Roles
    value: Value
    unit: str
    text: str
    steps: tuple[str, ...]

    @property
    def reasoning(self) -> str:
        """The chain of thought as one text, without its `<think>` marks."""
        return " ".join(self.steps)


def answer_by_geometry(
    question: str, boxes: Sequence[Box3D], names: Sequence[str] | None = None, style: Style = "compact"
) -> Solution:
    """Reads a question and answers it from boxes alone.

    Args:
        question: free wording; see `reading`.
        boxes: what was found in the scene, optical frame.
        names: what the boxes are called (`4_chair`), parallel to `boxes`; their labels if None.
        style: `compact`, or `published` for the wording of the released model.

    Raises:
        QueryError: if the wording is not understood, or an object of it fits no box or several.
    """
    called = [b.label for b in boxes] if names is None else list(names)
    read = read_question(question, called)
    if read is None:
        raise QueryError(
            f"geometry cannot read the question {question!r}: ask about a relation, a size, a distance, a "
            "direction, an order or a count"
        )
    return solve(read, resolve(read, boxes, called), style)


def answers_to(question: str, boxes: Sequence[Box3D], names: Sequence[str]) -> tuple[str, ...]:
    """Every answer that a question can have, right or wrong; see `possible_answers`. Empty where they are not known."""
    read = read_question(question, names)
    if read is None:
        return ()
    try:
        return possible_answers(read, resolve(read, boxes, names).names)
    except QueryError:
        return ()


def solve(question: Question, roles: Roles, style: Style = "compact") -> Solution:
    """The solution of a question whose objects are known."""
    steps, text = chain_of_thought(question, roles, style)
    unit = question.unit if question.type in SIZES + DISTANCES else "o'clock" if question.type == "direction" else ""
    return Solution(question, roles, value_of(question, roles), unit, text, tuple(steps))


def value_of(question: Question, roles: Roles) -> Value:
    """What the boxes of `roles` give; see `Solution.value`."""
    boxes = list(roles.boxes)
    if question.type in COMPARISONS:
        return _comparison(question, roles)
    if question.type in SIZES:
        return from_metres(boxes[0].size[SIZES.index(question.type)], question.unit)
    if question.type in DISTANCES:
        return from_metres(relations.DISTANCE[question.type](boxes[0], boxes[1]), question.unit)
    if question.type == "direction":
        return relations.clock_direction(boxes[0], boxes[1])
    if question.type == "count":
        return len(boxes)
    if question.type == "depth_order":
        order = relations.depth_order(boxes)
        return tuple(roles.names[i] for i in (reversed(order) if question.predicate == "behind" else order))
    if question.type == "relative_distance":
        return _relative_distance(question, roles)
    return roles.names[relations.extreme(question.predicate, boxes, question.opposite)]


def _comparison(question: Question, roles: Roles) -> Value:
    a, b = roles.boxes
    gain = relations.advantage(question.predicate, a, b, question.opposite)
    if question.form == "yes_no":
        return gain > 0
    if gain == 0:
        return EQUAL
    if question.form == "choice":
        return roles.names[0] if gain > 0 else roles.names[1]
    return question.predicate if gain > 0 else PREDICATES[question.predicate].converse


def _relative_distance(question: Question, roles: Roles) -> Value:
    anchor, *rest = roles.boxes
    farther = question.predicate == "farther"
    if question.form == "yes_no":
        first, second = (relations.distance(anchor, b) for b in rest)
        return first > second if farther else first < second
    return roles.names[1 + relations.closest(anchor, rest, farther)]
