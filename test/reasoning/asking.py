"""A question from its words to what the boxes give."""

from __future__ import annotations

from collections.abc import Sequence

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.solve import Solution, solve
from n3d_core.reasoning.thoughts import Style


def asked(text: str, boxes: Sequence[Box3D], names: Sequence[str] | None = None, style: Style = "compact") -> Solution:
    """The solution of a question that must be understood."""
    question = read_question(text, names or ())
    assert isinstance(question, Question), question
    return solve(question, boxes, names, style)
