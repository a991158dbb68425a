"""What the generators give: grounding queries with the objects they mean, and spatial questions with their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from n3d_core.language import prompts
from n3d_core.reasoning.solve import Solution


@dataclass(frozen=True)
class Mark:
    """A box drawn on the image: its colour's name and its sides (left, top, right, bottom) in pixels."""

    color: str
    rect: tuple[float, float, float, float]


@dataclass(frozen=True)
class GroundingSample:
    """A grounding query and what it means.

    Attributes:
        kind: `detect`, `class`, `classes`, `label`, `labels`, `color`, `superlative`, `relation`, `marked` or `absent`.
        text: the query as a user types it ("red mug", "mug; bottle", "all objects").
        objects: indices of the scene's objects in the order of the reply; none if the query names nothing here.
        labels: what each box is called in the reply: the phrase that names it where it is a class or colour and class,
            else the object's own label.
        mark: the box drawn on the image, where the query speaks of one.
    """

    kind: str
    text: str
    objects: tuple[int, ...]
    labels: tuple[str, ...]
    mark: Mark | None = None

    @property
    def prompt(self) -> str:
        """The user turn after the image."""
        return prompts.grounding_prompt(self.text)

    def to_json(self) -> dict[str, Any]:
        """The form of a frame folder's `groundings`."""
        entry: dict[str, Any] = {"text": self.text, "objects": list(self.objects), "kind": self.kind}
        if self.mark is not None:
            entry["mark"] = {"color": self.mark.color, "rect": [round(float(v), 1) for v in self.mark.rect]}
        return entry


@dataclass(frozen=True)
class SpatialSample:
    """A spatial question with its answer and chain of thought.

    Attributes:
        text: the question, one sentence.
        objects: indices of the scene's objects in the order of their roles: the reply of pass 1.
        labels: what each box is called in that reply and in the chain of thought.
        solution: answer, reasoning and the question's meaning.
    """

    text: str
    objects: tuple[int, ...]
    labels: tuple[str, ...]
    solution: Solution

    @property
    def type(self) -> str:
        """The question's type; see `n3d_core.reasoning.question.QuestionType`."""
        return self.solution.question.type

    @property
    def prompt(self) -> str:
        """The user turn of pass 1 after the image."""
        return prompts.locate_prompt(self.text)

    @property
    def reply(self) -> str:
        """The reply of pass 2: the chain of thought between its marks, and the answer."""
        return self.solution.reply

    def to_json(self) -> dict[str, Any]:
        """The form of a frame folder's `questions`."""
        value = self.solution.plain
        answer: Any = (
            round(value, 4) if isinstance(value, float) else list(value) if isinstance(value, tuple) else value
        )
        return {
            "text": self.text,
            "type": self.type,
            "form": self.solution.question.form,
            "objects": list(self.objects),
            "answer": answer,
            "unit": self.solution.unit,
        }
