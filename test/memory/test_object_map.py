"""The map of objects: what is one object, what is two, what is gone, and what survives."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from n3d_core.errors import ObjectMapError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.camera import Camera
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.observations import Look, Pose, visibility
from test.memory.conftest import AHEAD

CAMERA = Camera.from_fov(70, 640, 480)
SURE = tuple((np.eye(3) * 1e-4).reshape(-1))
FAR = np.full((480, 640), 4.0, np.float32)


def pose(x=0.0, y=0.0, yaw=0.0):
    c, s = math.cos(yaw), math.sin(yaw)
    return Pose(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ AHEAD, np.array([x, y, 1.0]))


def box(label, center, size=(0.1, 0.12, 0.1), at=None, score=0.9):
    """A box at a place of the map, in the optical frame of a pose."""
    at = at or pose()
    own = (np.asarray(center) - at.translation) @ at.rotation
    return OrientedBox(label, tuple(own), size, score, SURE)


def depth_with(boxes, background=4.0):
    """Depth of a camera that sees the boxes' fronts before a background."""
    depth = np.full((CAMERA.height, CAMERA.width), background, np.float32)
    for one in boxes:
        corners = CAMERA.project(one.corners())
        (left, top), (right, bottom) = corners.min(axis=0).astype(int), corners.max(axis=0).astype(int)
        depth[max(top, 0) : bottom, max(left, 0) : right] = one.center[2] - one.size[2] / 2
    return depth


def look(memory, stamp, objects, at=None, depth=None, **settings):
    """Looks at (label, center) pairs."""
    at = at or pose()
    boxes = [one if isinstance(one, OrientedBox) else box(*one, at=at) for one in objects]
    return memory.look(Look(stamp, at, CAMERA, boxes, depth=depth, **settings))


def labels(memory):
    return sorted(one.label for one in memory.recall())


def test_one_object_seen_from_three_places_is_one_and_its_place_gets_surer(memory):
    for i, y in enumerate((-0.4, 0.0, 0.4)):
        look(memory, i, [("red mug", (1.5, 0.1, 0.7))], at=pose(y=y))
    (mug,) = memory.recall()
    assert mug.observations == 3
    np.testing.assert_allclose(mug.center, (1.5, 0.1, 0.7), atol=1e-6)
    assert np.sqrt(mug.covariance[0, 0]) < 0.6 * math.sqrt(2e-4)
    np.testing.assert_allclose(mug.size, (0.1, 0.1, 0.12), atol=1e-6)  # the optical y is up
    assert mug.state == "present"


def test_two_equal_mugs_stay_two_and_a_cup_in_the_same_place_stays_one(memory):
    for i in range(3):
        look(memory, i, [("mug", (1.5, 0.2, 0.7)), ("mug", (1.5, -0.2, 0.7))], at=pose(y=0.3 * i))
    look(memory, 5, [("cup", (1.5, 0.2, 0.7)), ("mug", (1.5, -0.2, 0.7))], at=pose(y=-0.5))
    assert labels(memory) == ["mug", "mug"]
    assert sorted(sorted(one.labels) for one in memory.recall()) == [["cup", "mug"], ["mug"]]


def test_what_a_standing_camera_sees_a_thousand_times_does_not_count_a_thousand_times(memory):
    for i in range(200):
        look(memory, i, [("mug", (1.5, 0.0, 0.7))], at=pose())
    standing = math.sqrt(memory.recall()[0].covariance[0, 0])
    assert standing > 0.2 * math.sqrt(2e-4)  # 200 independent looks would give 0.07


def test_an_object_is_gone_once_its_place_is_seen_through_and_not_when_it_is_hidden(memory, tmp_path):
    for i in range(4):
        look(memory, i, [("mug", (1.5, 0.0, 0.9))], at=pose(y=0.2 * i))
    hidden = np.full_like(FAR, 0.8)
    for i in range(5):
        look(memory, 10 + i, [], depth=hidden)
    assert memory.recall()[0].state == "present"
    results = [look(memory, 20 + i, [], depth=FAR) for i in range(4)]
    assert memory.recall()[0].state == "gone"
    assert [len(r.gone) for r in results].count(1) == 1


@pytest.mark.parametrize(("sigma", "change"), [(0.0, -2.2), (0.05, -0.4153)])
def test_to_see_past_a_small_object_says_the_less_the_worse_the_pose_is_known(memory, sigma, change):
    at = Pose(AHEAD, np.array([0.0, 0.0, 1.0]), sigma)
    look(memory, 0, [("mug", (1.5, 0.0, 0.9))], at=at)
    before = memory.recall()[0].log_odds
    look(memory, 1, [], at=at, depth=FAR)
    assert memory.recall()[0].log_odds - before == pytest.approx(change, abs=0.01)


def test_a_place_of_which_only_a_third_is_in_view_is_seen_to_be_empty(memory):
    for i in range(4):
        look(memory, i, [("mug", (1.5, 0.0, 0.9))], at=pose(y=0.1 * i))
    ahead = box("mug", (1.5, 0.0, 0.9))
    (u, _), half = CAMERA.project(np.array([ahead.center]))[0], CAMERA.fx * 0.05 / 1.5
    behind_a_post = FAR.copy()
    behind_a_post[:, : int(u + 0.2 * half)] = 0.8
    for i in range(4):
        look(memory, 10 + i, [], depth=behind_a_post)
    assert memory.recall()[0].state == "gone"


def test_to_see_something_where_an_object_is_too_small_to_be_found_speaks_for_it(memory):
    far = ("mug", (1.5, 0.0, 0.9), (0.04, 0.04, 0.04))
    look(memory, 0, [far])
    at = pose(x=-4.0)  # 3.3 pixels
    near_by, before = depth_with([box(*far, at=at)], background=30.0), memory.recall()[0].log_odds
    memory._store.discredit([(0.0, 1.0, memory.recall()[0].id)])
    look(memory, 2, [], at=at, depth=near_by)
    assert 0.0 < memory.recall()[0].log_odds < before


@pytest.mark.parametrize("shift", [0.06, 0.1])
def test_an_object_moved_by_less_than_its_size_is_followed_within_five_looks(memory, shift):
    rng = np.random.default_rng(3)
    spread = tuple((np.eye(3) * 0.02**2).reshape(-1))

    def seen(number, y):
        at = pose(y=0.1 * (number % 5) - 0.2)
        one = box("lamp", np.array([1.5, y, 0.9]) + rng.normal(0, 0.02, 3), (0.2, 0.2, 0.2), at)
        return look(memory, number, [OrientedBox(one.label, one.center, one.size, one.score, spread)], at)

    for number in range(12):
        seen(number, 0.0)
    for number in range(12, 17):
        seen(number, shift)
    (lamp,) = memory.recall()
    assert lamp.center[1] > 0.6 * shift
    assert lamp.observations == 17


def test_an_object_that_stands_still_is_not_taken_for_moved(memory):
    rng, spread = np.random.default_rng(4), tuple((np.eye(3) * 0.02**2).reshape(-1))
    for number in range(40):
        at = pose(y=0.1 * (number % 5) - 0.2)
        one = box("lamp", np.array([1.5, 0.0, 0.9]) + rng.normal(0, 0.02, 3), (0.2, 0.2, 0.2), at)
        look(memory, number, [OrientedBox(one.label, one.center, one.size, one.score, spread)], at)
    (lamp,) = memory.recall()
    assert np.linalg.norm(lamp.center - (1.5, 0.0, 0.9)) < 0.015
    assert np.sqrt(lamp.covariance[1, 1]) < 0.01


def test_a_camera_whose_errors_are_larger_than_it_says_gets_honest_covariances(memory):
    rng, claimed = np.random.default_rng(6), tuple((np.eye(3) * 0.01**2).reshape(-1))
    places = [np.array([1.5, y, 0.9]) for y in (-0.6, -0.2, 0.2, 0.6)]
    for number in range(60):
        at = pose(y=0.1 * (number % 5) - 0.2)
        boxes = [box("lamp", place + rng.normal(0, 0.04, 3), (0.2, 0.2, 0.2), at) for place in places]
        look(memory, number, [OrientedBox(b.label, b.center, b.size, b.score, claimed) for b in boxes], at)
    lamps = memory.recall()
    assert len(lamps) == 4
    assert 3 < memory._errors[""].current().scale < 12  # 16 cm^2 where 2 cm^2 are claimed at most
    for one in lamps:
        error = one.center - min(places, key=lambda place: np.linalg.norm(place - one.center))
        assert error @ np.linalg.solve(one.covariance, error) < 16.27


def test_an_object_that_looks_see_through_when_they_find_it_is_not_gone_when_they_do_not(memory):
    def stem(at):
        return depth_with([box("stem", (1.5, -0.02, 0.9), (0.02, 0.12, 0.1), at)])

    for i in range(6):
        at = pose(y=0.1 * i)
        look(memory, i, [("lamp", (1.5, 0.0, 0.9))], at=at, depth=stem(at))
    thin = memory.recall()[0]
    assert 0.3 < thin.through <= 0.7
    look(memory, 10, [], depth=stem(pose()))
    assert memory.recall()[0].log_odds - thin.log_odds > -0.6  # to a solid object it would say 1.4
    look(memory, 11, [], depth=FAR)
    assert memory.recall()[0].log_odds - thin.log_odds < -2.0
    again = ObjectMap(memory._store.path)
    assert again.recall()[0].through == pytest.approx(thin.through)
    again.close()


def test_a_missing_object_that_is_put_beside_another_keeps_its_id(memory):
    for i in range(4):
        look(memory, i, [("red mug", (1.5, 0.5, 0.9)), ("box", (1.5, -0.5, 0.9))], at=pose(y=0.1 * i))
    mug = next(one for one in memory.recall() if one.label == "red mug")
    for i in range(4):
        look(
            memory,
            10 + i,
            [("box", (1.5, -0.5, 0.9))],
            at=pose(y=0.1 * i),
            depth=depth_with([box("box", (1.5, -0.5, 0.9))]),
        )
    assert memory.get(mug.id).state == "gone"
    beside = ("red mug", (1.5, -0.47, 0.9))
    result = look(memory, 20, [beside], depth=depth_with([box(*beside)]))
    assert result.seen == (mug.id,)
    assert result.moved == (mug.id,)


def test_a_filled_place_that_was_not_asked_about_says_nothing(memory):
    look(memory, 0, [("mug", (1.5, 0.0, 0.9))])
    before = memory.recall()[0].log_odds
    filled = depth_with([box("mug", (1.5, 0.0, 0.9))])
    look(memory, 1, [], depth=filled, asked=("lamp",))
    assert memory.recall()[0].log_odds == before
    look(memory, 2, [], depth=filled, asked=("mug",))
    assert before - 0.6 < memory.recall()[0].log_odds < before


def test_what_is_out_of_view_or_looked_at_without_depth_is_not_doubted(memory):
    look(memory, 0, [("mug", (1.5, 0.0, 0.9))])
    before = memory.recall()[0]
    look(memory, 1, [], at=pose(yaw=math.pi), depth=FAR)
    look(memory, 2, [])
    assert memory.recall()[0].log_odds == before.log_odds


def test_a_thing_that_was_moved_keeps_its_id_and_is_no_longer_where_it_was(memory):
    for i in range(3):
        look(memory, i, [("red mug", (1.5, 0.4, 0.9)), ("lamp", (2.0, -0.3, 1.0), (0.2, 0.5, 0.2))], at=pose(y=0.2 * i))
    (mug,) = (one for one in memory.recall() if one.label == "red mug")
    moved = [("red mug", (1.5, -0.4, 0.9)), ("lamp", (2.0, -0.3, 1.0), (0.2, 0.5, 0.2))]
    for i in range(4):
        look(memory, 10 + i, moved, at=pose(y=0.1 * i), depth=depth_with([], 4.0))
    now = [one for one in memory.recall() if one.label == "red mug" and one.state == "present"]
    assert [one.id for one in now] == [mug.id]
    assert now[0].center[1] == pytest.approx(-0.4, abs=0.02)


def test_a_thing_that_arrives_at_an_empty_place_is_the_one_that_is_out_of_view(memory):
    """The mug goes from behind the camera to the front of it, while the camera sees only the front."""
    for i in range(3):
        look(memory, i, [("red mug", (-1.5, 0.0, 0.9))], at=pose(y=0.2 * i, yaw=math.pi))
    (mug,) = memory.recall()
    look(memory, 5, [], depth=FAR)
    arrived = box("red mug", (1.5, -0.4, 0.9))
    result = look(memory, 6, [arrived], depth=depth_with([arrived]))
    assert (result.seen, result.moved) == ((mug.id,), (mug.id,))


def test_a_second_thing_that_was_always_there_is_not_the_one_out_of_view(memory):
    for i in range(3):
        look(memory, i, [("red mug", (-1.5, 0.0, 0.9))], at=pose(y=0.2 * i, yaw=math.pi))
    second = box("red mug", (1.5, -0.4, 0.9))
    look(memory, 5, [second], depth=depth_with([second]))
    assert len(memory) == 2


def test_a_detection_that_the_depth_sees_through_is_not_taken_for_present(memory):
    look(memory, 0, [box("mug", (1.5, 0.0, 0.9), score=0.8)], depth=FAR)
    assert memory.recall()[0].state != "present"


def test_a_thing_that_is_missed_every_other_look_stays_present(memory):
    mug = box("mug", (1.5, 0.0, 0.9))
    for i in range(40):
        look(memory, i, [mug] if i % 2 == 0 else [], depth=depth_with([mug]))
    assert memory.recall()[0].state == "present"


def test_extent_and_yaw_come_from_the_best_look_when_boxes_are_turned(memory):
    far, near = pose(x=-3.0, yaw=0.0), pose(x=0.5, y=-1.0, yaw=math.radians(45))
    look(memory, 0, [box("box", (1.5, 0.0, 0.8), (0.5, 0.3, 0.5), far)], at=far)
    look(memory, 1, [box("box", (1.5, 0.0, 0.8), (0.3, 0.3, 0.4), near)], at=near)
    (one,) = memory.recall()
    np.testing.assert_allclose(sorted(one.size), (0.3, 0.3, 0.4), atol=1e-6)
    assert abs(math.degrees(one.yaw)) % 90 == pytest.approx(45)


def test_the_covariance_holds_the_truth_as_often_as_it_says(tmp_path):
    """Boxes with known noise, poses with known noise: 95 % of squared distances below the 95 % quantile."""
    rng = np.random.default_rng(7)
    inside = []
    for case in range(150):
        memory = ObjectMap(tmp_path / f"{case}.db")
        true = np.array([1.8, rng.uniform(-0.4, 0.4), 0.8])
        sigma = 0.03
        for i in range(4):
            at = pose(y=0.3 * i - 0.5)
            noisy = true + rng.normal(0, sigma, 3)
            seen = box("mug", noisy, at=at)
            seen = OrientedBox(seen.label, seen.center, seen.size, 0.9, tuple((np.eye(3) * sigma**2).reshape(-1)))
            memory.look(Look(float(i), at, CAMERA, [seen]))
        (one,) = memory.recall()
        error = one.center - true
        inside.append(error @ np.linalg.solve(one.covariance, error) < 7.815)
        memory.close()
    assert 0.9 <= np.mean(inside) <= 1.0


@pytest.mark.parametrize(
    ("center", "size", "yaw", "expected"),
    [
        ((1.5, 0.0, 1.0), (0.2, 0.2, 0.2), 0.0, (1.0, 0.0, 1.0)),  # ahead, nothing there
        ((-1.5, 0.0, 1.0), (0.2, 0.2, 0.2), 0.0, (0.0, 0.0, 0.0)),  # behind the camera
        ((6.0, 0.0, 1.0), (0.2, 0.2, 0.2), 0.3, (1.0, 1.0, 0.0)),  # behind the wall at 4 m
    ],
)
def test_visibility_tells_seen_through_from_hidden_and_out_of_view(center, size, yaw, expected):
    seen = visibility(Look(0, pose(), CAMERA, [], depth=FAR), np.array([center]), np.array([size]), np.array([yaw]))
    assert (seen.in_view[0], seen.hidden[0], seen.through[0]) == pytest.approx(expected)


def test_a_table_under_an_object_that_was_taken_away_counts_as_seen_through():
    """A camera that looks down at 45 degrees on a table: the rays leave the empty box where the table is."""
    c = math.sqrt(0.5)
    down = Pose(np.array([[0, -c, c], [-1, 0, 0], [0, -c, -c]]), np.array([0.0, 0.0, 1.5]))
    rows, columns = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    rays = np.stack([(columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy, np.ones_like(rows)], -1)
    slope = (rays @ down.rotation.T)[..., 2]
    depth = np.where(slope < -0.05, (0.7 - 1.5) / np.minimum(slope, -0.05), np.nan).astype(np.float32)  # table at 0.7 m
    mug = (np.array([[0.8, 0.0, 0.76]]), np.array([[0.1, 0.1, 0.12]]), np.array([0.0]))
    seen = visibility(Look(0, down, CAMERA, [], depth=depth), *mug)
    assert seen.through[0] > 0.5 * seen.clear[0]


def test_maps_are_apart_and_survive_reopening(tmp_path):
    first, second = ObjectMap(tmp_path / "m.db", "kitchen"), ObjectMap(tmp_path / "m.db", "office")
    look(first, 0, [("mug", (1.5, 0, 0.9))])
    look(second, 0, [("lamp", (1.5, 0, 0.9))])
    first.close(), second.close()
    again = ObjectMap(tmp_path / "m.db", "kitchen")
    assert labels(again) == ["mug"]
    again.close()


def test_export_and_load_give_the_same_objects(memory, tmp_path):
    look(memory, 3, [('a "quoted"\nmug', (1.5, 0.2, 0.9)), ("lamp", (2, -0.3, 1.0))])
    assert memory.export(tmp_path / "objects.jsonl") == 2
    other = ObjectMap(tmp_path / "other.db")
    assert other.load(tmp_path / "objects.jsonl") == 2
    for one, copy in zip(memory.recall(), other.recall(), strict=True):
        assert (one.labels, one.last_seen, one.log_odds) == (copy.labels, copy.last_seen, copy.log_odds)
        np.testing.assert_array_equal(one.center, copy.center)
        np.testing.assert_array_equal(one.covariance, copy.covariance)
    (tmp_path / "objects.jsonl").write_text((tmp_path / "objects.jsonl").read_text() + '{"labels": {}}\n')
    with pytest.raises(ObjectMapError, match="line 3: not an object"):
        other.load(tmp_path / "objects.jsonl")
    assert len(other) == 2
    other.close()


def test_the_bound_drops_the_least_likely_first(tmp_path):
    memory = ObjectMap(tmp_path / "m.db", most=3)
    for i, score in enumerate((0.9, 0.3, 0.8, 0.85)):
        look(memory, i, [box("mug", (1.5, -0.9 + 0.6 * i, 0.9), score=score)])
    assert sorted(round(one.existence, 2) for one in memory.recall()) == [0.8, 0.85, 0.9]
    memory.close()


def test_recall_by_noun_and_age(memory):
    look(memory, 100, [("red mug", (1.5, 0.3, 0.9))])
    look(memory, 200, [("blue mug", (1.5, -0.3, 0.9)), ("lamp", (2.0, 0, 1.2))])
    assert [one.label for one in memory.recall("mug", max_age=50, now=210)] == ["blue mug"]
    assert len(memory.recall("mug")) == 2
    assert memory.recall("dog") == []


def test_a_relocalisation_moves_everything_and_doubt_widens_it(memory):
    look(memory, 0, [("mug", (1.5, 0.0, 0.9))])
    turn = np.array([[0, -1, 0, 2.0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    memory.transform(turn)
    (mug,) = memory.recall()
    np.testing.assert_allclose(mug.center, (2.0, 1.5, 0.9), atol=1e-9)
    memory.doubt(0.5)
    assert memory.recall()[0].covariance[0, 0] > 0.25
    with pytest.raises(ObjectMapError, match="about the map's z axis"):
        memory.transform(np.diag([1.0, -1.0, -1.0, 1.0]))


def test_a_clock_that_jumps_back_shifts_all_stamps_and_keeps_the_time_between(memory):
    look(memory, 100, [("mug", (1.5, 0.3, 0.9))])
    look(memory, 160, [("lamp", (1.5, -0.3, 0.9))])
    assert memory.rewind(200.0) == 0
    assert memory.rewind(10.0) == 150
    assert {one.label: one.last_seen for one in memory.recall()} == {"mug": -50.0, "lamp": 10.0}
    with pytest.raises(ObjectMapError, match="now must be a finite number"):
        memory.rewind(math.nan)
    with pytest.raises(ObjectMapError, match="sigma_m must be a finite number"):
        memory.doubt(math.nan)
    with pytest.raises(ObjectMapError, match="about the map's z axis"):
        memory.transform(np.full((4, 4), math.nan))


def test_boxes_that_are_not_finite_are_left_out_and_bad_covariances_replaced(memory):
    bad = OrientedBox("mug", (math.nan, 0, 1), (0.1, 0.1, 0.1))
    odd = OrientedBox("lamp", (0, 0, 2), (0.1, 0.1, 0.1), 0.9, tuple([math.nan] * 9))
    result = memory.look(Look(0, pose(), CAMERA, [bad, odd]))
    assert len(result.seen) == 1
    assert np.isfinite(memory.recall()[0].covariance).all()
    with pytest.raises(ObjectMapError, match="stamp must be a finite number of seconds; got nan"):
        memory.look(Look(math.nan, pose(), CAMERA, []))
    with pytest.raises(ObjectMapError, match="not a rigid transform"):
        Pose(np.zeros((3, 3)), np.zeros(3))


def test_files_that_are_no_map_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "text.db").write_text("no database\n" * 100)
    with pytest.raises(ObjectMapError, match="is damaged"):
        ObjectMap(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(ObjectMapError, match="another program's database"):
        ObjectMap(tmp_path / "other.db")
    with pytest.raises(ObjectMapError, match="it is a folder: name a file in it"):
        ObjectMap(tmp_path)
    newer = ObjectMap(tmp_path / "newer.db")
    newer._store._db.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ObjectMapError, match="has version 99"):
        ObjectMap(tmp_path / "newer.db")


def test_a_killed_process_loses_no_look_that_it_reported(tmp_path):
    """Kills a writer with SIGKILL at random moments; every look that it had reported is there."""
    program = (
        "import sys; from test.memory.test_object_map import *\n"
        "m = ObjectMap(sys.argv[1])\n"
        "for i in range(100000):\n"
        "    look(m, i, [('mug', (1.5, 2.0 * (i % 50), 0.9))], at=pose(y=2.0 * (i % 50)))\n"
        "    print(i, flush=True)\n"
    )
    rng = np.random.default_rng(3)
    for case in range(4):
        path = tmp_path / f"{case}.db"
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(float(rng.uniform(0.02, 0.3)))
        os.kill(writer.pid, signal.SIGKILL)
        reported = [0, *map(int, writer.stdout.read().split())]
        writer.wait()
        memory = ObjectMap(path)
        seen = sum(one.observations for one in memory.recall())
        assert len(reported) <= seen <= len(reported) + 1
        memory.close()


def test_a_reader_reads_while_a_writer_writes(tmp_path):
    writer, reader = ObjectMap(tmp_path / "m.db"), ObjectMap(tmp_path / "m.db")
    look(writer, 0, [("mug", (1.5, 0, 0.9))])
    with writer._store.transaction():
        assert labels(reader) == ["mug"]
    writer.close(), reader.close()


def test_records_are_plain_json(memory, tmp_path):
    look(memory, 0, [("mug", (1.5, 0, 0.9))])
    memory.export(tmp_path / "m.jsonl")
    record = json.loads((tmp_path / "m.jsonl").read_text())
    assert set(record) >= {"labels", "center", "covariance", "size", "yaw", "log_odds", "last_seen"}
