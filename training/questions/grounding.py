"""Grounding queries: which objects of a scene a phrase means, and phrases that mean none.

Boxes of one phrase come from left to right in the image, several phrases in their order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.language.prompts import ALL_OBJECTS
from n3d_core.reasoning.lexicon import plural
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.relations import PREDICATES, extreme
from training.questions.margins import DEFAULT_MARGINS, Margins, is_decided
from training.questions.samples import GroundingSample
from training.questions.wordings import SUPERLATIVE_WORDS
from training.scenes.vocabulary import Vocabulary

DEFAULT_MIXTURE: Mapping[str, float] = {
    "detect": 1.0,
    "class": 3.0,
    "label": 4.0,
    "classes": 1.0,
    "labels": 1.0,
    "color": 0.5,
    "superlative": 1.0,
    "relation": 0.5,
    "absent": 3.0,
}


@dataclass(frozen=True)
class SceneObjects:
    """The objects of one view and which of them may be asked for.

    Attributes:
        objects: all objects, those hidden or outside the image too.
        groundable: indices of those that can fairly be asked for, from left to right in the image.
    """

    objects: Sequence[TrueObject]
    groundable: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, objects: Sequence[TrueObject], groundable: Sequence[int] | None = None) -> SceneObjects:
        """Objects with the indices that may be asked for (all if None), put in order."""
        chosen = range(len(objects)) if groundable is None else groundable
        return cls(objects, tuple(sorted(chosen, key=lambda i: left_to_right(objects[i].box))))

    def named(self, phrase: str) -> list[int] | None:
        """Groundable objects that a class, a colour and class, or `red object` names; None if a hidden one fits too."""
        fits = [i for i, o in enumerate(self.objects) if names(phrase, o)]
        if any(i not in self.groundable for i in fits):
            return None
        return [i for i in self.groundable if i in fits]


def left_to_right(box: Box3D) -> float:
    """Sort key: the image column of the centre, up to the camera's scale."""
    return box.center[0] / max(box.center[2], 1e-6)


def names(phrase: str, candidate: TrueObject) -> bool:
    """Whether a class, a colour and class, or a colour and `object` names an object."""
    return phrase in (candidate.cls, _in_color(candidate, candidate.cls), _in_color(candidate, "object"))


def _in_color(item: TrueObject, name: str) -> str:
    """`red mug`, `red object`; the name alone where an object's colour is not known."""
    return f"{item.color} {name}".strip()


def grounding_samples(
    scene: SceneObjects,
    count: int,
    seed: int,
    vocabulary: Vocabulary,
    mixture: Mapping[str, float] = DEFAULT_MIXTURE,
    margins: Margins = DEFAULT_MARGINS,
) -> list[GroundingSample]:
    """Up to `count` different queries about one view: a pure function of its arguments.

    Kinds for which the view holds no query (a second class, a clear extreme) give way to others.
    """
    rng = random.Random(seed)
    maker = _Maker(scene, rng, vocabulary, margins)
    kinds, weights = list(mixture), list(mixture.values())
    found: dict[str, GroundingSample] = {}
    for _ in range(4 * count):
        if len(found) >= count:
            break
        sample = maker.kinds[rng.choices(kinds, weights)[0]]()
        if sample is not None:
            found.setdefault(sample.text, sample)
    return list(found.values())


class _Maker:
    """Draws one query of a kind; None where the view does not allow one."""

    def __init__(self, scene: SceneObjects, rng: random.Random, vocabulary: Vocabulary, margins: Margins) -> None:
        self.scene, self.rng, self.vocabulary, self.margins = scene, rng, vocabulary, margins
        self.kinds: dict[str, Callable[[], GroundingSample | None]] = {
            "detect": self._detect,
            "class": lambda: self._phrases("class", [self._class()]),
            "label": lambda: self._phrases("label", [self._label()]),
            "classes": lambda: self._phrases("classes", [self._class() for _ in range(self._several())]),
            "labels": lambda: self._phrases("labels", [self._label() for _ in range(self._several())]),
            "color": lambda: self._phrases("color", [self._color()]),
            "superlative": self._superlative,
            "relation": self._relation,
            "absent": self._absent,
        }

    def _several(self) -> int:
        return 2 if self.rng.random() < 0.75 else 3

    def _any(self) -> TrueObject | None:
        return self.scene.objects[self.rng.choice(self.scene.groundable)] if self.scene.groundable else None

    def _class(self) -> str:
        chosen = self._any()
        return chosen.cls if chosen else ""

    def _label(self) -> str:
        chosen = self._any()
        return _in_color(chosen, chosen.cls) if chosen else ""

    def _color(self) -> str:
        chosen = self._any()
        return _in_color(chosen, "object") if chosen else ""

    def _detect(self) -> GroundingSample:
        chosen = self.scene.groundable
        return GroundingSample("detect", ALL_OBJECTS, chosen, tuple(self.scene.objects[i].box.label for i in chosen))

    def _phrases(self, kind: str, phrases: list[str]) -> GroundingSample | None:
        if not all(phrases) or len(set(phrases)) != len(phrases):
            return None
        objects: list[int] = []
        labels: list[str] = []
        for phrase in phrases:
            found = self.scene.named(phrase)
            if not found or set(found) & set(objects):
                return None
            objects += found
            own = phrase.endswith(" object")
            labels += [self.scene.objects[i].box.label if own else phrase for i in found]
        text = "; ".join(phrases)
        if len(phrases) == 1 and self.rng.random() < 0.1:
            text = plural(text) if len(objects) > 1 else f"the {text}"
        return GroundingSample(kind, text, tuple(objects), tuple(labels))

    def _rivals(self) -> tuple[str, list[int]] | None:
        """A kind of object (`mug`, `red object`, `object`) with two or more members that can be compared."""
        chosen = self._any()
        if chosen is None:
            return None
        kind = self.rng.choice((chosen.cls, _in_color(chosen, "object"), "object", "object"))
        if kind == "object":
            found = list(self.scene.groundable) if len(self.scene.groundable) == len(self.scene.objects) else None
        else:
            found = self.scene.named(kind)
        return (kind, found) if found and len(found) >= 2 else None

    def _superlative(self) -> GroundingSample | None:
        """`the leftmost can`, `largest red object`."""
        rivals = self._rivals()
        if rivals is None:
            return None
        kind, found = rivals
        boxes = [self.scene.objects[i].box for i in found]
        predicate = self.rng.choice(list(SUPERLATIVE_WORDS))
        if not is_decided(Question("extreme", "choice", (), predicate), boxes, self.margins):
            return None
        word = self.rng.choice([w for w in SUPERLATIVE_WORDS[predicate] if " " not in w])
        winner = found[extreme(predicate, boxes)]
        the = "the " if self.rng.random() < 0.5 else ""
        return GroundingSample("superlative", f"{the}{word} {kind}", (winner,), (self.scene.objects[winner].box.label,))

    def _relation(self) -> GroundingSample | None:
        """`can to the left of the red mug`: those of a class that stand in a relation to one other object."""
        anchor = self._any()
        if anchor is None or self.scene.named(anchor.box.label) is None:
            return None
        if len(self.scene.named(anchor.box.label) or ()) != 1:
            return None
        predicate = self.rng.choice(("left", "right", "front", "behind", "taller", "shorter", "bigger", "smaller"))
        kind = self._class()
        rivals = [i for i in self.scene.named(kind) or () if self.scene.objects[i] is not anchor]
        question = Question(PREDICATES[predicate].type, "yes_no", (), predicate)
        if not rivals or not all(
            is_decided(question, (self.scene.objects[i].box, anchor.box), self.margins) for i in rivals
        ):
            return None
        held = [i for i in rivals if extreme(predicate, [anchor.box, self.scene.objects[i].box]) == 1]
        if not held:
            return None
        text = f"{kind} {PREDICATES[predicate].phrase} the {anchor.box.label}"
        return GroundingSample("relation", text, tuple(held), tuple(self.scene.objects[i].box.label for i in held))

    def _absent(self) -> GroundingSample | None:
        """A class that is not here, or one that is here in another colour."""
        chosen = self._any()
        cls, color = self.rng.choice(self.vocabulary.classes), self.rng.choice(self.vocabulary.colors)
        if chosen is not None and self.rng.random() < 0.6:
            cls, color = (chosen.cls, color) if self.rng.random() < 0.7 else (cls, chosen.color)
        text = cls if self.rng.random() < 0.3 else f"{color} {cls}".strip()
        if any(names(text, o) for o in self.scene.objects):
            return None
        return GroundingSample("absent", text, (), ())
