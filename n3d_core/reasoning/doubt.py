"""Decides whether boxes can answer a question despite their uncertainty, by answering it again for perturbed boxes.

One rule for every kind of question: the answer must stay the same for nearly all of a fixed set of perturbed boxes.
This covers ties, borderline relations, and noun phrases ("the mug next to the lamp") that could mean another object.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.lexicon import without_id
from n3d_core.reasoning.outcome import COUNTING, Outcome, evaluate, number_of, rank_of
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Pick, Question
from n3d_core.reasoning.relations import MEASURES, PREDICATES
from n3d_core.reasoning.resolve import SIZE_ADJECTIVES, Scene

MOVED = 64  # perturbed scenes
ASSURED = 0.9  # share of them that must give the same answer
_APART_M, _APART_SHARE = 0.05, 0.1  # how far a difference in depth may be from that along the lines of sight
_NUMBERS = ("length", "direction", "position", "none")  # kinds of values that come with an uncertainty of their own


@dataclass(frozen=True)
class Doubt:
    """Why boxes do not decide: another answer that they allow (None if it is no answer at all), or another reason."""

    other: Outcome | None = None
    reason: str = ""


def deviations(box: Box3D) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A square root of the centre's covariance [3, 3] in metres, and standard deviations of the size [3].

    Without a covariance, a box is uncertain by 4 mm and 1 mm per metre of depth sideways, and by 5 mm and 5 mm per
    metre in depth. Sizes: 1 mm and 3 % of each extent, or 7 % if a model found the box, as measured on rendered scenes.
    """
    share = 0.03 if box.covariance is None else 0.07
    size = 0.001 + share * np.asarray(box.size, dtype=np.float64)
    if box.covariance is None:
        depth = abs(box.center[2])
        return np.diag([0.004 + 0.001 * depth, 0.004 + 0.001 * depth, 0.005 + 0.005 * depth]), size
    values, vectors = np.linalg.eigh(np.reshape(np.asarray(box.covariance, dtype=np.float64), (3, 3)))
    return vectors * np.sqrt(np.clip(values, 0.0, None)), size


def doubt_of(question: Question, scene: Scene, outcome: Outcome) -> Doubt | None:
    """Why the boxes do not decide a question; None if they do.

    Args:
        outcome: the answer for the unperturbed boxes.
    """
    reason = plain_doubt(question, outcome) or _two_nearest(question, scene, outcome)
    if reason or _is_fixed(question, outcome):
        return Doubt(reason=reason) if reason else None
    others: list[Outcome | None] = []
    for boxes in _moved(scene.boxes):
        try:
            moved = evaluate(question, scene.moved(boxes))
        except QueryError:
            others.append(None)
            continue
        if not _same(question, outcome, moved):
            others.append(moved)
    return Doubt(next((o for o in others if o is not None), None)) if len(others) > (1 - ASSURED) * MOVED else None


def plain_doubt(question: Question, outcome: Outcome) -> str:
    """Why the boxes do not decide a question, as they are; empty if only their uncertainty could be a reason."""
    if outcome.value.kind == "none" and question.form in ("choice", "free"):
        return "the boxes are equal in this"
    end = _at_an_end(question, outcome)
    if end or not _depth_misleads(question, outcome):
        return end
    if question.form == "difference":
        return "in depth it is another length than along the lines of sight"
    return "what is nearer in depth is farther along the line of sight"


def _two_nearest(question: Question, scene: Scene, outcome: Outcome) -> str:
    """Says that "how far is the mug from the closest ball?" may mean the ball closest to the camera or to the mug."""
    places = outcome.roles.indices
    if question.type not in DISTANCES or len(question.objects) != 2 or len(places) != 2:
        return ""
    for phrase, here, there in zip(question.objects, places, reversed(places), strict=True):
        if phrase.pick != Pick("front") or here is None or there is None:
            continue
        rivals = scene.means(replace(phrase, plural=True, pick=None), question.opposite)
        away = {i: relations.distance(scene.boxes[i], scene.boxes[there]) for i in rivals if i != there}
        if away and min(away.values()) < away.get(here, 0.0):
            return f"the {phrase.text} is another one from the camera than from the {without_id(scene.names[there])}"
    return ""


def names_alone(question: Question) -> bool:
    """Whether the names of the boxes alone tell which of them a question is about, wherever they are."""
    phrases = (*question.objects, *([question.among] if question.among is not None else ()))
    return all(phrase.is_plain and not SIZE_ADJECTIVES.keys() & set(phrase.attributes) for phrase in phrases)


def _is_fixed(question: Question, outcome: Outcome) -> bool:
    """Whether no perturbation changes what `_same` compares: the objects, and no more of an answer with a number."""
    return names_alone(question) and (outcome.value.kind in _NUMBERS or question.type in ("count", "exists"))


def spread(question: Question, scene: Scene, outcome: Outcome) -> float:
    """Standard deviation of the number that a question asks for, in metres, litres or degrees; 0 without a number."""
    if number_of(question, outcome) is None:
        return 0.0
    numbers = []
    for boxes in _moved(scene.boxes):
        with suppress(QueryError):
            numbers.append(number_of(question, evaluate(question, scene.moved(boxes))) or 0.0)
    turned = question.type == "direction"
    middle = number_of(question, outcome) or 0.0
    off = [relations.turn(n, middle) if turned else n - middle for n in numbers]
    return float(np.sqrt(np.mean(np.square(off)))) if off else 0.0


def _moved(boxes: tuple[Box3D, ...]) -> list[list[Box3D]]:
    """Perturbed scenes: boxes that might as well be the true ones."""
    noise = _noise(len(boxes))
    sets: list[list[Box3D]] = [[] for _ in range(MOVED)]
    for i, box in enumerate(boxes):
        root, spread = deviations(box)
        centers = np.asarray(box.center) + noise[:, i, :3] @ root.T
        sizes = np.maximum(np.asarray(box.size) + noise[:, i, 3:] * spread, 0.0)
        for k, (c, s) in enumerate(zip(centers.tolist(), sizes.tolist(), strict=True)):
            sets[k].append(Box3D(box.label, tuple(c), tuple(s)))
    return sets


@lru_cache(maxsize=32)
def _noise(count: int) -> NDArray[np.float64]:
    """Fixed standard normal noise [MOVED, count, 6]; the second half mirrors the first."""
    half = np.random.default_rng(0).standard_normal((MOVED // 2, count, 6))
    return np.concatenate([half, -half])


def _same(question: Question, a: Outcome, b: Outcome) -> bool:
    """Whether two outcomes give the same answer. Numbers always do."""
    counted = question.type in COUNTING
    if a.roles.indices != b.roles.indices and not counted and a.value.kind != "objects":
        return False
    if a.value.kind in _NUMBERS:
        return True
    return set(a.found) == set(b.found) if question.type == "related" else a.value == b.value


def _at_an_end(question: Question, outcome: Outcome) -> str:
    """Says that a length is asked for of a box at an end of the model's scale; empty if not."""
    if question.type not in (*SIZES, *DISTANCES) and question.form != "difference":
        return ""
    for name, box in zip(outcome.roles.names, outcome.roles.boxes, strict=True):
        if box.saturated:
            return f"the {name} reaches the end of the model's scale, so it may be larger or farther away"
    return ""


def _depth_misleads(question: Question, outcome: Outcome) -> bool:
    """Whether "closer" and "farther" mean another object, or a clearly different length, along the lines of sight."""
    if question.type not in (*COMPARISONS, "extreme") or question.opposite:
        return False
    if PREDICATES[question.predicate].measure != "Z" or outcome.value.kind == "none":
        return False
    boxes = outcome.roles.boxes
    sight = [relations.distance(relations.CAMERA, b) for b in boxes]
    depth = [MEASURES["Z"](b) for b in boxes]
    if question.form == "difference":
        along, deep = abs(sight[0] - sight[1]), abs(depth[0] - depth[1])
        return abs(along - deep) > max(_APART_M, _APART_SHARE * deep)
    rank = rank_of(question)
    behind = PREDICATES[question.predicate].sign > 0
    by_sight, by_depth = (sorted(range(len(boxes)), key=v.__getitem__, reverse=behind) for v in (sight, depth))
    return by_sight[rank - 1] != by_depth[rank - 1]
