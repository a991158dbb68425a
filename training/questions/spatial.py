"""Spatial questions about a scene, with their answers and chains of thought, from geometry alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from n3d_core.reasoning.old.chain import Style
from n3d_core.reasoning.old.names import plural
from n3d_core.reasoning.old.question import CAMERA, COMPARISONS, DISTANCES, SIZES, TYPES, Question
from n3d_core.reasoning.old.roles import Roles
from n3d_core.reasoning.old.solving import solve
from n3d_core.reasoning.relations import PREDICATES
from training.questions import wordings as words
from training.questions.grounding import SceneObjects
from training.questions.margins import DEFAULT_MARGINS, Margins, is_decided
from training.questions.samples import SpatialSample

UNIFORM: Mapping[str, float] = dict.fromkeys(TYPES, 1.0)
_ATTEMPTS = 6  # draws of objects for one question before another type is tried
_MAX_COMPARED = 5


def spatial_samples(
    scene: SceneObjects,
    count: int,
    seed: int,
    mixture: Mapping[str, float] = UNIFORM,
    style: Style = "compact",
    margins: Margins = DEFAULT_MARGINS,
) -> list[SpatialSample]:
    """Up to `count` different questions about one view: a pure function of its arguments.

    Types for which the view holds no clear question give way to others; a view of one object is asked for its size,
    its distance and counts.
    """
    rng = random.Random(seed)
    maker = _Maker(scene, rng, style, margins)
    kinds, weights = list(mixture), list(mixture.values())
    found: dict[str, SpatialSample] = {}
    for _ in range(4 * count):
        if len(found) >= count:
            break
        sample = maker.draw(rng.choices(kinds, weights)[0])
        if sample is not None:
            found.setdefault(sample.text, sample)
    return list(found.values())


class _Maker:
    """Draws one question of a type about a view; None where the view holds no clear one."""

    def __init__(self, scene: SceneObjects, rng: random.Random, style: Style, margins: Margins) -> None:
        self.scene, self.rng, self.style, self.margins = scene, rng, style, margins
        labels = Counter(o.box.label for o in scene.objects)
        classes = Counter(o.cls for o in scene.objects)
        self.unique = [i for i in scene.groundable if labels[scene.objects[i].box.label] == 1]
        self.alone = {i for i in self.unique if classes[scene.objects[i].cls] == 1}
        self.makers: dict[str, Callable[[str], SpatialSample | None]] = {
            **dict.fromkeys(COMPARISONS, self._comparison),
            **dict.fromkeys(SIZES, self._size),
            **dict.fromkeys(DISTANCES, self._distance),
            "relative_distance": self._relative_distance,
            "depth_order": self._depth_order,
            "direction": self._direction,
            "count": self._count,
            "extreme": self._extreme,
        }

    def draw(self, kind: str) -> SpatialSample | None:
        """One question of a type, after a few attempts."""
        return next((s for _ in range(_ATTEMPTS) if (s := self.makers[kind](kind)) is not None), None)

    def _pick(self, count: int) -> list[int]:
        """Different objects that their labels tell apart; fewer than `count` where there are no more."""
        return self.rng.sample(self.unique, min(count, len(self.unique)))

    def _mention(self, index: int) -> str:
        """What a question calls an object: mostly colour and class, sometimes the class where that says enough."""
        item = self.scene.objects[index]
        return item.cls if index in self.alone and self.rng.random() < 0.2 else item.box.label

    def _sample(self, question: Question, template: str, objects: list[int], **slots: str) -> SpatialSample | None:
        """Fills a template; None if the answer is not clear. The names a, b, c … are taken from `objects`."""
        boxes = [self.scene.objects[i].box for i in objects]
        camera = question.type == "distance" and len(objects) == 1
        roles_boxes = [*boxes, CAMERA] if camera else boxes
        if not is_decided(question, roles_boxes, self.margins):
            return None
        mentions = [self._mention(i) for i in objects]
        labels = [b.label for b in boxes] if question.among else mentions
        the = [f"the {m}" for m in mentions]
        slots |= dict(zip("abc", the, strict=False))
        if len(the) > 1:
            slots["list"] = f"{', '.join(the[:-1])} and {the[-1]}"
            slots["list_or"] = f"{', '.join(the[:-1])} or {the[-1]}"
        roles = Roles(tuple([*labels, "camera"] if camera else labels), tuple(roles_boxes))
        named = () if question.among and question.type != "relative_distance" else roles.names
        named = named[:1] if question.among else named
        solution = solve(replace(question, names=named), roles, self.style)
        return SpatialSample(template.format(**slots), tuple(objects), tuple(labels), solution)

    def _comparison(self, kind: str) -> SpatialSample | None:
        objects = self._pick(2)
        if len(objects) < 2:
            return None
        predicate = self.rng.choice([n for n in words.SUPERLATIVE_WORDS if PREDICATES[n].type == kind])
        p = PREDICATES[predicate]
        q = PREDICATES[p.converse].phrase
        form = self.rng.choices(("yes_no", "choice", "free"), (3, 3, 1))[0]
        if form == "yes_no":
            opposite = kind in ("left_right", "front_behind") and self.rng.random() < 0.35
            template = self.rng.choice(words.OPPOSITE_YES_NO if opposite else words.YES_NO)
            return self._sample(Question(kind, form, (), predicate, opposite=opposite), template, objects, p=p.phrase)
        if form == "choice":
            word = self.rng.choice(words.CHOICE_WORDS[predicate])
            return self._sample(Question(kind, form, (), predicate), self.rng.choice(words.CHOICE), objects, w=word)
        first = p.phrase.removesuffix(" than")
        return self._sample(Question(kind, form, (), predicate), self.rng.choice(words.FREE), objects, p=first, q=q)

    def _relative_distance(self, kind: str) -> SpatialSample | None:
        predicate = self.rng.choice(("closer", "closer", "farther"))
        to = "to" if predicate == "closer" else "from"
        form = self.rng.choices(("choice", "yes_no", "among"), (4, 2, 1))[0]
        if form == "among":
            complete = len(self.unique) == len(self.scene.objects) <= _MAX_COMPARED
            objects = self._pick(len(self.unique)) if complete else []
            if len(objects) < 3:
                return None
            rest = self.rng.choice(("closest", "nearest") if predicate == "closer" else ("farthest",))
            question = Question(kind, "choice", (), predicate, among="object")
            return self._sample(question, self.rng.choice(words.RELATIVE_AMONG), objects, rest=rest, to=to)
        objects = self._pick(3)
        if len(objects) < 3:
            return None
        word = self.rng.choice(("closer", "closer", "nearer") if predicate == "closer" else ("farther", "further away"))
        table = words.RELATIVE_CHOICE if form == "choice" else words.RELATIVE_YES_NO
        return self._sample(Question(kind, form, (), predicate), self.rng.choice(table), objects, r=word, to=to)

    def _depth_order(self, kind: str) -> SpatialSample | None:
        objects = self._pick(self.rng.choice((3, 3, 4)))
        if len(objects) < 3:
            return None
        predicate = self.rng.choice(("front", "front", "behind"))
        how = self.rng.choice(words.NEAR_TO_FAR if predicate == "front" else words.FAR_TO_NEAR)
        return self._sample(
            Question(kind, "order", (), predicate), self.rng.choice(words.DEPTH_ORDER), objects, how=how
        )

    def _unit(self) -> str:
        return self.rng.choices(list(words.UNITS), (8, 3, 1, 1, 2))[0]

    def _size(self, kind: str) -> SpatialSample | None:
        objects = self._pick(1)
        if not objects:
            return None
        unit = self._unit()
        adjective, noun = words.SIZE[kind]
        slots = {"j": adjective, "n": noun, "unit": self.rng.choice(words.UNITS[unit])}
        return self._sample(Question(kind, "number", unit=unit), self.rng.choice(words.SIZE_WORDINGS), objects, **slots)

    def _distance(self, kind: str) -> SpatialSample | None:
        to_camera = kind == "distance" and (len(self.unique) == 1 or self.rng.random() < 0.25)
        objects = self._pick(1 if to_camera else 2)
        if len(objects) < (1 if to_camera else 2):
            return None
        unit = self._unit()
        table = (
            words.DISTANCE_TO_CAMERA if to_camera else words.DISTANCE if kind == "distance" else words.PLANAR_DISTANCE
        )
        slots = {"unit": self.rng.choice(words.UNITS[unit]), "v": kind.removesuffix("_distance")}
        return self._sample(Question(kind, "number", unit=unit), self.rng.choice(table), objects, **slots)

    def _direction(self, kind: str) -> SpatialSample | None:
        objects = self._pick(2)
        return (
            self._sample(Question(kind, "number"), self.rng.choice(words.DIRECTION), objects)
            if len(objects) == 2
            else None
        )

    def _kind(self) -> tuple[str, list[int]] | None:
        """A class, or all objects, with its members; None if a hidden one belongs to it."""
        if not self.scene.groundable:
            return None
        if self.rng.random() < 0.3:
            complete = len(self.scene.groundable) == len(self.scene.objects)
            return ("object", list(self.scene.groundable)) if complete else None
        item = self.scene.objects[self.rng.choice(self.scene.groundable)]
        kind = self.rng.choice((item.cls, item.cls, item.box.label))
        found = self.scene.named(kind)
        return None if found is None else (kind, found)

    def _count(self, kind: str) -> SpatialSample | None:
        chosen = self._kind()
        if chosen is None:
            return None
        what, objects = chosen
        return self._sample(
            Question(kind, "number", among=what), self.rng.choice(words.COUNT), objects, ks=plural(what)
        )

    def _extreme(self, kind: str) -> SpatialSample | None:
        predicate = self.rng.choice(list(words.SUPERLATIVE_WORDS))
        word = self.rng.choice(words.SUPERLATIVE_WORDS[predicate])
        if self.rng.random() < 0.5:
            objects = self._pick(self.rng.choice((3, 3, 4)))
            if len(objects) < 3:
                return None
            return self._sample(
                Question(kind, "choice", (), predicate), self.rng.choice(words.EXTREME_LISTED), objects, w=word
            )
        chosen = self._kind()
        if chosen is None or not 2 <= len(chosen[1]) <= _MAX_COMPARED or not set(chosen[1]) <= set(self.unique):
            return None
        what, objects = chosen
        table = [t for t in words.EXTREME_KIND if " " not in word or "{w} {k}" not in t]
        return self._sample(
            Question(kind, "choice", (), predicate, among=what),
            self.rng.choice(table),
            objects,
            w=word,
            k=what,
            ks=plural(what),
        )
