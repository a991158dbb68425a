"""Relations against brute-force geometry on random boxes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n3d_core.geometry.boxes import Box3D
from n3d_core.reasoning import relations
from n3d_core.reasoning.outcome import ordered
from n3d_core.reasoning.question import Question
from n3d_core.reasoning.relations import PREDICATES, as_stated, stated_numbers

coordinate = st.floats(-5, 5, allow_nan=False)
extent = st.floats(0.01, 3, allow_nan=False)
box = st.builds(
    Box3D,
    st.just("thing"),
    st.tuples(coordinate, coordinate, st.floats(0.2, 9)),
    st.tuples(extent, extent, extent),
)

OPTICAL = {  # what each predicate means for the optical frame's numbers: x right, y down, z forward
    "left": lambda a, b: a.center[0] < b.center[0],
    "right": lambda a, b: a.center[0] > b.center[0],
    "front": lambda a, b: a.center[2] < b.center[2],
    "behind": lambda a, b: a.center[2] > b.center[2],
    "above": lambda a, b: a.center[1] < b.center[1],
    "below": lambda a, b: a.center[1] > b.center[1],
    "wider": lambda a, b: a.size[0] > b.size[0],
    "thinner": lambda a, b: a.size[0] < b.size[0],
    "taller": lambda a, b: a.size[1] > b.size[1],
    "shorter": lambda a, b: a.size[1] < b.size[1],
    "bigger": lambda a, b: 1000 * a.size[0] * a.size[1] * a.size[2] > 1000 * b.size[0] * b.size[1] * b.size[2],
    "smaller": lambda a, b: 1000 * a.size[0] * a.size[1] * a.size[2] < 1000 * b.size[0] * b.size[1] * b.size[2],
    "longer": lambda a, b: a.size[2] > b.size[2],
    "less_long": lambda a, b: a.size[2] < b.size[2],
    "thicker": lambda a, b: min(a.size) > min(b.size),
    "less_thick": lambda a, b: min(a.size) < min(b.size),
}


@pytest.mark.parametrize("predicate", PREDICATES)
@settings(max_examples=60)
@given(a=box, b=box)
def test_a_predicate_is_the_comparison_of_optical_frame_numbers(predicate, a, b):
    if abs(relations.gain(predicate, a, b)) > 1e-9:
        assert (relations.gain(predicate, a, b) > 0) == OPTICAL[predicate](a, b)


@given(a=box, b=box)
def test_the_opposite_view_swaps_sides_and_depth_and_nothing_else(a, b):
    for name, p in PREDICATES.items():
        swapped = name if p.measure not in "XZ" else p.converse
        assert (relations.gain(name, a, b, opposite=True) > 0) == (relations.gain(swapped, a, b) > 0)


@given(a=box, b=box)
def test_distances_are_norms_of_the_difference_of_centres(a, b):
    d = np.asarray(a.center) - np.asarray(b.center)
    assert relations.distance(a, b) == pytest.approx(np.linalg.norm(d))
    assert relations.vertical_distance(a, b) == pytest.approx(abs(d[1]))
    assert relations.horizontal_distance(a, b) == pytest.approx(np.linalg.norm(d[[0, 2]]))
    assert relations.vector(a, b) == pytest.approx((d[0], d[1], -d[2]))


@given(st.floats(0, 359.99))
def test_the_clock_follows_the_published_rule_for_every_angle(angle):
    hour = 12 - math.floor(angle / 30)
    assert relations.clock_hour(angle) == hour
    assert 1 <= hour <= 12


@given(a=box, angle=st.floats(0.001, 359.99), far=st.floats(0.1, 4))
def test_the_clock_sees_an_object_placed_under_an_angle_to_the_left(a, angle, far):
    away = (math.sin(math.radians(angle)) * far, math.cos(math.radians(angle)) * far)
    b = Box3D("b", (a.center[0] - away[0], a.center[1] + 1.0, a.center[2] + away[1]), (0.1, 0.1, 0.1))
    assert relations.direction_degrees(a, b) == pytest.approx(angle, abs=1e-6)
    if 1e-3 < angle % 30 < 29.999:
        assert relations.clock_direction(a, b) == 12 - math.floor(angle / 30)


@pytest.mark.parametrize(
    ("dx", "dz", "hour"),
    [(-0.1, 1, 12), (0.1, 1, 1), (-1, 0.1, 10), (1, -0.1, 4), (-0.1, -1, 7), (0.1, -1, 6), (-1, -0.1, 9), (1, 0.1, 3)],
)
def test_hours_around_somebody_who_looks_forward(dx, dz, hour):
    """dx to the right, dz forward: 12 is the 30 degrees left of straight ahead, 1 those right of it."""
    a, b = Box3D("a", (0.0, 0.0, 3.0), (1, 1, 1)), Box3D("b", (dx, 0.5, 3.0 + dz), (1, 1, 1))
    assert relations.clock_direction(a, b) == hour


@given(st.lists(box, min_size=1, max_size=7))
def test_extremes_and_orders_agree_with_sorting(boxes):
    for predicate, ends in (("front", 1), ("behind", -1)):
        order = ordered(Question("order", "order", (), predicate), boxes)
        assert [boxes[i].center[2] for i in order] == sorted(b.center[2] for b in boxes)[::ends]
    assert boxes[relations.extreme("front", boxes)].center[2] == min(b.center[2] for b in boxes)
    assert boxes[relations.extreme("behind", boxes)].center[2] == max(b.center[2] for b in boxes)
    assert boxes[relations.extreme("bigger", boxes)].volume == pytest.approx(max(b.volume for b in boxes))
    distances = [relations.distance(boxes[0], b) for b in boxes]
    assert distances[relations.closest(boxes[0], boxes)] == 0.0
    assert distances[relations.closest(boxes[0], boxes, farther=True)] == max(distances)


def test_nothing_has_no_extreme():
    with pytest.raises(ValueError, match="at least one"):
        relations.extreme("bigger", [])


@given(box)
def test_stated_numbers_are_the_models_frame_rounded_to_centimetres(b):
    x, y, z, *size = stated_numbers(b)
    assert [x, y, z, *size] == pytest.approx([-b.center[0], -b.center[1], b.center[2], *b.size], abs=0.00501)
    again = as_stated(b)
    assert (again.center[0], again.center[1]) == (pytest.approx(-x), pytest.approx(-y))
    assert (again.center[2], *again.size) == (z, *size)


def test_stated_numbers_round_and_sign_zeros_as_the_prompt_does():
    b = Box3D("a", (0.001, -2.675, 2.675), (2.675, 0.1, 0.1))
    assert str(stated_numbers(b)) == "[-0.0, 2.68, 2.67, 2.67, 0.1, 0.1]"
