"""What every maker of questions draws from: objects of a view, what they are called, and whether an answer is clear."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from n3d_core.errors import QueryError
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Question
from n3d_core.reasoning.solve import solve
from n3d_core.reasoning.thoughts import Style
from n3d_core.reasoning.units import to_metres
from training.questions import wordings as words
from training.questions.grounding import SceneObjects
from training.questions.margins import Margins, is_clear
from training.questions.samples import SpatialSample
from training.scenes.vocabulary import Vocabulary

ANYTHING = "object"


@dataclass
class Maker:
    """Draws objects and phrases of one view, and fills templates with them.

    Attributes:
        vocabulary: classes and colours that absent objects are made of.
        unique: groundable objects whose label is theirs alone.
        alone: those that are also the only ones of their class.
    """

    scene: SceneObjects
    rng: random.Random
    style: Style
    margins: Margins
    vocabulary: Vocabulary
    unique: list[int] = field(init=False)
    alone: set[int] = field(init=False)

    def __post_init__(self) -> None:
        labels = Counter(o.box.label for o in self.scene.objects)
        classes = Counter(o.cls for o in self.scene.objects)
        self.unique = [i for i in self.scene.groundable if labels[self.scene.objects[i].box.label] == 1]
        self.alone = {i for i in self.unique if classes[self.scene.objects[i].cls] == 1}

    @property
    def complete(self) -> bool:
        """Whether every object of the view can be asked for, by a label of its own."""
        return len(self.unique) == len(self.scene.objects)

    def pick(self, count: int) -> list[int]:
        """Different objects that their labels tell apart; fewer than `count` where there are no more."""
        return self.rng.sample(self.unique, min(count, len(self.unique)))

    def mention(self, index: int) -> str:
        """What a question calls an object: mostly colour and class, sometimes the class where that says enough."""
        item = self.scene.objects[index]
        return item.cls if index in self.alone and self.rng.random() < 0.2 else item.box.label

    def phrase(self, index: int, mention: str) -> Phrase:
        """A mention of an object as a noun phrase."""
        cls = self.scene.objects[index].cls
        if not mention.endswith(cls):
            return Phrase(mention, mention)
        return Phrase(mention, cls, tuple(mention.removesuffix(cls).split()))

    def kind(self, bare: bool = False) -> tuple[Phrase, list[int]] | None:
        """A class, a colour and class, or all objects, with its members; None if a hidden one belongs to it."""
        if not self.scene.groundable:
            return None
        if self.rng.random() < 0.3:
            whole = len(self.scene.groundable) == len(self.scene.objects)
            return (Phrase(ANYTHING, ANYTHING, plural=True), list(self.scene.groundable)) if whole else None
        index = self.rng.choice(self.scene.groundable)
        item = self.scene.objects[index]
        word = item.cls if bare else self.rng.choice((item.cls, item.cls, item.box.label))
        found = self.scene.named(word)
        return None if found is None else (replace(self.phrase(index, word), plural=True), found)

    def absent(self) -> Phrase | None:
        """An object of a known class and colour that the view does not hold; half of them share class or colour."""
        here = {o.box.label for o in self.scene.objects}
        classes, colors = self.vocabulary.classes, self.vocabulary.colors
        if self.scene.objects and self.rng.random() < 0.5:
            item = self.rng.choice(list(self.scene.objects))
            classes, colors = ((item.cls,), colors) if self.rng.random() < 0.5 else (classes, (item.color,))
        cls, color = self.rng.choice(classes), self.rng.choice(colors)
        label = f"{color} {cls}".strip()
        return None if label in here else Phrase(label, cls, tuple(color.split()))

    def unit(self) -> str:
        """The symbol of a unit of length, mostly metres."""
        return self.rng.choices(list(words.UNITS), (8, 3, 1, 1, 2))[0]

    def unit_words(self, unit: str) -> str:
        """How a question asks for that unit."""
        return self.rng.choice(words.UNITS[unit])

    def length(self, cm: int) -> tuple[float, str]:
        """A length in metres, as the parser reads it, and how a question says it."""
        spelt, drawn = words.LENGTHS.get(cm), self.rng.random()
        if spelt and drawn < 0.25:
            return cm / 100, spelt
        if drawn < 0.5:
            return cm / 100, f"{cm / 100:g} {self.rng.choice(('m', 'meters'))}"
        return to_metres(cm, "cm"), f"{cm} {self.rng.choice(('cm', 'cm', 'centimeters'))}"

    def sample(
        self, question: Question, template: str, objects: list[int], camera: bool = False, **slots: str
    ) -> SpatialSample | None:
        """Fills a template; None if the answer is not clear.

        Args:
            question: without its objects, which are taken from `objects` unless it has some.
            template: its slots `a`, `b`, `c` and `list` are the objects with their article.
            objects: indices of all objects that have to be found for an answer.
            camera: whether the camera is the last object.
        """
        boxes = [self.scene.objects[i].box for i in objects]
        mentions = [self.mention(i) for i in objects]
        labels = mentions
        if question.among is not None or question.objects:
            labels = [b.label for b in boxes]
        if not question.objects and (question.among is None or question.type == "relative_distance"):
            phrases = [self.phrase(i, m) for i, m in zip(objects, labels, strict=True)]
            question = replace(
                question, objects=tuple(phrases[:1] if question.among else [*phrases, *[CAMERA_PHRASE] * camera])
            )
        the = [f"the {m}" for m in labels] if question.type == "relative_distance" else [f"the {m}" for m in mentions]
        slots = dict(zip("abc", the, strict=False)) | slots
        if len(the) > 1:
            slots["list"] = f"{', '.join(the[:-1])} and {the[-1]}"
            slots["list_or"] = f"{', '.join(the[:-1])} or {the[-1]}"
        try:
            solution = solve(question, boxes, labels, self.style)
        except QueryError:
            return None
        if not is_clear(solution, self.margins):
            return None
        return SpatialSample(template.format(**slots), tuple(objects), tuple(labels), solution)
