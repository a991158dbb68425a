"""Large maps: what makes a look fast changes nothing of what it finds."""

import math
import sqlite3
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from n3d_core.memory.association import _GATE, _costs, assign
from n3d_core.memory.database import ObjectStore, Places, bounds
from n3d_core.memory.objects import WELL_KNOWN, RememberedObject
from n3d_core.memory.observations import Observation, Pose

COLORS, NOUNS = ("red", "green", "blue"), ("mug", "box", "lamp")


def objects(count, side, seed=0):
    rng = np.random.default_rng(seed)
    return [
        RememberedObject(
            {f"{rng.choice(COLORS)} {rng.choice(NOUNS)}": 1.0},
            np.array([*rng.uniform(-side, side, 2), rng.uniform(0.1, 1.0)]),
            np.diag(rng.uniform(1e-4, 4e-3, 3)),
            rng.uniform(0.1, 0.6, 3),
            float(rng.uniform(-3, 3)),
            float(rng.uniform(-3, 4)),
            *(0.0, 0.0, 0.0),
        )
        for _ in range(count)
    ]


def store_of(path, things, name="default"):
    store = ObjectStore(path, name)
    with store.transaction():
        ids = store.write(things)
    return store, dict(zip(ids, things, strict=True))


def test_near_finds_what_a_search_through_all_objects_finds_and_nothing_of_another_map(tmp_path):
    things = objects(400, 8.0)
    store, known = store_of(tmp_path / "m.db", things)
    other, _ = store_of(tmp_path / "m.db", objects(200, 8.0, seed=1), "other")
    rng = np.random.default_rng(2)
    for _ in range(20):
        low = np.array([*rng.uniform(-8, 6, 2), 0.0])
        high = low + np.array([2.5, 1.5, 0.6])
        boxes = {identity: bounds(one) for identity, one in known.items()}
        wanted = {i for i, (least, most) in boxes.items() if (most >= low).all() and (least <= high).all()}
        found = store.near(low, high)
        assert set(found.ids) == wanted
        assert [found.labels[i] for i in range(len(found.ids))] == [known[i].labels for i in found.ids]
    store.close(), other.close()


@pytest.mark.parametrize("out_of_view", [False, True])
def test_missing_finds_what_a_search_through_all_objects_finds(tmp_path, out_of_view):
    rng = np.random.default_rng(5)
    things = [
        replace(one, observations=int(rng.integers(1, 6)), last_seen=float(rng.uniform(0, 100)))
        for one in objects(300, 8.0)
    ]
    store, known = store_of(tmp_path / "m.db", things)
    fitting = [
        (-one.last_seen, identity)
        for identity, one in known.items()
        if one.label == "red mug" and one.last_seen >= 30 and one.observations >= WELL_KNOWN
        and (out_of_view or one.state == "gone")
    ]  # fmt: skip
    found = store.missing("red mug", 30.0, out_of_view)
    assert [one.id for one in found] == [identity for _, identity in sorted(fitting)][:20]
    assert len(found) >= (9 if out_of_view else 2)
    plan = store._db.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM objects WHERE map = 1 AND label = 'a' AND last_seen >= 0 "
        f"AND observations >= {WELL_KNOWN} ORDER BY last_seen DESC"
    ).fetchall()
    assert "objects_by_label" in plan[0][3]
    store.close()


def test_bounds_are_those_of_the_boxes_corners():
    for one in objects(50, 5.0):
        corners = one.box.corners()
        np.testing.assert_allclose(bounds(one), (corners.min(axis=0), corners.max(axis=0)), atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_assignment_in_groups_is_the_cheapest_of_all_pairs(seed):
    things = [*objects(60, 2.0, seed), *objects(3, 0.3, seed)]
    rng, places = np.random.default_rng(seed), Places.of(things)
    pose = Pose(np.eye(3), np.array([0.0, 0.0, 1.0]), 0.02, 0.01)
    seen = [
        Observation(one.label, one.center + rng.normal(0, 0.08, 3), np.eye(3) * 4e-3, one.size, one.yaw, 0.9)
        for one in (things[i] for i in rng.choice(len(things), 30, replace=False).tolist())
    ]
    table = np.full((len(seen), len(things)), _GATE)
    for row, one in enumerate(seen):
        spread = one.covariance + pose.covariance_at(one.center)
        for column in range(len(things)):
            at = np.array([column])
            table[row, column] = _costs(places, at, [one.label], one.center[None], one.size[None], spread[None])[0]
    table = np.minimum(table, _GATE)
    best = np.column_stack(linear_sum_assignment(table)).tolist()
    wanted = {row: column for row, column in best if table[row, column] < _GATE}
    assert assign(places, seen, pose) == wanted
    assert len(wanted) > 20


@pytest.mark.parametrize("by_id", [False, True])
def test_the_time_to_find_what_is_near_or_by_id_does_not_grow_with_the_map(tmp_path, by_id):
    def milliseconds(count):
        side = math.sqrt(count) / 2
        store, _ = store_of(tmp_path / f"{count}.db", objects(count, side))
        rng, times = np.random.default_rng(0), []
        for _ in range(60):
            low = np.array([*rng.uniform(-side + 3, side - 3, 2), 0.0])
            started = time.process_time()
            if by_id:
                store.many(range(1, 300, 10))
            else:
                store.near(low, low + 3.0)
            times.append(time.process_time() - started)
        store.close()
        return float(np.median(times)) * 1000

    assert milliseconds(12_000) < 3 * milliseconds(300)


def test_a_map_of_version_2_gets_a_tree_that_sorts_and_keeps_its_maps_apart(tmp_path):
    path, things = tmp_path / "m.db", objects(100, 3.0)
    store, _ = store_of(path, things)
    other, _ = store_of(path, objects(50, 3.0, seed=1), "other")
    store.close(), other.close()
    old = sqlite3.connect(path)
    old.executescript("UPDATE places SET map0 = round((map0 + map1) / 2), map1 = round((map0 + map1) / 2);")
    old.executescript("DROP TRIGGER object_removed; DROP TABLE cameras; DROP TABLE pairs;")
    old.executescript(
        "ALTER TABLE objects DROP COLUMN drift; ALTER TABLE objects DROP COLUMN through; "
        "ALTER TABLE objects DROP COLUMN directions; PRAGMA user_version = 2;"
    )
    old.close()
    again = ObjectStore(path)
    found = again.near(np.full(3, -9.0), np.full(3, 9.0))
    assert sorted(found.ids) == list(range(1, 101))
    layers = again._db.execute("SELECT DISTINCT round(map0, 3), round(map1, 3) FROM places ORDER BY 1").fetchall()
    assert layers == [(0.6, 1.4), (1.6, 2.4)]
    again.close()
