"""What the node remembers of its queries, and what it tells of it."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from n3d_ros.msg import RememberedObject, Result
from n3d_ros.srv import Ground, Recall
from rclpy.qos import DurabilityPolicy, QoSProfile
from vision_msgs.msg import Detection3DArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.results import Grounding
from n3d_ros.errors import TransformError
from n3d_ros.frames.transforms import Transforms
from test.ros.ready_node import Source, end, make_ready

pytestmark = pytest.mark.ros

LEVEL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical frame of a level camera to a map with z up
HEIGHT = 1.0


class World:
    """Where the camera is, what it sees, and whether anybody knows."""

    def __init__(self):
        self.x, self.known = 0.0, True
        self.boxes = [
            Box3D("red mug", (0.0, 0.0, 1.45), (0.1, 0.1, 0.1), 0.9),
            Box3D("blue can", (0.3, 0.0, 1.45), (0.1, 0.1, 0.1), 0.9),
        ]

    def look_up(self, target, source, _stamp_ns, _timeout_s, _cancelled=None):
        if not self.known:
            raise TransformError(f"no transform from {source!r} to {target!r}")
        return LEVEL, np.array([self.x, 0.0, HEIGHT])

    def ground(self, _text, **_options):
        return Grounding("", self.boxes, {}, 1.0)


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(Transforms, "listen", lambda _self: None)
    monkeypatch.setattr(Transforms, "look_up", lambda _self, *given: world.look_up(*given))
    return world


@pytest.fixture
def make(client, weightless, world, frame):
    nodes = []

    def make(path):
        node = make_ready(client, weightless, Source(frame), world.ground, memory=str(path))
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        end(node)


def ground(client, text="all objects"):
    result = client.call(Ground, "/grounding/ground", text=text).result
    assert result.status == Result.OK, result.message


def recall(client, text="", **fields):
    return client.call(Recall, "/grounding/recall", text=text, **fields)


def remembered(client, text="", **fields):
    """Labels of what is remembered."""
    response = recall(client, text, **fields)
    assert response.result.status == Result.OK, response.result.message
    return sorted(one.detection.results[0].hypothesis.class_id for one in response.objects)


def test_what_was_found_is_recalled_by_name_and_colour_in_the_map_with_an_id(client, make, tmp_path):
    make(tmp_path / "objects.db")
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    assert remembered(client, "mug") == remembered(client, "red mugs") == ["red mug"]
    assert remembered(client, "red mug; can") == ["blue can", "red mug"]
    assert remembered(client, "green mug") == []
    response = recall(client, "mug")
    (mug,) = response.objects
    place = mug.detection.bbox.center.position
    assert (place.x, place.y, place.z) == pytest.approx((1.45, 0.0, HEIGHT))
    assert response.result.header.frame_id == mug.detection.header.frame_id == "map"
    assert list(response.result.detections.detections) == [mug.detection]
    assert mug.detection.id
    assert (mug.state, mug.observations) == (RememberedObject.PRESENT, 1)
    assert mug.existence > 0.8


def test_memory_outlives_the_node_and_is_published_to_those_who_come_later(client, make, tmp_path):
    first = make(tmp_path / "objects.db")
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    first.trigger_deactivate()
    first.trigger_cleanup()
    assert recall(client).result.status == Result.NOT_ACTIVE
    first.trigger_configure()
    assert len(remembered(client)) == 2
    heard = client.listen(
        Detection3DArray, "/grounding/memory", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    client.until(lambda: heard)
    assert (heard[0].header.frame_id, len(heard[0].detections)) == ("map", 2)


def test_an_object_whose_place_is_seen_to_be_empty_is_gone(client, make, world, tmp_path):
    world.boxes = [replace(world.boxes[0], center=(0.0, 0.0, 1.0))]  # the wall behind it is 1.5 m away
    make(tmp_path / "objects.db")
    ground(client)
    client.until(lambda: remembered(client) == ["red mug"])
    world.boxes = []
    for _ in range(4):
        ground(client, "red mug")
    client.until(lambda: recall(client, "mug").objects[0].state == RememberedObject.GONE)


def test_what_was_seen_long_ago_is_left_out_on_demand(client, make, tmp_path):
    make(tmp_path / "objects.db")
    ground(client)  # the image is stamped in 1970
    client.until(lambda: len(remembered(client)) == 2)
    assert remembered(client, max_age=Duration(sec=60)) == []


def test_without_a_transform_a_query_is_answered_and_nothing_is_remembered(client, make, world, tmp_path, capfd):
    make(tmp_path / "objects.db")
    world.known = False
    for _ in range(3):
        ground(client)
    assert remembered(client) == []
    assert capfd.readouterr().err.count("not remembered: no transform from 'optical' to 'map'") == 1


def test_a_node_without_memory_says_how_to_get_one(client, make):
    make("")
    ground(client)
    response = recall(client, "mug")
    assert response.result.status == Result.NOT_ACTIVE
    assert "set the parameter memory" in response.result.message


def test_a_file_that_is_no_map_is_named_and_the_node_goes_on(client, make, tmp_path):
    path = tmp_path / "objects.db"
    path.write_bytes(b"not a database" * 100)
    make(path)
    ground(client)
    result = recall(client).result
    assert result.status == Result.NOT_ACTIVE
    assert "objects.db" in result.message


def test_a_text_that_names_nothing_is_refused(client, make, tmp_path):
    make(tmp_path / "objects.db")
    result = recall(client, "which of them, and why not?").result
    assert result.status == Result.EMPTY_TEXT
    assert "noun phrases" in result.message


def test_the_file_is_whole_while_the_node_uses_it(client, make, tmp_path):
    path = tmp_path / "objects.db"
    make(path)
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    with sqlite3.connect(path) as other:
        assert other.execute("pragma integrity_check").fetchone() == ("ok",)
