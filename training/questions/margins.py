"""By how much an answer must be decided before the question is asked.

A question whose answer hangs on a centimetre tests the dice. Each margin must hold for the exact boxes and for those
as the prompt states them (2 decimals), so that the chain of thought, computed from those, reaches the true answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.outcome import evaluate, measured, plain
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Question
from n3d_core.reasoning.relations import MEASURES, PREDICATES, as_stated, largest_wins
from n3d_core.reasoning.solve import Solution


@dataclass(frozen=True)
class Margins:
    """What makes an answer robust.

    Attributes:
        offset: metres between two centres along the compared axis.
        depth_share: and for depth this share of the nearer z besides.
        extent_ratio: larger over smaller width or height.
        volume_ratio: larger over smaller volume.
        distance_ratio: longer over shorter of two distances.
        clock_degrees: degrees between a direction and the border of its hour.
        length: metres; shorter distances are not asked for.
        size: metres; smaller extents are not asked for.
    """

    offset: float = 0.04
    depth_share: float = 0.04
    extent_ratio: float = 1.2
    volume_ratio: float = 1.5
    distance_ratio: float = 1.2
    clock_degrees: float = 4.0
    length: float = 0.1
    size: float = 0.03


DEFAULT_MARGINS = Margins()
_BY_MARGIN = (*COMPARISONS, *SIZES, *DISTANCES, "relative_distance", "depth_order", "order", "extreme", "direction")


def is_clear(solution: Solution, margins: Margins) -> bool:
    """Whether a solution's answer is clear: by the margins, and within the uncertainty of boxes that have none given.

    The stated boxes must give the same choice, order, number of objects, or yes or no.
    """
    question = solution.question
    if question.type in _BY_MARGIN and not is_decided(question, solution.roles.boxes, margins):
        return False
    stated = solution.scene.moved([as_stated(b) for b in solution.scene.boxes])
    try:
        same = evaluate(question, stated)
    except QueryError:
        return False
    value = solution.plain
    if not isinstance(value, float) and plain(question, same) != value:
        return False
    return not solution.doubt


def is_decided(question: Question, boxes: Sequence[Box3D], margins: Margins) -> bool:
    """Whether the answer of `question` about `boxes` (in their roles) is clear by the margins."""
    return all(_decided(question, view, margins) for view in (list(boxes), [as_stated(b) for b in boxes]))


def _decided(question: Question, boxes: list[Box3D], m: Margins) -> bool:
    kind = question.type
    if kind in COMPARISONS or kind in ("extreme", "depth_order", "order"):
        return _separated(PREDICATES[question.predicate].measure, boxes, question, m)
    if kind == "relative_distance":
        away = sorted(relations.distance(boxes[0], b) for b in boxes[1:])
        pairs = [(away[0], away[1])] if question.predicate == "closer" else [(away[-2], away[-1])]
        return all(near >= m.size and far >= m.distance_ratio * near and far - near >= m.offset for near, far in pairs)
    if kind == "direction":
        past = relations.direction_degrees(boxes[0], boxes[1]) % 30.0
        far = relations.horizontal_distance(boxes[0], boxes[1])
        return far >= m.length and m.clock_degrees <= past <= 30.0 - m.clock_degrees
    if kind == "volume":
        return min(boxes[0].size) >= m.size
    return measured(question, boxes) >= (m.length if kind in DISTANCES else m.size)


def _separated(measure: str, boxes: list[Box3D], question: Question, m: Margins) -> bool:
    """All neighbours of an order, or the winner and the second of a choice, are apart."""
    values = sorted(MEASURES[measure](b) for b in boxes)
    gaps = list(pairwise(values))
    if question.type == "extreme":
        gaps = gaps[-1:] if largest_wins(question.predicate, question.opposite) else gaps[:1]
    return all(_apart(measure, low, high, m) for low, high in gaps)


def _apart(measure: str, low: float, high: float, m: Margins) -> bool:
    if measure in "XY":
        return high - low >= m.offset
    if measure == "Z":
        return high - low >= m.offset + m.depth_share * low
    ratio = m.volume_ratio if measure == "V" else m.extent_ratio
    return low > 0 and high >= ratio * low
