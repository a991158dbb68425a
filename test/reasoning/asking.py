"""A question from its words to what the boxes give."""

from __future__ import annotations

from collections.abc import Sequence

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.parse import read_question
from n3d_core.reasoning.question import Phrase, Question
from n3d_core.reasoning.resolve import AmbiguousError, MissingError, Scene
from n3d_core.reasoning.solve import Solution, solve
from n3d_core.reasoning.thoughts import Style

MUG = Box3D("red mug", (-0.1, 0.05, 0.8), (0.08, 0.1, 0.09))
CAN = Box3D("blue can", (0.2, 0.06, 0.6), (0.06, 0.12, 0.06))
BOX = Box3D("green box", (0.1, 0.0, 1.1), (0.2, 0.15, 0.2))


def asked(text: str, boxes: Sequence[Box3D], names: Sequence[str] | None = None, style: Style = "compact") -> Solution:
    """The solution of a question that must be understood."""
    question = read_question(text, names or ())
    assert isinstance(question, Question), question
    return solve(question, boxes, names, style)


def means(phrase: Phrase, boxes: Sequence[Box3D]) -> list[int]:
    """Indices of the boxes that a phrase means: at least one, and in the singular only one."""
    scene = Scene(tuple(boxes), tuple(b.label for b in boxes))
    found = scene.means(phrase)
    if not found:
        raise MissingError(phrase, scene.names)
    if len(found) > 1 and not (phrase.plural or phrase.is_anything):
        raise AmbiguousError(phrase, found, scene.names)
    return found
