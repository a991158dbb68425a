"""What can go wrong around a map: clear errors, and nothing lost."""

import os
import resource
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from n3d_core.errors import ObjectMapError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.camera import Camera
from n3d_core.memory.database import SCHEMA_VERSION
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.observations import Look, Pose

CAMERA = Camera.from_fov(70, 64, 48)
HERE = Pose(np.eye(3), np.zeros(3))
SURE = tuple((np.eye(3) * 1e-4).reshape(-1))


def look(memory, stamp, *boxes, **settings):
    return memory.look(Look(stamp, HERE, CAMERA, boxes, **settings))


def mug(label="mug", x=0.0, score=0.9):
    return OrientedBox(label, (x, 0.0, 2.0), (0.1, 0.1, 0.1), score, SURE)


def filled(path, objects=3):
    memory = ObjectMap(path)
    for i in range(objects):
        look(memory, i, mug(x=i - 1.0))
    memory.close()


@pytest.mark.parametrize("matrix", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(3)])
def test_a_pose_that_is_no_transform_is_refused(matrix):
    with pytest.raises(ObjectMapError, match=r"not a rigid transform|a 4x4 matrix is needed"):
        Pose.of_matrix(matrix)


def test_depth_of_another_size_than_the_camera_is_refused():
    with pytest.raises(ObjectMapError, match=r"depth has shape \[5, 5\]; the camera's image needs \[48, 64\]"):
        Look(0.0, HERE, CAMERA, [], depth=np.ones((5, 5), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e300])
def test_covariances_that_are_not_finite_or_not_positive_are_replaced(tmp_path, value):
    memory = ObjectMap(tmp_path / "m.db")
    odd = OrientedBox("mug", (0.0, 0.0, 2.0), (0.1, 0.1, 0.1), 0.9, (value, *SURE[1:]))
    look(memory, 0, odd)
    look(memory, 1, odd, mug("lamp", 0.5))
    assert all(np.isfinite(one.covariance).all() for one in memory.recall())
    assert {one.label for one in memory.recall()} == {"mug", "lamp"}
    memory.close()


@pytest.mark.parametrize(
    "label", ['a "quoted" mug', "it's; DROP TABLE objects; --", "two\nlines\tmug", "", "杯子 🍵", "\x00"]
)
def test_labels_are_only_data(tmp_path, label):
    memory = ObjectMap(tmp_path / "m.db")
    look(memory, 0, mug(label))
    look(memory, 1, mug(label), mug("lamp", 1.0))
    assert [one.label for one in memory.recall() if one.observations == 2] == [label]
    memory.export(tmp_path / "m.jsonl")
    other = ObjectMap(tmp_path / "other.db")
    assert other.load(tmp_path / "m.jsonl") == 2
    assert label in [one.label for one in other.recall()]
    memory.close(), other.close()


def test_ten_thousand_detections_at_once_are_taken_in_and_found_again(tmp_path):
    memory = ObjectMap(tmp_path / "m.db")
    rng = np.random.default_rng(0)
    places = np.column_stack([rng.uniform(-30, 30, (10_000, 2)), rng.uniform(1, 60, 10_000)])
    boxes = [OrientedBox(f"thing {i}", tuple(p), (0.1, 0.1, 0.1), 0.9, SURE) for i, p in enumerate(places.tolist())]
    started = time.process_time()
    first = look(memory, 0, *boxes, depth=np.full((48, 64), 5.0, np.float32))
    again = look(memory, 1, *boxes)
    assert time.process_time() - started < 60
    assert len(set(first.seen)) == len(memory) == 10_000
    assert again.seen == first.seen
    memory.close()


def test_a_database_that_was_damaged_after_it_was_filled_says_so_and_is_left_alone(tmp_path):
    path = tmp_path / "m.db"
    filled(path)
    content = bytearray(path.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    path.write_bytes(content)
    with pytest.raises(ObjectMapError, match="is damaged"):
        ObjectMap(path)
    assert path.read_bytes() == bytes(content)


def test_a_database_that_was_cut_short_says_so(tmp_path):
    path = tmp_path / "m.db"
    filled(path, 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ObjectMapError, match="is damaged"):
        _opened_and_read(path)


def _opened_and_read(path):
    memory = ObjectMap(path)
    memory.recall()


def test_a_map_of_an_older_version_is_brought_up_to_date_and_keeps_its_objects(tmp_path):
    filled(tmp_path / "m.db")
    old = sqlite3.connect(tmp_path / "m.db")
    old.executescript("DROP TRIGGER object_removed; DROP TABLE cameras; DROP TABLE pairs;")
    old.executescript("DROP INDEX objects_by_label; ALTER TABLE objects DROP COLUMN drift;")
    old.executescript("ALTER TABLE objects DROP COLUMN through; ALTER TABLE objects DROP COLUMN directions;")
    old.executescript("PRAGMA user_version = 1;")
    old.close()
    memory = ObjectMap(tmp_path / "m.db")
    look(memory, 10, mug(x=3.0))
    assert len(memory) == 4
    assert memory._store._db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    memory.close()


def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ObjectMapError, match=r"m\.db"):
        ObjectMap(tmp_path / "file" / "m.db")
    with pytest.raises(ObjectMapError, match=r"m\.db"):
        ObjectMap("/proc/m.db")


def test_a_file_that_cannot_be_written_says_so_and_keeps_what_it_holds(tmp_path):
    path = tmp_path / "m.db"
    filled(path)
    memory = ObjectMap(path)
    memory._store._db.execute("PRAGMA query_only = ON")  # as a file system that was mounted read-only meanwhile
    with pytest.raises(ObjectMapError, match="is the disk full or read-only"):
        look(memory, 9, mug())
    memory._store._db.execute("PRAGMA query_only = OFF")
    look(memory, 10, mug())
    assert len(memory) == 3
    memory.close()


_FULL_DISK = """
import resource, signal, sys
from test.memory.test_bad_input import *
memory = ObjectMap(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(sys.argv[1] + "-wal") + 20_000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
failed = None
for i in range(2000):
    try:
        look(memory, i, mug(f"thing {i}", x=float(i)))
    except ObjectMapError as error:
        failed = (i, str(error))
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
look(memory, 5000, mug("later", x=-5.0))
print(failed[0], len(memory), failed[1])
"""


def test_a_full_disk_fails_one_look_and_loses_none(tmp_path):
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the size of files is limited already")
    path = tmp_path / "m.db"
    filled(path)
    run = subprocess.run([sys.executable, "-c", _FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    index, count, message = run.stdout.split(maxsplit=2)
    assert "is the disk full or read-only" in message
    assert int(count) == 3 + int(index) + 1  # all looks before the one that failed, and the one after it
    assert not os.path.exists(str(path) + "-journal")


def test_a_second_writer_waits_and_both_keep_their_looks(tmp_path):
    first, second = ObjectMap(tmp_path / "m.db"), ObjectMap(tmp_path / "m.db")
    for i in range(20):
        look(first, i, mug("mug", -1.0))
        look(second, i, mug("lamp", 1.0))
    assert {(one.label, one.observations) for one in first.recall()} == {("mug", 20), ("lamp", 20)}
    other = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    second._store._db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(ObjectMapError, match="another writer stuck"):
        look(second, 30, mug("cup", 0.0))
    other.execute("ROLLBACK")
    look(second, 31, mug("cup", 0.0))
    assert len(first) == 3
    first.close(), second.close(), other.close()


def test_a_clock_that_jumps_back_loses_nothing(tmp_path):
    memory = ObjectMap(tmp_path / "m.db")
    look(memory, 1000.0, mug())
    look(memory, 5.0, mug(), mug("lamp", 1.0))
    found = {one.label: one for one in memory.recall()}
    assert (found["mug"].observations, found["mug"].last_seen, found["lamp"].last_seen) == (2, 1000.0, 5.0)
    memory.rewind(6.0)
    assert max(one.last_seen for one in memory.recall()) == 6.0
    memory.close()
