"""By how much an answer must be decided before the question is asked.

A question whose answer hangs on a centimetre tests the dice. Each margin must hold for the exact boxes and for those
as the prompt states them (2 decimals), so that the chain of thought, computed from those, reaches the true answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from n3d_core.errors import QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.doubt import names_alone, plain_doubt
from n3d_core.reasoning.outcome import clause_of, evaluate, fitting_side, measured, plain, sought
from n3d_core.reasoning.question import COMPARISONS, DISTANCES, SIZES, Question, Where
from n3d_core.reasoning.relations import MEASURES, PREDICATES, as_stated, largest_wins
from n3d_core.reasoning.resolve import Scene
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
        limit: share of a limit by which a length that is compared with it differs from it.
        alike: share of the larger extent by which a difference misses the tenth up to which two extents are alike.
    """

    offset: float = 0.04
    depth_share: float = 0.04
    extent_ratio: float = 1.2
    volume_ratio: float = 1.5
    distance_ratio: float = 1.2
    clock_degrees: float = 4.0
    length: float = 0.1
    size: float = 0.03
    limit: float = 0.15
    alike: float = 0.05


DEFAULT_MARGINS = Margins()
_BY_MARGIN = (
    *COMPARISONS, *SIZES, *DISTANCES, "relative_distance", "depth_order", "order", "extreme", "direction", "same",
    "dimensions",
)  # fmt: skip


_WIDER = (*COMPARISONS, "depth_order", "order", "extreme")
_NEAR = 8.0  # metres; margins of offsets are then above two deviations of a box without covariance, others above three


def is_clear(solution: Solution, margins: Margins) -> bool:
    """Whether a solution's answer is clear: by the margins, and within the uncertainty of boxes that have none given.

    The stated boxes must give the same choice, order, number of objects, or yes or no.
    """
    question = solution.question
    if question.type in _BY_MARGIN and not is_decided(question, solution.roles.boxes, margins):
        return False
    stated = solution.scene.moved([as_stated(b) for b in solution.scene.boxes])
    if not all(_clause_decided(question, scene, margins) for scene in (solution.scene, stated)):
        return False
    try:
        same = evaluate(question, stated)
    except QueryError:
        return False
    value = solution.plain
    if not isinstance(value, float) and plain(question, same) != value:
        return False
    if _margin_is_wider(solution):
        return not plain_doubt(question, solution.outcome)
    return solution.uncertain is None


def _margin_is_wider(solution: Solution) -> bool:
    """Whether the margins are so much wider than the boxes' uncertainty that it need not be computed."""
    question, boxes = solution.question, solution.roles.boxes
    return question.type in _WIDER and names_alone(question) and all(abs(b.center[2]) <= _NEAR for b in boxes)


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
    if kind in ("volume", "dimensions"):
        return min(boxes[0].size) >= m.size
    if kind == "same":
        return _alike_or_not(question.predicate, boxes, m)
    return measured(question, boxes) >= (m.length if kind in DISTANCES else m.size)


def _alike_or_not(measure: str, boxes: Sequence[Box3D], m: Margins) -> bool:
    """Whether all extents differ by clearly less than a tenth, or one by clearly more."""
    a, b = (sorted(box.size) if measure == "dimensions" else [relations.SIZE[measure](box)] for box in boxes)
    shares = [abs(p - q) / max(p, q, 1e-6) for p, q in zip(a, b, strict=True)]
    return max(shares) <= relations.ALIKE - m.alike or max(shares) >= relations.ALIKE + m.alike


def _clause_decided(question: Question, scene: Scene, m: Margins) -> bool:
    """Whether what a question says of the objects that it counts or lists clearly holds or does not, for each of them.

    Places with several conditions are left to the boxes' uncertainty.
    """
    if question.type == "fit" and question.predicate == "between":
        inner, *outer = (scene.boxes[i] for i in scene.each(question.objects) if i is not None)
        gap = relations.gap(*outer)
        return abs(fitting_side(question, inner) - gap) >= max(m.limit * gap, 0.01)
    phrase = sought(question) if question.type in ("count", "exists", "related", "all") else None
    clause = clause_of(question) if phrase is not None else None
    if phrase is None or (clause is None and not phrase.where):
        return True
    clause = clause or phrase.where[0]
    references = scene.each(clause.references)
    others = [relations.CAMERA if i is None else scene.boxes[i] for i in references]
    rivals = [i for i in scene.means(replace(phrase, where=())) if i not in references]
    return all(_holds_clearly(clause, scene.boxes[i], others, m) for i in rivals)


def _holds_clearly(clause: Where, box: Box3D, references: Sequence[Box3D], m: Margins) -> bool:
    if clause.limit is not None:
        away = clause.relation in ("within", "beyond")
        value = relations.distance(box, references[0]) if away else _measure(clause.relation, box)
        return abs(value - clause.limit) >= max(m.limit * clause.limit, m.offset if away else 0.01)
    if clause.relation not in PREDICATES or relations.CAMERA in references:
        return True
    measure = PREDICATES[clause.relation].measure
    return all(_apart(measure, *sorted(MEASURES[measure](b) for b in (box, other)), m) for other in references)


def _measure(relation: str, box: Box3D) -> float:
    return MEASURES[PREDICATES[relation].measure](box)


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
