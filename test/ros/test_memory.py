"""What the node remembers of its queries, and what it tells of it."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticStatus
from n3d_ros.msg import RememberedObject, Result
from n3d_ros.srv import Ask, Forget, Ground, Recall
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.results import Answer, Grounding
from n3d_ros.errors import TransformError
from n3d_ros.frames.images import stamp_of
from n3d_ros.frames.transforms import Transforms
from test.ros.ready_node import Source, end, make_ready

pytestmark = pytest.mark.ros

LEVEL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical frame of a level camera to a map with z up
HEIGHT = 1.0


class World:
    """Where the camera is, what it sees, and whether anybody knows; `odometry` is where its origin is in the map."""

    def __init__(self):
        self.x, self.known, self.odometry = 0.0, True, None
        self.boxes = [  # whose fronts are in the wall that the camera measures at 1.5 m
            Box3D("red mug", (0.0, 0.0, 1.54), (0.1, 0.1, 0.1), 0.9),
            Box3D("blue can", (0.3, 0.0, 1.54), (0.1, 0.1, 0.1), 0.9),
        ]

    def look_up(self, target, source, _stamp_ns, _timeout_s, _cancelled=None):
        if not self.known:
            raise TransformError(f"no transform from {source!r} to {target!r}")
        if source == "odom":
            if self.odometry is None:
                raise TransformError("there is no odometry")
            return np.eye(3), np.array([self.odometry, 0.0, 0.0])
        return LEVEL, np.array([self.x, 0.0, HEIGHT])

    def ground(self, _text, **_options):
        return Grounding("", self.boxes, {}, 1.0)

    def ask(self, question, *, answer_from, recall=None, **_options):
        """Sees nothing: the answer is the memory's, if there is one."""
        plain = Answer(question, "Nothing of that is in view.", "", "", "not_seen", "Nothing of that is in view.")
        remembered = plain if recall is None else recall(question, ())
        return remembered if remembered.remembered else plain


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(Transforms, "listen", lambda _self: None)
    monkeypatch.setattr(Transforms, "look_up", lambda _self, *given: world.look_up(*given))
    return world


@pytest.fixture
def make(client, weightless, world, frame):
    nodes = []

    def make(path, namespace="", **parameters):
        source = Source(frame)
        node = make_ready(
            client, weightless, source, world.ground, world.ask, namespace, memory=str(path), **parameters
        )
        node.image = source
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        end(node)


def ground(client, text="all objects", camera=""):
    result = client.call(Ground, f"{camera}/grounding/ground", text=text).result
    assert result.status == Result.OK, result.message


def stamp(node, seconds):
    """The next image is another one, taken then."""
    for message in (node.image.messages.color, node.image.messages.depth, node.image.messages.info):
        message.header.stamp = stamp_of(round(seconds * 1e9))


def status(node):
    """Level, message and values of the memory's line in /diagnostics."""
    (one,) = [one for one in node._statuses() if one.name.endswith("grounding: memory")]
    return one.level, one.message, {pair.key: pair.value for pair in one.values}


def latched(client, kind, topic):
    """A list that fills with what a latched topic has."""
    return client.listen(kind, topic, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))


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
    assert (place.x, place.y, place.z) == pytest.approx((1.54, 0.0, HEIGHT))
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
    heard = latched(client, Detection3DArray, "/grounding/memory")
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
    assert "names nothing to recall" in result.message


def test_the_file_is_whole_while_the_node_uses_it(client, make, tmp_path):
    path = tmp_path / "objects.db"
    make(path)
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    with sqlite3.connect(path) as other:
        assert other.execute("pragma integrity_check").fetchone() == ("ok",)


def test_objects_are_forgotten_by_name_by_id_and_all_at_once(client, make, tmp_path):
    make(tmp_path / "objects.db")
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    can = recall(client, "can").objects[0].detection.id
    gone = client.call(Forget, "/grounding/forget", text="red mug")
    assert (gone.result.status, [one.detection.results[0].hypothesis.class_id for one in gone.objects]) == (
        1,
        ["red mug"],
    )
    assert remembered(client) == ["blue can"]
    for request, words in (
        ({}, "name what to forget"),
        ({"ids": [can, "999"]}, "no remembered object has the id '999'"),
        ({"ids": ["-1; DROP TABLE objects"]}, "no remembered object has the id"),
        ({"text": "and why not?"}, "names nothing to recall"),
    ):
        refused = client.call(Forget, "/grounding/forget", **request).result
        assert refused.status == Result.EMPTY_TEXT
        assert words in refused.message
    assert remembered(client) == ["blue can"]  # all of a request, or nothing
    assert len(client.call(Forget, "/grounding/forget", ids=[can]).objects) == 1
    assert remembered(client) == []
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    cleared = client.call(Trigger, "/grounding/clear_memory")
    assert (cleared.success, cleared.message) == (True, "forgot 2 objects")
    assert remembered(client) == []
    heard = latched(client, Detection3DArray, "/grounding/memory")
    client.until(lambda: heard and not heard[-1].detections)


def test_without_memory_nothing_is_forgotten(client, make):
    make("")
    assert client.call(Forget, "/grounding/forget", text="mug").result.status == Result.NOT_ACTIVE
    cleared = client.call(Trigger, "/grounding/clear_memory")
    assert not cleared.success
    assert "set the parameter memory" in cleared.message


def test_markers_are_the_fainter_the_less_sure_an_object_is_and_go_with_it(client, make, world, tmp_path):
    world.boxes = [replace(world.boxes[0], score=0.95), replace(world.boxes[1], score=0.55)]
    make(tmp_path / "objects.db")
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    heard = latched(client, MarkerArray, "/grounding/memory_markers")
    client.until(lambda: heard)
    delete, *shown = heard[-1].markers
    assert (delete.action, delete.header.frame_id, len(shown)) == (Marker.DELETEALL, "map", 4)
    alpha = {marker.text.split("  ")[0]: marker.color.a for marker in shown if marker.ns == "labels"}
    sure, unsure = (alpha[next(text for text in alpha if text.startswith(name))] for name in ("red mug", "blue can"))
    assert sure == pytest.approx(0.95, abs=0.02)
    assert unsure == pytest.approx(0.55, abs=0.02)
    client.call(Trigger, "/grounding/clear_memory")
    client.until(lambda: len(heard[-1].markers) == 1)


def test_cameras_of_a_process_share_what_they_remember(client, make, tmp_path):
    front = make(tmp_path / "objects.db", "/front")
    rear = make(tmp_path / "objects.db", "/rear")
    assert front._memory._shared is rear._memory._shared
    heard = latched(client, Detection3DArray, "/rear/grounding/memory")
    ground(client, camera="/front")
    client.until(lambda: heard and len(heard[-1].detections) == 2)
    ids = {
        one.detection.id
        for name in ("front", "rear")
        for one in client.call(Recall, f"/{name}/grounding/recall").objects
    }
    assert len(ids) == 2
    front.trigger_deactivate()
    front.trigger_cleanup()  # the other still has it
    assert len(client.call(Recall, "/rear/grounding/recall").objects) == 2


def test_a_question_about_what_is_out_of_view_is_answered_from_memory(client, make, world, tmp_path):
    node = make(tmp_path / "objects.db", target_frame="map")
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    world.boxes, world.x = [], 5.05
    stamp(node, 721.6)  # twelve minutes later, and five metres further on: it is behind the camera
    answer = client.call(Ask, "/grounding/ask", question="Where is the red mug?").answer
    assert answer.answer == "The red mug was last seen 12 minutes ago, 3.5 m behind you, at (1.54, 0.00, 1.00) in map."
    assert answer.verdict == answer.VERIFIED
    assert answer.result.warnings == [
        "answered from memory, not from this image: the red mug, last seen up to 720 s before it"
    ]
    (box,) = answer.result.detections.detections
    assert box.bbox.center.position.x == pytest.approx(1.54)
    (mug,) = recall(client, "red mug").objects
    assert (box.id, box.header.stamp) == (mug.detection.id, mug.last_seen)
    assert box.header.frame_id == answer.result.header.frame_id == "map"
    point = answer.value.point
    assert (answer.value.kind, point.x, point.z) == (answer.value.POSITION, pytest.approx(1.54), pytest.approx(HEIGHT))
    distance = client.call(Ask, "/grounding/ask", question="How far is the red mug from the blue can?").answer
    assert (distance.verdict, distance.value.number) == (distance.VERIFIED, pytest.approx(0.3, abs=0.01))
    absent = client.call(Ask, "/grounding/ask", question="Where is the green ball?").answer
    assert (absent.verdict, absent.answer) == (absent.NOT_SEEN, "Nothing of that is in view.")
    assert all(one.observations == 1 for one in recall(client).objects)  # what was recalled was not seen again


def test_a_question_without_a_transform_keeps_the_answer_of_the_view(client, make, world, tmp_path, capfd):
    make(tmp_path / "objects.db")
    ground(client)
    client.until(lambda: len(remembered(client)) == 2)
    world.known = False
    answer = client.call(Ask, "/grounding/ask", question="Where is the red mug?").answer
    assert (answer.result.status, answer.verdict) == (Result.OK, answer.NOT_SEEN)
    assert "not answered from memory: no transform from 'optical' to 'map'" in capfd.readouterr().err


def test_when_time_jumps_back_ages_stay_and_what_is_remembered_is_doubted(client, make, world, tmp_path, capfd):
    node = make(tmp_path / "objects.db")
    for _ in range(3):
        stamp(node, 300.0)
        ground(client)
    client.until(lambda: status(node)[2]["looks"] == "3")
    before = recall(client, "mug").objects[0]
    world.boxes = []
    stamp(node, 10.0)  # a bag that starts again
    ground(client, "bottle")
    client.until(lambda: status(node)[2]["looks"] == "4")
    after = recall(client, "mug").objects[0]
    assert (before.last_seen.sec, after.last_seen.sec) == (300, 10)
    assert after.existence <= 0.74 < before.existence
    assert after.state != RememberedObject.GONE
    assert capfd.readouterr().err.count("time jumped back by 290.0 s") == 1
    assert status(node)[2]["jumps"] == "1"


def test_when_the_map_moves_against_the_odometry_places_are_doubted_once_for_all_cameras(
    client, make, world, tmp_path, capfd
):
    nodes = [make(tmp_path / "objects.db", name) for name in ("/front", "/rear")]
    world.odometry = 0.0

    def look(seconds):
        for node, name in zip(nodes, ("/front", "/rear"), strict=True):
            looks = int(status(node)[2]["looks"])
            stamp(node, seconds)
            ground(client, camera=name)
            client.until(lambda node=node, looks=looks: int(status(node)[2]["looks"]) == looks + 1)

    look(10.0)
    world.odometry, world.x = 0.1, 0.1  # a correction by localisation: nothing is doubted
    look(11.0)
    assert status(nodes[0])[2]["jumps"] == "0"
    sure = client.call(Recall, "/front/grounding/recall", text="mug").objects[0].detection.results[0].pose.covariance[0]
    world.odometry, world.x = 2.1, 2.1  # a relocalisation
    look(12.0)
    assert [status(node)[2]["jumps"] for node in nodes] == ["1", "1"]
    said = capfd.readouterr().err
    assert said.count("map moved against the odometry by 2.00 m (a relocalisation") == 1
    found = client.call(Recall, "/front/grounding/recall", text="mug").objects
    assert len(found) in (1, 2)  # one that was moved, or a new one and the doubtful old one
    old = min(found, key=lambda one: one.first_seen.sec)
    assert old.detection.results[0].pose.covariance[0] > 5 * sure or old.observations > 4


def test_without_odometry_a_camera_that_comes_further_than_it_can_makes_places_less_sure(
    client, make, world, tmp_path, capfd
):
    node = make(tmp_path / "objects.db")
    for number, x in enumerate((0.0, 0.5, 1.0, 9.0)):
        stamp(node, 10.0 + number)
        world.x = x
        ground(client, "bottle")
        client.until(lambda number=number: status(node)[2]["looks"] == str(number + 1))
    assert capfd.readouterr().err.count("/grounding jumped in map by 8.00 m") == 1
    assert status(node)[2]["jumps"] == "1"


def test_diagnostics_tell_what_is_remembered_and_what_cannot_be(client, make, world, tmp_path):
    node = make(tmp_path / "objects.db")
    assert status(node)[:2] == (DiagnosticStatus.OK, "0 objects are remembered")
    world.known = False
    ground(client)
    client.until(lambda: status(node)[0] == DiagnosticStatus.WARN)
    assert "not remembered: no transform from 'optical' to 'map'" in status(node)[1]
    world.known = True
    ground(client)
    client.until(lambda: status(node)[0] == DiagnosticStatus.OK)


def test_diagnostics_say_that_memory_is_off_or_why_it_cannot_be_used(client, make, tmp_path):
    assert status(make(""))[:2] == (DiagnosticStatus.OK, "off")
    (tmp_path / "objects.db").write_bytes(b"not a database" * 100)
    level, message, _ = status(make(tmp_path / "objects.db", "/other"))
    assert level == DiagnosticStatus.WARN
    assert "objects.db" in message


def test_the_cameras_own_frame_is_no_map(client, make, tmp_path, capfd):
    make(tmp_path / "objects.db", memory_frame="optical")
    ground(client)
    client.until(lambda: "the camera's own frame; name a fixed one" in capfd.readouterr().err)
    assert remembered(client) == []
