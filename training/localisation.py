"""Stage 1: which questions are asked of a training image, and which boxes answer them.

Boxes of one noun phrase come from left to right, as in the released model's replies; several phrases in their order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from n3d_core.language import prompts
from training.samples import LabelledImage, LabelledObject, Question


class QuestionMaker:
    """Draws localisation questions for an image by the weights of a mixture.

    Kinds: `detect` (all objects), `class`, `color_class`, `color`, `absent` (a phrase that names nothing here).
    """

    def __init__(self, classes: list[str], colors: list[str], mixture: Mapping[str, float]) -> None:
        self.classes, self.colors = classes, colors
        self.kinds = list(mixture)
        weights = np.array([mixture[k] for k in self.kinds], dtype=float)
        self.weights = weights / weights.sum()

    def draw(self, image: LabelledImage, count: int, rng: np.random.Generator) -> list[Question]:
        """`count` questions, each phrase at most once."""
        order = left_to_right(image)
        questions: dict[str, Question] = {}
        for kind in rng.choice(self.kinds, size=count, p=self.weights):
            question = self._one(str(kind), image, order, rng)
            if question is not None:
                questions.setdefault(question.prompt, question)
        return list(questions.values())

    def _one(self, kind: str, image: LabelledImage, order: list[int], rng: np.random.Generator) -> Question | None:
        if kind == "detect":
            return Question(prompts.detect_prompt(), tuple((i, image.objects[i].label) for i in order))
        if kind == "absent":
            return self._absent(image, rng)
        if not order:
            return None
        target = image.objects[int(rng.choice(order))]
        text = {"class": target.cls, "color_class": target.label}[kind]
        matching = [i for i in order if names(text, image.objects[i])]
        hidden = [o for i, o in enumerate(image.objects) if i not in order and names(text, o)]
        if hidden:
            return None  # half hidden: to ask for it would teach to guess
        return Question(prompts.class_prompt(text), tuple((i, text) for i in matching))

    def _absent(self, image: LabelledImage, rng: np.random.Generator) -> Question | None:
        """A phrase that names nothing: a class that is not here, or one that is here in another colour."""
        cls, color = str(rng.choice(self.classes)), str(rng.choice(self.colors))
        if image.objects and rng.random() < 0.6:
            cls = image.objects[int(rng.integers(len(image.objects)))].cls
        text = cls if rng.random() < 0.3 else f"{color} {cls}"
        if any(names(text, o) for o in image.objects):
            return None
        return Question(prompts.class_prompt(text))


def names(text: str, candidate: LabelledObject) -> bool:
    """Whether a phrase of class or colour and class names an object."""
    return text in (candidate.cls, candidate.label)


def left_to_right(image: LabelledImage) -> list[int]:
    """Indexes of the objects that can be asked for, by the image column of their centres."""
    return sorted(
        (i for i, o in enumerate(image.objects) if o.groundable),
        key=lambda i: image.objects[i].box.center[0] / image.objects[i].box.center[2],
    )
