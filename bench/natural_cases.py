"""Questions and phrases about a scene with truth, and how their answers are judged; see `bench.natural`."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from n3d_core.geometry.frame_folder import TrueObject
from n3d_core.results import Answer
from training.scenes.vocabulary import Vocabulary

LEAST_VISIBLE = 0.5  # visible share of an object required to ask about it
TOLERANCE, FLOOR_M = 0.25, 0.04  # of a length: a share of it, and metres

Wants = Literal["answer", "refusal", "cannot"]
Judge = Callable[[Answer], bool]


@dataclass(frozen=True)
class Scene:
    """The true objects of one frame, and all possible ones."""

    objects: list[TrueObject]
    vocabulary: Vocabulary
    random: random.Random

    @property
    def unique(self) -> list[TrueObject]:
        """Clearly visible objects with a unique label."""
        labels = Counter(o.box.label for o in self.objects)
        return [o for o in self.objects if o.visible >= LEAST_VISIBLE and labels[o.box.label] == 1]

    @property
    def all_unique(self) -> bool:
        """Whether every object can be asked about."""
        return len(self.unique) == len(self.objects)

    def absent(self) -> str:
        """A colour and class that no object has."""
        labels = {o.box.label for o in self.objects}
        return self.random.choice(
            [f"{c} {k}" for c in self.vocabulary.colors for k in self.vocabulary.classes if f"{c} {k}" not in labels]
        )

    def absent_class(self) -> str | None:
        """A class that no object has."""
        rest = sorted(set(self.vocabulary.classes) - {o.cls for o in self.objects})
        return self.random.choice(rest) if rest else None

    def pick(self, count: int) -> list[TrueObject] | None:
        """Some of the unique objects; None if there are too few."""
        found = self.unique
        return self.random.sample(found, count) if len(found) >= count else None


def _plural(word: str) -> str:
    return word + ("es" if word.endswith("x") else "s")


def _centre(o: TrueObject) -> np.ndarray:
    return np.asarray(o.box.center)


def _distance(a: TrueObject, b: TrueObject) -> float:
    return float(np.linalg.norm(_centre(a) - _centre(b)))


def _range(o: TrueObject) -> float:
    return float(np.linalg.norm(_centre(o)))


def _length(metres: float) -> Judge:
    def judge(answer: Answer) -> bool:
        number = answer.value.number
        return answer.value.kind == "length" and abs(number - metres) <= max(TOLERANCE * metres, FLOOR_M)

    return judge


def _truth(holds: bool) -> Judge:
    return lambda answer: answer.value.kind == "truth" and answer.value.truth == holds


def _count(number: int) -> Judge:
    return lambda answer: answer.value.kind == "count" and answer.value.number == number


def _labels(answer: Answer) -> list[str]:
    return [answer.boxes[i].label for i in answer.value.objects]


def _names(*labels: str) -> Judge:
    return lambda answer: answer.value.kind == "objects" and _labels(answer) == list(labels)


def _stands_at(o: TrueObject) -> Judge:
    def judge(answer: Answer) -> bool:
        point = answer.value.point
        return answer.value.kind == "position" and math.dist(point, o.box.center) <= max(0.15 * _range(o), 0.1)

    return judge


def _refused(answer: Answer) -> bool:
    return answer.verdict == "not_seen" and answer.value.kind == "none"


def _nothing(answer: Answer) -> bool:
    return answer.verdict == "unverifiable" and answer.value.kind == "none"


def _denied(answer: Answer) -> bool:
    return answer.value.kind == "truth" and not answer.value.truth


@dataclass(frozen=True)
class Question:
    """One question: the values for its wording, how its answer is judged, and the expected answer."""

    fill: dict[str, str]
    judge: Judge
    wants: Wants = "answer"


def _clear(first: float, second: float, least: float) -> bool:
    return abs(first - second) >= least


def _one_object(kind: str, s: Scene) -> Question | None:
    chosen = s.pick(1)
    if chosen is None:
        return None
    (o,) = chosen
    names = {"a": o.box.label}
    width, height, _ = o.box.size
    if kind == "exists":
        return Question(names, _truth(True))
    if kind == "height":
        return Question(names, _length(height))
    if kind == "width":
        return Question(names, _length(width))
    if kind == "camera_distance":
        return Question(names, _length(_range(o)))
    if kind == "where":
        return Question(names, _stands_at(o))
    if kind == "threshold":
        return Question(names, _truth(height > 0.2)) if _clear(height, 0.2, 0.05) else None
    if kind == "gripper":
        graspable = min(o.box.size[0], o.box.size[2])
        return Question(names, _truth(graspable < 0.1)) if _clear(graspable, 0.1, 0.03) else None
    if kind == "cannot":
        return Question(names, _nothing, "cannot")
    if kind == "count_relation":
        others = [p for p in s.objects if p is not o]
        gaps = [_centre(p)[0] - _centre(o)[0] for p in others]
        if not s.all_unique or not others or any(abs(g) < 0.1 for g in gaps):
            return None
        side = s.random.choice(("left", "right"))
        return Question({**names, "side": side}, _count(sum((g < 0) == (side == "left") for g in gaps)))
    if kind == "what_right":
        right = {p.box.label for p in s.objects if _centre(p)[0] > _centre(o)[0]}
        unclear = any(abs(_centre(p)[0] - _centre(o)[0]) < 0.08 for p in s.objects if p is not o)
        if not right or unclear or not s.all_unique:
            return None
        return Question(names, lambda answer: bool(_labels(answer)) and set(_labels(answer)) <= right)
    raise ValueError(kind)


def _two_objects(kind: str, s: Scene) -> Question | None:
    chosen = s.pick(2)
    if chosen is None:
        return None
    a, b = chosen
    names = {"a": a.box.label, "b": b.box.label}
    gap = _centre(a) - _centre(b)
    taller = a.box.size[1] - b.box.size[1]
    if kind in ("distance", "pronoun"):
        return Question(names, _length(_distance(a, b)))
    if kind == "horizontal":
        return Question(names, _length(math.hypot(gap[0], gap[2])))
    if kind == "left":
        return Question(names, _truth(gap[0] < 0)) if abs(gap[0]) >= 0.12 else None
    if kind == "behind":
        return Question(names, _truth(gap[2] > 0)) if abs(gap[2]) >= 0.12 else None
    if abs(taller) < 0.3 * max(a.box.size[1], b.box.size[1]) and "taller" in kind:
        return None
    if kind == "taller":
        return Question(names, _truth(taller > 0))
    if kind == "taller_by":
        return Question(names, _length(taller)) if taller > 0.06 else None
    if kind == "which_taller":
        return Question(names, _names((a if taller > 0 else b).box.label))
    if kind == "which_nearer":
        nearer = a if gap[2] < 0 else b
        agree = (gap[2] < 0) == (_range(a) < _range(b))
        return Question(names, _names(nearer.box.label)) if abs(gap[2]) >= 0.12 and agree else None
    raise ValueError(kind)


def _most(kind: str, s: Scene) -> Question | None:
    if len(s.objects) < 3 or not s.all_unique:
        return None
    key: Callable[[TrueObject], float] = {
        "tallest": lambda o: -o.box.size[1],
        "nearest": lambda o: o.box.center[2],
        "leftmost": lambda o: o.box.center[0],
    }[kind]
    first, second, *_ = sorted(s.objects, key=key)
    least = 0.15 * first.box.size[1] if kind == "tallest" else 0.1
    return Question({}, _names(first.box.label)) if _clear(key(first), key(second), least) else None


def _order(s: Scene) -> Question | None:
    chosen = s.pick(3)
    if chosen is None:
        return None
    names = dict(zip("abc", (o.box.label for o in chosen), strict=True))
    ordered = sorted(chosen, key=lambda o: o.box.center[0])
    gaps = np.diff([o.box.center[0] for o in ordered])
    return Question(names, _names(*(o.box.label for o in ordered))) if gaps.min() >= 0.1 else None


def _counted(kind: str, s: Scene) -> Question | None:
    if kind == "count_zero":
        absent = s.absent_class()
        return Question({"k": _plural(absent)}, lambda a: _count(0)(a) or _refused(a)) if absent else None
    cls = s.random.choice(sorted({o.cls for o in s.objects}))
    alike = [o for o in s.objects if o.cls == cls]
    if any(o.visible < LEAST_VISIBLE for o in alike):
        return None
    return Question({"k": _plural(cls)}, _count(len(alike)))


def _clause(s: Scene) -> Question | None:
    """The object of a pair of one class that is nearer to a third object."""
    classes = Counter(o.cls for o in s.objects)
    pairs = [k for k, n in classes.items() if n == 2 and all(o in s.unique for o in s.objects if o.cls == k)]
    anchors = [o for o in s.unique if o.cls not in pairs]
    if not pairs or not anchors:
        return None
    cls, anchor = s.random.choice(sorted(pairs)), s.random.choice(anchors)
    near, far = sorted((o for o in s.objects if o.cls == cls), key=lambda o: _distance(o, anchor))
    if not _clear(_distance(near, anchor), _distance(far, anchor), 0.15):
        return None
    return Question({"k": cls, "r": anchor.box.label}, _length(near.box.size[1]))


def _about_absent(kind: str, s: Scene) -> Question | None:
    chosen = s.pick(1)
    if chosen is None:
        return None
    names = {"a": s.absent(), "b": chosen[0].box.label}
    if kind == "exists_not":
        return Question(names, lambda a: _denied(a) or _refused(a))
    return Question(names, _refused, "refusal")


def make_question(kind: str, s: Scene) -> Question | None:
    """What fills a wording of `kind`, None where the scene does not give it."""
    if kind.startswith("absent") or kind == "exists_not":
        return _about_absent(kind, s)
    if kind in ("tallest", "nearest", "leftmost"):
        return _most(kind, s)
    if kind in ("count", "count_zero"):
        return _counted(kind, s)
    if kind == "order":
        return _order(s)
    if kind == "clause":
        return _clause(s)
    two = ("distance", "pronoun", "horizontal", "left", "behind", "taller", "taller_by", "which_taller", "which_nearer")
    return _two_objects(kind, s) if kind in two else _one_object(kind, s)


def make_phrase(kind: str, s: Scene) -> tuple[dict[str, str], list[TrueObject]] | None:
    """What fills a phrase of `kind`, and the objects that it means."""
    if kind == "unknown":
        return {}, []
    if kind == "absent":
        return {"a": s.absent()}, []
    if kind == "everything":
        return {}, s.objects
    if kind == "one":
        chosen = s.random.choice(s.objects)
        return {"a": chosen.box.label}, [o for o in s.objects if o.box.label == chosen.box.label]
    if kind == "color":
        color = s.random.choice(sorted({o.color for o in s.objects}))
        return {"c": color}, [o for o in s.objects if o.color == color]
    if kind == "class":
        cls = s.random.choice(sorted({o.cls for o in s.objects}))
        return {"k": _plural(cls), "k1": cls}, [o for o in s.objects if o.cls == cls]
    if kind == "two":
        chosen = s.pick(2)
        return chosen and ({"a": chosen[0].box.label, "b": chosen[1].box.label}, chosen)
    several = sorted(k for k, n in Counter(o.cls for o in s.objects).items() if n > 1)
    if not several:
        return None
    cls = s.random.choice(several)
    alike = [o for o in s.objects if o.cls == cls]
    if kind == "left":
        first, second, *_ = sorted(alike, key=lambda o: o.box.center[0])
        return ({"k1": cls}, [first]) if _clear(first.box.center[0], second.box.center[0], 0.1) else None
    anchors = [o for o in s.unique if o.cls != cls]
    if not anchors:
        return None
    anchor = s.random.choice(anchors)
    first, second, *_ = sorted(alike, key=lambda o: _distance(o, anchor))
    clear = _clear(_distance(first, anchor), _distance(second, anchor), 0.15)
    return ({"k1": cls, "r": anchor.box.label}, [first]) if clear else None
