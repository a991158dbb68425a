"""Answers a typed question from boxes alone: value, sentence, and chain of thought in the model's own language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.doubt import Doubt, doubt_of
from n3d_core.reasoning.outcome import Outcome, evaluate, plain
from n3d_core.reasoning.phrasing import doubt_sentence, sentence
from n3d_core.reasoning.question import DISTANCES, SIZES, Question, Value
from n3d_core.reasoning.replies import possible_answers
from n3d_core.reasoning.resolve import Roles, Scene
from n3d_core.reasoning.thoughts import Style, chain_of_thought
from n3d_core.reasoning.units import UNITS


@dataclass(frozen=True)
class Solution:
    """The answer that the boxes give.

    Attributes:
        question: what was asked.
        scene: the boxes and their names.
        outcome: the objects that the question is about, the typed value, and the boxes that were counted or related.
        text: the answer in the model's own short language.
        steps: the chain of thought, one sentence or formula each. It is computed from the numbers as the model's prompt
            states them (2 decimals), so it can differ from `value` in the last digit.
    """

    question: Question
    scene: Scene
    outcome: Outcome
    text: str
    steps: tuple[str, ...]

    @property
    def value(self) -> Value:
        """The typed value; `Value.objects` are indices into the boxes that were given to `solve`."""
        value = self.outcome.value
        return replace(value, truth=not value.truth) if self.question.negated and value.kind == "truth" else value

    @property
    def roles(self) -> Roles:
        """The objects that the question is about, in their roles."""
        return self.outcome.roles

    @property
    def reasoning(self) -> str:
        """The chain of thought as one text, without its `<think>` marks."""
        return " ".join(self.steps)

    @property
    def reply(self) -> str:
        """Thought and answer as the model writes them: the draft of its second pass, and its training text."""
        return f"<think>{self.reasoning}</think> {self.text}"

    @property
    def answers(self) -> tuple[str, ...]:
        """Every answer that the question can have, for the grammar of the reply; see `possible_answers`."""
        return possible_answers(self.question, self.roles.names)

    @property
    def plain(self) -> float | int | bool | str | tuple[str, ...]:
        """The value in the form of a frame folder's truth, in the question's unit; see `outcome.plain`."""
        return plain(self.question, self.outcome)

    @property
    def unit(self) -> str:
        """The unit of `plain`: `m`, `cm`, `mm`, `ft` or `in` for lengths, `o'clock` or `deg`, `l`, otherwise empty."""
        kind, question = self.value.kind, self.question
        if kind == "direction" or question.type == "angle":
            return "deg" if question.unit == "deg" else "o'clock"
        if kind in ("length", "position") or (question.type in (*SIZES, *DISTANCES) and question.form == "number"):
            return "l" if question.type == "volume" else question.unit
        return "l" if question.form == "difference" else ""

    @cached_property
    def uncertain(self) -> Doubt | None:
        """Why the boxes do not decide the question within their own uncertainty; None if they do."""
        return doubt_of(self.question, self.scene, self.outcome)

    @property
    def doubt(self) -> str:
        """`uncertain` in one sentence for a person; empty if the boxes decide."""
        return doubt_sentence(self.question, self.outcome, self.uncertain)

    @property
    def sentence(self) -> str:
        """The answer in one sentence for a person."""
        return sentence(self.question, self.outcome)


def solve(
    question: Question, boxes: Sequence[Box3D], names: Sequence[str] | None = None, style: Style = "compact"
) -> Solution:
    """Answers a question from boxes.

    Args:
        question: as `parse.read_question` gives it.
        boxes: the boxes of the scene in the optical frame, metres.
        names: their names (`4_chair`), one for each box; their labels if None.
        style: `compact`, or `published` for the wording of the released model.

    Raises:
        MissingError, AmbiguousError: if a phrase of the question means no box, or several.
        QueryError: if it names one object twice, compares too many, or a box is not finite.
    """
    called = tuple(b.label for b in boxes) if names is None else tuple(names)
    return solve_scene(question, Scene(tuple(boxes), called), style)


def solve_scene(question: Question, scene: Scene, style: Style = "compact") -> Solution:
    """As `solve`, for a scene that may already know which boxes a phrase fits."""
    if question.unit not in UNITS and question.type not in ("direction", "angle", "volume", "big_small"):
        question = replace(question, unit="m")
    if question.type in ("extreme", "relative_distance") and question.form == "objects":
        question = replace(question, form="choice")
    outcome = evaluate(question, scene)
    steps, text = chain_of_thought(question, outcome, style)
    return Solution(question, scene, outcome, text, tuple(steps))
