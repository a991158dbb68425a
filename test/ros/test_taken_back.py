"""Boxes that nobody sees any more are taken back, so that they do not stay in RViz."""

import pytest
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from test.ros.ready_node import Source, end, make_ready

pytestmark = pytest.mark.ros

WAIT_S = 60.0


@pytest.fixture
def source(frame):
    return Source(frame)


@pytest.fixture
def node(client, weightless, source):
    """An active node that sees one mug in every image."""
    node = make_ready(client, weightless, source, continuous_rate=20.0)
    yield node
    end(node)


@pytest.fixture
def shown(client, node):
    """What RViz is told, from the first boxes of a continuous query on: (detections, marker arrays)."""
    heard = client.listen(Detection3DArray, "/grounding/detections"), client.listen(MarkerArray, "/grounding/markers")
    asks = client.node.create_publisher(String, "/grounding/continuous_query", 1)
    client.until(lambda: asks.get_subscription_count(), WAIT_S)
    asks.publish(String(data="mug"))
    client.until(lambda: all(heard), WAIT_S)
    assert (len(heard[0][-1].detections), len(heard[1][-1].markers)) == (1, 3)
    return heard


def is_cleared(shown):
    detections, markers = shown[0][-1], shown[1][-1].markers
    return not detections.detections and [marker.action for marker in markers] == [Marker.DELETEALL]


def test_a_continuous_query_that_fails_takes_its_boxes_back_once_and_shows_them_again_later(client, source, shown):
    source.there.clear()
    client.until(lambda: is_cleared(shown), WAIT_S)
    assert shown[0][-1].header.frame_id == shown[1][-1].markers[0].header.frame_id == "optical"
    known = len(shown[0])
    for _ in range(10):  # it fails again and again meanwhile
        client.executor.spin_once(0.1)
    assert len(shown[0]) == known
    source.there.set()
    client.until(lambda: not is_cleared(shown), WAIT_S)


def test_tracks_are_of_the_continuous_query_alone_with_ids_that_stay(client, node, shown):
    tracks = client.listen(Detection3DArray, "/grounding/tracks")
    client.until(lambda: len(tracks) > 2, WAIT_S)
    assert {detection.id for message in tracks for detection in message.detections} == {"1"}
    node.set_parameters([Parameter("continuous_query", value="")])
    for _ in range(5):  # the last of them arrive
        client.executor.spin_once(0.1)
    known, seen = len(tracks), len(shown[0])
    assert client.call(Ground, "/grounding/ground", text="mug").result.status == Result.OK
    client.until(lambda: len(shown[0]) > seen, WAIT_S)
    assert shown[0][-1].detections[0].id == ""
    assert len(tracks) == known


def test_who_comes_after_a_query_still_sees_its_boxes_in_rviz(client, node):
    assert client.call(Ground, "/grounding/ground", text="mug").result.status == Result.OK
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard = client.listen(MarkerArray, "/grounding/markers", latched)
    client.until(lambda: heard, WAIT_S)
    assert [marker.ns for marker in heard[0].markers] == ["", "edges", "labels"]


def test_deactivate_takes_the_boxes_back(client, node, shown):
    moved = node.move(node.trigger_deactivate)
    client.until(lambda: moved.done() and is_cleared(shown), WAIT_S)
    assert moved.result() == TransitionCallbackReturn.SUCCESS
