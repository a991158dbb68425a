"""Ids that stay with an object."""

import numpy as np

from n3d_core.geometry.boxes import OrientedBox
from n3d_ros.queries.continuous import Tracker

S = 1_000_000_000


def box(label: str, x: float, side: float = 0.1) -> OrientedBox:
    return OrientedBox(label, (x, 0.0, 1.0), (side, side, side))


def test_ids_follow_objects_whatever_the_order_of_the_boxes():
    tracker = Tracker()
    first = tracker.update([box("mug", 0.0), box("mug", 0.5), box("can", 0.0)], 0)
    assert len(set(first)) == 3
    again = tracker.update([box("can", 0.01), box("mug", 0.49), box("mug", 0.02)], S)
    assert again == [first[2], first[1], first[0]]


def test_crossing_neighbours_are_assigned_by_the_smallest_sum():
    tracker = Tracker()
    a, b = tracker.update([box("mug", 0.0), box("mug", 0.10)], 0)
    # greedy would give the box at 0.06 to the mug at 0.10, and leave 0.16 to the one at 0.0
    assert tracker.update([box("mug", 0.06), box("mug", 0.16)], S) == [a, b]


def test_an_object_that_comes_back_in_time_keeps_its_id_and_later_it_is_new():
    tracker = Tracker(memory_s=5.0)
    (mug,) = tracker.update([box("mug", 0.0)], 0)
    assert tracker.update([], 2 * S) == []
    assert tracker.update([box("mug", 0.0)], 4 * S) == [mug]
    assert tracker.update([box("mug", 0.0)], 20 * S) != [mug]


def test_tracks_end_where_the_frame_of_the_boxes_changes():
    tracker = Tracker()
    (mug,) = tracker.update([box("mug", 0.0)], 0, "optical")
    assert tracker.update([box("mug", 0.0)], S, "optical") == [mug]
    assert tracker.update([box("mug", 0.0)], 2 * S, "map") != [mug]


def test_far_jumps_and_other_labels_are_new_objects():
    tracker = Tracker()
    (mug,) = tracker.update([box("mug", 0.0)], 0)
    assert tracker.update([box("mug", 1.0)], S) != [mug]
    assert tracker.update([box("can", 0.0)], S) != [mug]


def test_a_clock_that_is_set_back_starts_anew_and_reuses_no_id():
    tracker = Tracker()
    (mug,) = tracker.update([box("mug", 0.0)], 10 * S)
    (again,) = tracker.update([box("mug", 0.0)], 0)
    assert again != mug


def test_ids_are_stable_for_a_hundred_noisy_frames():
    random = np.random.default_rng(0)
    tracker = Tracker()
    places = np.linspace(-1, 1, 8)
    first = tracker.update([box("mug", x) for x in places], 0)
    for step in range(1, 100):
        places = places + random.normal(0, 0.02, 8)
        order = random.permutation(8)
        ids = tracker.update([box("mug", places[i]) for i in order], step * S // 10)
        assert [first[i] for i in order] == ids
