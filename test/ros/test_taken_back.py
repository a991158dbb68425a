"""Boxes that nobody sees any more are taken back, so that they do not stay in RViz."""

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
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


def test_deactivate_takes_the_boxes_back(client, node, shown):
    moved = node.move(node.trigger_deactivate)
    client.until(lambda: moved.done() and is_cleared(shown), WAIT_S)
    assert moved.result() == TransitionCallbackReturn.SUCCESS
