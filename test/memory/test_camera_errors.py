"""Errors that repeat between looks: how much they are found to, and what that does to a place; objects seen twice."""

import math
import os
import signal
import zlib
from dataclasses import replace

import numpy as np
import pytest

from n3d_core.errors import ObjectMapError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.memory import database
from n3d_core.memory.camera_errors import CameraErrors, Errors, no_directions, place_variance, seen_from
from n3d_core.memory.database import ObjectStore
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import RememberedObject
from n3d_core.memory.observations import Look
from test.memory.conftest import AHEAD
from test.memory.test_object_map import CAMERA, SURE, Pose, box, depth_with, labels, look, pose

CLAIMED = 0.03**2


def looks_around(center, count, radius=2.0):
    """Poses on a circle around a place, all looking at it."""
    for angle in np.linspace(0, 2 * math.pi, count, endpoint=False):
        c, s = math.cos(angle), math.sin(angle)
        turned = np.array([[-c, s, 0.0], [-s, -c, 0.0], [0, 0, 1.0]]) @ AHEAD
        yield angle, Pose(turned, np.array([center[0] + radius * c, center[1] + radius * s, center[2]]))


def errors_around(rng, scale, repeated, count):
    """[count, 3]: errors of looks from all around, of which a share is the same within every 45 degrees."""
    sigma = math.sqrt(scale * CLAIMED)
    shared = rng.normal(0, sigma * math.sqrt(repeated), (8, 3))
    sectors = np.arange(count) * 8 // count
    return shared[sectors] + rng.normal(0, sigma * math.sqrt(1 - repeated), (count, 3))


@pytest.mark.parametrize(("scale", "repeated"), [(1.0, 0.0), (2.5, 0.0), (2.0, 0.6)])
def test_the_scale_of_errors_and_the_share_that_repeats_are_found(scale, repeated):
    rng, learned = np.random.default_rng(3), CameraErrors()
    for identity in range(60):
        center = np.array([*rng.uniform(-2, 2, 2), 0.5])
        around = zip(looks_around(center, 40), errors_around(rng, scale, repeated, 40), strict=True)
        for (_, at), error in around:
            learned.add(identity, center + error, at.translation - center, CLAIMED, 0.0)
    found = learned.current()
    assert found.scale == pytest.approx(scale, rel=0.25)
    assert abs(found.repeated - repeated) < (0.2 if repeated else 0.1)


def test_looks_from_one_direction_add_up_only_in_what_does_not_repeat():
    errors, directions = Errors(scale=2.0, repeated=0.5), no_directions()
    assert place_variance(directions, errors) == math.inf
    for number in range(1, 50):
        directions = seen_from(directions, np.array([1.0, 0.1, 0.4]), CLAIMED, 0.0, 1.0)
        expected = 2.0 * CLAIMED * (0.5 + 0.5 / number)
        assert place_variance(directions, errors) == pytest.approx(expected)
    here = place_variance(directions, errors)
    directions = seen_from(directions, np.array([-1.0, 0.1, 0.4]), CLAIMED, 0.0, 1.0)
    assert place_variance(directions, errors) < 0.85 * here
    assert place_variance(directions, Errors()) == pytest.approx(CLAIMED / 50)


def test_covariances_hold_the_truth_although_errors_repeat(tmp_path):
    rng, memory = np.random.default_rng(5), ObjectMap(tmp_path / "m.db")
    claimed, inside = tuple((np.eye(3) * CLAIMED).reshape(-1)), []
    for number in range(40):
        true = np.array([10.0 * number, 0.0, 0.9])
        around = zip(looks_around(true, 24), errors_around(rng, 2.0, 0.6, 24), strict=True)
        for step, ((_, at), error) in enumerate(around):
            seen = box("lamp", true + error, (0.2, 0.2, 0.2), at)
            seen = OrientedBox(seen.label, seen.center, seen.size, 0.9, claimed)
            memory.look(Look(100.0 * number + step, at, CAMERA, [seen]))
        near = [one for one in memory.recall() if np.linalg.norm(one.center - true) < 1]
        error = max(near, key=lambda one: one.observations).center - true
        inside.append(error @ np.linalg.solve(max(near, key=lambda o: o.observations).covariance, error) < 7.815)
    memory.close()
    assert 0.8 <= np.mean(inside[10:]) <= 1.0  # the first teach how large the errors are


def looks_of_a_bad_camera(memory, count):
    """Looks at lamps from all around, whose errors have three times the variance that the boxes claim."""
    rng, claimed = np.random.default_rng(7), tuple((np.eye(3) * CLAIMED).reshape(-1))
    for number in range(count):
        true = np.array([10.0 * (number // 24), 0.0, 0.9])
        _, at = list(looks_around(true, 24))[number % 24]
        seen = box("lamp", true + rng.normal(0, math.sqrt(3 * CLAIMED), 3), (0.2, 0.2, 0.2), at)
        memory.look(Look(float(number), at, CAMERA, [OrientedBox("lamp", seen.center, seen.size, 0.9, claimed)]))
        yield


def variance_of_a_new_object(memory, source=""):
    """What the map makes of a box, in a place where nothing is known, that claims a variance of `CLAIMED`."""
    at = Pose(AHEAD, np.array([-50.0 - 10 * len(memory), 0.0, 1.0]))
    claimed = tuple((np.eye(3) * CLAIMED).reshape(-1))
    seen = OrientedBox("mug", (0.0, 0.0, 2.0), (0.1, 0.1, 0.1), 0.9, claimed)
    (identity,) = memory.look(Look(1e4, at, CAMERA, [seen], source=source)).new
    return float(memory.get(identity).covariance[0, 0])


def test_what_was_learned_of_a_camera_outlives_a_process_that_is_killed(tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        memory = ObjectMap(tmp_path / "m.db")
        for _ in looks_of_a_bad_camera(memory, 240):
            os.write(writer, b".")
        os.kill(os.getpid(), signal.SIGSTOP)  # without closing the map
    os.close(writer)
    for _ in range(240):
        assert os.read(reader, 1) == b"."
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    again = ObjectMap(tmp_path / "m.db")
    assert variance_of_a_new_object(again) > 2 * (CLAIMED + 0.01**2)
    assert variance_of_a_new_object(again, "another camera") == pytest.approx(CLAIMED + 0.01**2)
    again.close()


def test_what_is_kept_of_a_camera_is_what_was_learned_and_damage_is_left_out():
    rng, learned, again = np.random.default_rng(3), CameraErrors(), CameraErrors()
    center = np.array([0.0, 0.0, 0.5])
    for (_, at), error in zip(looks_around(center, 40), errors_around(rng, 2.5, 0.0, 40), strict=True):
        learned.add(1, center + error, at.translation - center, CLAIMED, 0.0)
    kept = learned.to_bytes()
    again.restore(kept)
    assert again.current() == learned.current() != Errors()
    assert again.to_bytes() == kept
    nan, zero = (np.full(6, value).tobytes() for value in (math.nan, 0.0))
    damaged = (kept[:20] + b"\x55" + kept[21:], kept[:-1], kept + b"\0", b"")
    for odd in (*damaged, *(zlib.crc32(content).to_bytes(4, "big") + content for content in (nan, zero))):
        fresh = CameraErrors()
        fresh.restore(odd)
        assert fresh.current() == Errors()


def test_a_file_of_schema_6_opens_and_keeps_its_objects_and_then_what_is_learned(tmp_path, monkeypatch):
    path = tmp_path / "m.db"
    with monkeypatch.context() as older:
        older.setattr(database, "SCHEMA_VERSION", 6)
        store = ObjectStore(path)
        with store.transaction():
            store.write([remembered("green box", 0.0, 3.0)])
        names = [row[0] for row in store._db.execute("SELECT name FROM sqlite_master")]
        assert "cameras" not in names
        store.close()
    memory = ObjectMap(path)
    assert labels(memory) == ["green box"]
    for _ in looks_of_a_bad_camera(memory, 240):
        pass
    memory.close()
    again = ObjectMap(path)
    assert variance_of_a_new_object(again) > 2 * (CLAIMED + 0.01**2)
    assert again.forget([1]) == 1
    assert "green box" not in labels(again)
    again.close()


def test_a_look_that_is_not_kept_teaches_nothing_of_the_camera(tmp_path):
    memory = ObjectMap(tmp_path / "m.db")
    for _ in looks_of_a_bad_camera(memory, 30):
        pass
    before = memory._store.camera("")
    memory._store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(ObjectMapError):
        look(memory, 100, [("lamp", (1.5, 0.0, 0.9))])
    memory._store._db.execute("PRAGMA query_only = OFF")
    assert memory._store.camera("") == before
    memory.close()


def test_when_the_map_moves_looks_before_and_after_it_are_not_compared(memory):
    lamps = [(1.5, y, 0.9) for y in (-1.5, -0.9, -0.3, 0.3, 0.9, 1.5)]
    shift = np.eye(4)
    shift[:2, 3] = 40.0, 30.0
    for number in range(5):
        look(memory, number, [("lamp", place) for place in lamps], at=pose(y=0.4 * number - 0.8))
    memory.transform(shift)
    for number in range(4):
        at = pose(x=40.0, y=29.4 + 0.4 * number)
        look(memory, 50 + number, [("lamp", shift[:3, :3] @ place + shift[:3, 3]) for place in lamps], at=at)
    assert [one.observations for one in memory.recall()] == [9] * 6
    learned = CameraErrors()
    learned.restore(memory._store.camera(""))
    assert learned.current().scale == 1.0


def test_a_directions_sector_turns_with_the_map(memory):
    for number in range(3):
        look(memory, number, [("mug", (1.5, 0.0, 0.9))], at=pose(y=0.1 * number - 0.1))
    before = memory.recall()[0].directions
    quarter = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    memory.transform(quarter)
    np.testing.assert_array_equal(memory.recall()[0].directions, np.roll(before, 2, axis=0))


def test_a_box_that_a_model_says_twice_is_one_object_and_two_that_stand_apart_are_two(memory):
    result = look(memory, 0, [("red mug", (1.5, 0.0, 0.9)), ("mug", (1.5, 0.05, 0.9)), ("mug", (1.5, 0.3, 0.9))])
    assert len(memory) == 2
    assert result.seen[0] == result.seen[1] != result.seen[2]
    assert {one.label for one in memory.recall()} == {"red mug", "mug"}


def remembered(label, first, last, size=(0.25, 0.25, 0.25)):
    place, covariance = np.array([1.5, 0.0, 0.9]), np.eye(3) * 1e-4
    return RememberedObject({label: 4.0}, place, covariance, np.array(size), 0.0, 3.0, first, last, last, 5)


def test_two_objects_that_are_seen_by_turns_in_one_place_become_one(memory):
    memory.add([remembered("green box", 0.0, 7.0), remembered("blue lamp", 3.0, 9.0)])
    result = look(memory, 10, [box("green box", (1.5, 0.0, 0.9), (0.25, 0.25, 0.25))])
    (one,) = memory.recall()
    assert (one.id, one.label, one.observations) == (result.seen[0], "green box", 11)
    assert (one.first_seen, one.last_seen) == (0.0, 10.0)
    assert one.labels["blue lamp"] == pytest.approx(4.0)


CHAIR = (0.5, 0.5, 0.5)


def test_two_equal_objects_that_were_seen_together_stay_two_while_one_of_them_is_missed(tmp_path):
    memory = ObjectMap(tmp_path / "m.db")
    left, right = box("chair", (1.5, 0.15, 0.9), CHAIR), box("chair", (1.5, -0.15, 0.9), CHAIR)
    memory.add([remembered("chair", 0.0, 7.0, CHAIR), remembered("chair", 0.0, 9.0, CHAIR)])
    for one, y in zip(memory.recall(), (0.15, -0.15), strict=True):
        with memory._store.transaction():
            memory._store.write([replace(one, center=np.array([1.5, y, 0.9]))])
    for number in range(3):
        assert len(set(look(memory, 10 + number, [left, right]).seen)) == 2
    memory.close()
    again = ObjectMap(tmp_path / "m.db")  # that they were seen together outlives the process
    for number in range(5):
        look(again, 20 + number, [(left, right)[number % 2]])
    assert labels(again) == ["chair", "chair"]
    for number in range(6):
        look(again, 30 + number, [left])
    assert labels(again) == ["chair"]
    again.close()


def test_neighbours_of_two_colours_are_two_and_one_with_and_without_its_colour_is_one(memory):
    size, apart = (0.3, 0.3, 0.3), 0.22  # 3D IoU 0.15
    result = look(memory, 0, [box("red chair", (1.5, 0.0, 0.9), size), box("green chair", (1.5, apart, 0.9), size)])
    assert len(set(result.seen)) == 2
    result = look(memory, 1, [box("mug", (5.5, 0.0, 0.9), size), box("green mug", (5.5, apart, 0.9), size)])
    assert len(set(result.seen)) == 1


def test_no_single_look_moves_an_object_however_sure_it_is(memory):
    size = (0.3, 0.3, 0.3)

    def see(stamp, y, at):
        look(memory, stamp, [box("chair", (1.5, y, 0.9), size, at)], at=at)
        return memory.recall()[0].center[1]

    for number in range(4):
        see(number, 0.0, pose(y=0.2 * number))
    assert 0.0 < see(5, 0.15, pose(y=-0.4)) < 0.06
    assert see(6, 0.15, pose(y=-0.6)) == pytest.approx(0.15, abs=1e-6)
    assert len(memory) == 1


def test_what_takes_the_place_of_another_object_is_not_that_object(memory):
    memory.add([remembered("green box", 0.0, 3.0), remembered("blue lamp", 5.0, 9.0)])
    look(memory, 10, [box("blue lamp", (1.5, 0.0, 0.9), (0.25, 0.25, 0.25))])
    assert labels(memory) == ["blue lamp", "green box"]


def test_a_well_known_object_stays_present_while_its_place_is_filled_with_nothing_else(memory):
    size = (0.2, 0.24, 0.2)
    mug = box("mug", (1.5, 0.0, 0.9), size)
    for number in range(6):
        at = pose(y=0.1 * number - 0.2)
        look(memory, number, [box("mug", (1.5, 0.0, 0.9), size, at)], at=at)
    for number in range(6, 20):
        look(memory, number, [], depth=depth_with([mug]))
    assert memory.recall()[0].state == "present"
    memory.add([remembered("ball", 20.0, 20.0, (0.05, 0.05, 0.05))])
    ball = OrientedBox("ball", mug.center, (0.05, 0.05, 0.05), 0.9, SURE)
    for number in range(21, 30):
        look(memory, number, [ball], depth=depth_with([mug]))
    assert {one.label: one.state for one in memory.recall()} == {"ball": "present", "mug": "uncertain"}


def test_the_part_of_a_thin_object_that_shows_does_not_tell_that_it_is_gone(memory):
    def stem(at, hidden=False):
        parts = [box("stem", (1.5, -0.02, 0.9), (0.02, 0.12, 0.1), at)]
        depth = depth_with(parts)
        if hidden:  # all but the see-through right of it
            depth[:, : CAMERA.width // 2 + 4] = 0.4
        return depth

    for number in range(6):
        at = pose(y=0.1 * number)
        look(memory, number, [box("lamp", (1.5, 0.0, 0.9), at=at)], at=at, depth=stem(at))
    before = memory.recall()[0].log_odds
    look(memory, 10, [], depth=stem(pose(), hidden=True))
    assert memory.recall()[0].log_odds >= before - 0.3
