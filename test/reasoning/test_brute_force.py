"""The typed values of random scenes equal what a few lines of NumPy make of the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning.question import CAMERA_PHRASE, Phrase, Pick, Question, Where
from n3d_core.reasoning.resolve import MissingError
from n3d_core.reasoning.solve import solve
from test.reasoning.asking import means

NAMES = ("red mug", "blue mug", "green mug", "red box", "blue can")
A, B, C, D, E = (Phrase(n, n.split()[1], (n.split()[0],)) for n in NAMES)
MUGS, ANYTHING = Phrase("mugs", "mug", plural=True), Phrase("object", "object", plural=True)
near = st.floats(-2, 2, allow_nan=False)
size = st.floats(0.02, 1, allow_nan=False)
scenes = st.lists(
    st.tuples(near, near, st.floats(0.3, 4, allow_nan=False), size, size, size), min_size=5, max_size=5
).map(np.array)


def boxes_of(numbers):
    return [Box3D(n, tuple(r[:3].tolist()), tuple(r[3:].tolist())) for n, r in zip(NAMES, numbers, strict=True)]


def value(question, numbers):
    return solve(question, boxes_of(numbers)).value


AXIS = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1), "front": (2, -1), "behind": (2, 1),
        "wider": (3, 1), "thinner": (3, -1), "taller": (4, 1), "shorter": (4, -1), "longer": (5, 1),
        "less_long": (5, -1)}  # fmt: skip
TYPE = {"left": "left_right", "right": "left_right", "above": "above_below", "below": "above_below",
        "front": "front_behind", "behind": "front_behind", "wider": "wide_thin", "thinner": "wide_thin",
        "taller": "tall_short", "shorter": "tall_short", "longer": "long_short", "less_long": "long_short"}  # fmt: skip


@pytest.mark.parametrize("predicate", AXIS)
@settings(max_examples=25, deadline=None)
@given(numbers=scenes)
def test_comparisons_extremes_orders_and_counts(predicate, numbers):
    axis, sign = AXIS[predicate]
    score = sign * numbers[:, axis]
    assume(np.diff(np.sort(score)).min() > 1e-6)
    kind = TYPE[predicate]
    assert value(Question(kind, "yes_no", (A, B), predicate), numbers).truth == (score[0] > score[1])
    assert value(Question(kind, "choice", (A, B), predicate), numbers).objects == (int(score[1] > score[0]),)
    assert value(Question(kind, "difference", (A, B), predicate), numbers).number == pytest.approx(score[0] - score[1])
    best = int(score.argmax())
    assert value(Question("extreme", "choice", (), predicate, among=ANYTHING), numbers).objects == (best,)
    assert value(Question("extreme", "yes_no", (A,), predicate, among=ANYTHING), numbers).truth == (best == 0)
    order = tuple(np.argsort(-score).tolist())
    assert value(Question("order", "order", (), predicate, among=ANYTHING), numbers).objects == order
    second = Phrase("second", "object", plural=True, pick=Pick(predicate, 2))
    assert value(Question("extreme", "choice", (), predicate, among=second), numbers).objects == (order[1],)
    assert means(Phrase("m", "mug", pick=Pick(predicate)), boxes_of(numbers)) == [int(score[:3].argmax())]
    if axis < 3:
        clause = Phrase("mugs", "mug", plural=True, where=(Where(predicate, (D,)),))
        assert value(Question("count", "number", among=clause), numbers).number == (score[:3] > score[3]).sum()
        found = value(Question("related", "objects", (D,), predicate), numbers).objects
        assert set(found) == set(np.flatnonzero(score > score[3]).tolist())
        apart = np.linalg.norm(numbers[:, :3] - numbers[3, :3], axis=1)
        assert list(found) == sorted(found, key=lambda i: apart[i])


@settings(max_examples=60, deadline=None)
@given(numbers=scenes)
def test_lengths_directions_and_positions(numbers):
    centers, sizes = numbers[:, :3], numbers[:, 3:]
    apart = centers[1] - centers[0]
    expected = {
        "distance": np.linalg.norm(apart),
        "vertical_distance": abs(apart[1]),
        "horizontal_distance": np.hypot(apart[0], apart[2]),
        "gap": np.linalg.norm(np.maximum(np.abs(apart) - (sizes[0] + sizes[1]) / 2, 0)),
    }
    for kind, length in expected.items():
        assert value(Question(kind, "number", (A, B)), numbers).number == pytest.approx(length, abs=1e-9)
    to_camera = value(Question("distance", "number", (A, CAMERA_PHRASE)), numbers).number
    assert to_camera == pytest.approx(np.linalg.norm(centers[0]))
    for i, kind in enumerate(("width", "height", "length")):
        assert value(Question(kind, "number", (A,)), numbers).number == sizes[0, i]
        limit = float(sizes[1, i])
        longer = value(Question(kind, "yes_no", (A,), "more", limit=limit), numbers).truth
        assert longer == (sizes[0, i] > limit)
    assert value(Question("thickness", "number", (A,)), numbers).number == sizes[0].min()
    litres = solve(Question("volume", "number", (A,), unit="l"), boxes_of(numbers)).plain
    assert litres == pytest.approx(sizes[0].prod() * 1000)
    turned = value(Question("direction", "number", (A, B)), numbers).number
    assume(np.hypot(apart[0], apart[2]) > 1e-3)
    assert np.exp(1j * turned) == pytest.approx(complex(apart[2], -apart[0]) / np.hypot(apart[0], apart[2]))
    assert value(Question("position", "position", (A,)), numbers).point == tuple(centers[0].tolist())


@settings(max_examples=60, deadline=None)
@given(numbers=scenes)
def test_places_nearest_objects_and_fits(numbers):
    low, high = numbers[:, :3] - numbers[:, 3:] / 2, numbers[:, :3] + numbers[:, 3:] / 2
    shared = np.maximum(np.minimum(high[0], high[1]) - np.maximum(low[0], low[1]), 0)
    gap = np.linalg.norm(np.maximum(np.maximum(low[0] - high[1], low[1] - high[0]), 0))
    ground = [0, 2]
    floors = numbers[:2, 3:][:, ground].prod(axis=1)
    overlap = shared[ground].prod() / floors.min()
    volumes = numbers[:, 3:].prod(axis=1)
    expected = {
        "on": abs(low[1, 1] - high[0, 1]) <= 0.05 and overlap >= 0.25,
        "under": low[0, 1] - high[1, 1] >= -0.05 and overlap >= 0.25,
        "inside": volumes[0] < volumes[1] and shared.prod() >= 0.5 * volumes[0],
        "next_to": gap <= max(0.1, numbers[:2, 3:][:, ground].max(axis=1).sum() / 4) and overlap <= 0.25,
    }
    for place, holds in expected.items():
        assert value(Question("place", "yes_no", (A, B), place), numbers).truth == holds, place
    away = np.linalg.norm(numbers[:, :3] - numbers[0, :3], axis=1)
    assume(np.diff(np.sort(away)).min() > 1e-6)
    nearest, farthest = 1 + int(away[1:].argmin()), 1 + int(away[1:].argmax())
    for predicate, wanted in (("closer", nearest), ("farther", farthest)):
        question = Question("relative_distance", "choice", (A,), predicate, among=ANYTHING)
        assert value(question, numbers).objects == (wanted,)
    two = Phrase("m", "mug", plural=True, number=2, where=(Where("farthest", (D,)),))
    assert (
        means(two, boxes_of(numbers))
        == np.argsort(-np.linalg.norm(numbers[:3, :3] - numbers[3, :3], axis=1))[:2].tolist()
    )
    beside = Phrase("m", "mug", where=(Where("nearest", (D,)),))
    assert means(beside, boxes_of(numbers)) == [int(np.linalg.norm(numbers[:3, :3] - numbers[3, :3], axis=1).argmin())]
    sides = np.sort(numbers[:, 3:], axis=1)
    assert value(Question("fit", "yes_no", (A, B)), numbers).truth == bool((sides[0] < sides[1]).all())
    assert value(Question("fit", "yes_no", (A,), "grip", limit=0.1), numbers).truth == (sides[0, 0] <= 0.1)


@settings(max_examples=40, deadline=None)
@given(numbers=scenes)
def test_thoughts_of_random_scenes_state_what_the_boxes_give(numbers):
    for question in (
        Question("place", "yes_no", (A, B), "next_to"),
        Question("related", "objects", (D,), "left"),
        Question("count", "number", among=Phrase("mugs", "mug", plural=True, where=(Where("behind", (D,)),))),
        Question("gap", "number", (A, E)),
        Question("direction", "number", (CAMERA_PHRASE, C), unit="deg"),
    ):
        solution = solve(question, boxes_of(numbers))
        assert solution.steps
        assert solution.text.endswith(".")
        assert "nan" not in solution.reply


@settings(max_examples=60, deadline=None)
@given(numbers=scenes)
def test_alike_all_limits_exceptions_and_gaps_that_fit(numbers):
    sizes = numbers[:, 3:]
    for i, kind in enumerate(("width", "height", "length")):
        alike = abs(sizes[0, i] - sizes[1, i]) <= 0.1 * sizes[:2, i].max()
        assert value(Question("same", "yes_no", (A, B), kind), numbers).truth == alike
    ordered = np.sort(sizes[:2], axis=1)
    alike = (np.abs(ordered[0] - ordered[1]) <= 0.1 * ordered.max(axis=0)).all()
    assert value(Question("same", "yes_no", (A, B), "dimensions"), numbers).truth == alike
    limit, away = float(sizes[3, 1]), np.linalg.norm(numbers[:, :3] - numbers[3, :3], axis=1)
    clauses = {
        Where("taller", (), limit): sizes[:, 1] > limit,
        Where("shorter", (D,)): sizes[:, 1] < limit,
        Where("within", (D,), 1.5): away <= 1.5,
        Where("beyond", (D,), 1.5): away > 1.5,
    }
    for clause, holds in clauses.items():
        said = Phrase("mugs", "mug", plural=True, where=(clause,))
        assert value(Question("count", "number", among=said), numbers).number == holds[:3].sum()
        assert value(Question("all", "yes_no", (said,), among=MUGS), numbers).truth == holds[:3].all()
        rest = Phrase("mugs", "mug", plural=True, without=(said,))
        assert means_or_none(rest, numbers) == np.flatnonzero(~holds[:3]).tolist()
    others = Phrase("objects", "object", plural=True, without=(A, MUGS))
    assert means(others, boxes_of(numbers)) == [3, 4]
    tall = Phrase("mugs", "mug", plural=True, where=(Where("taller", (others,)),))
    near = Phrase("mugs", "mug", plural=True, where=(Where("within", (others,), 1.5),))
    assert value(Question("count", "number", among=tall), numbers).number == (sizes[:3, 1] > sizes[3:, 1].max()).sum()
    apart = np.linalg.norm(numbers[:3, None, :3] - numbers[None, 3:, :3], axis=2)
    assert value(Question("count", "number", among=near), numbers).number == (apart.min(axis=1) <= 1.5).sum()
    low, high = numbers[3:, :3] - sizes[3:] / 2, numbers[3:, :3] + sizes[3:] / 2
    gap = np.linalg.norm(np.maximum(np.maximum(low[0] - high[1], low[1] - high[0]), 0))
    question = Question("fit", "yes_no", (A, D, E), "between")
    assert value(question, numbers).truth == (min(sizes[0, 0], sizes[0, 2]) <= gap)


def means_or_none(phrase, numbers):
    try:
        return means(phrase, boxes_of(numbers))
    except MissingError:
        return []


@settings(max_examples=60, deadline=None)
@given(numbers=scenes)
def test_ranks_by_distance_counts_against_counts_and_proportions(numbers):
    away = np.linalg.norm(numbers[:, :3] - numbers[3, :3], axis=1)
    assume(np.diff(np.sort(away)).min() > 1e-6)
    assume(np.abs(numbers[0, 3] - numbers[0, 4]) > 1e-6)
    by_distance = [int(i) for i in np.argsort(away) if i != 3]
    for rank in (1, 2, 4):
        among = Phrase("object", "object", plural=True, pick=Pick("", rank) if rank > 1 else None)
        nearest = Question("relative_distance", "choice", (D,), "closer", among=among)
        assert value(nearest, numbers).objects == (by_distance[rank - 1],)
        farthest = Question("relative_distance", "choice", (D,), "farther", among=among)
        assert value(farthest, numbers).objects == (by_distance[-rank],)
        one = Phrase("object", "object", where=(Where("nearest", (D,), rank=rank),))
        assert means(one, boxes_of(numbers)) == [by_distance[rank - 1]]
    fifth = Phrase("object", "object", plural=True, pick=Pick("", 5))
    with pytest.raises(MissingError):
        value(Question("relative_distance", "choice", (D,), "closer", among=fifth), numbers)
    left = Phrase("mugs", "mug", plural=True, where=(Where("left", (D,)),))
    right = Phrase("mugs", "mug", plural=True, where=(Where("right", (D,)),))
    counts = [int((sign * (numbers[:3, 0] - numbers[3, 0]) > 0).sum()) for sign in (-1, 1)]
    more = counts[0] - counts[1]
    assert value(Question("outnumber", "number", (left, right), "more"), numbers).number == more
    assert value(Question("outnumber", "number", (left, right), "less"), numbers).number == -more
    for how, holds in (("more", more > 0), ("less", more < 0), ("equal", more == 0)):
        assert value(Question("outnumber", "yes_no", (left, right), how), numbers).truth == holds
    width, height = numbers[0, 3:5]
    alike = abs(width - height) <= 0.1 * max(width, height)
    for how, holds in (("more", height > width), ("less", height < width), ("equal", alike)):
        proportion = Question("proportion", "yes_no", (A,), how, sizes=("height", "width"))
        assert value(proportion, numbers).truth == holds
