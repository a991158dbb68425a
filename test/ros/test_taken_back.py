"""Boxes that nobody sees any more are taken back, so that they do not stay in RViz."""

import threading
from types import SimpleNamespace

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.results import Grounding
from n3d_ros.camera_node import frame_messages
from n3d_ros.errors import NoImageError
from n3d_ros.grounding_node import GroundingNode
from n3d_ros.model_pool import ModelPool

pytestmark = pytest.mark.ros

WAIT_S = 60.0


class Source:
    """One image, for as long as it is `there`."""

    def __init__(self, frame):
        self.messages = frame_messages(frame, "optical")
        self.there = threading.Event()
        self.there.set()

    def newest(self, _bound_ns, _registration):
        if not self.there.is_set():
            raise NoImageError("the camera stopped")
        return self.messages


class ReadyPool(ModelPool):
    """Has the model already."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def acquire(self, choice):
        return self.shared


@pytest.fixture
def source(frame):
    return Source(frame)


@pytest.fixture
def node(client, weightless, source):
    """An active node that sees one mug in every image."""
    reply = Grounding("mug", [Box3D("mug", (0.0, 0.0, 1.5), (0.2, 0.2, 0.2), 0.9)], {}, 1.0)
    weightless.model.look = lambda frame, _limits: SimpleNamespace(frame=frame, times={}, ground=lambda *_, **__: reply)
    values = {"max_image_age": 0.0, "image_timeout": 0.0, "continuous_rate": 20.0}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = GroundingNode(ReadyPool(weightless), source, context=client.node.context, parameter_overrides=overrides)
    client.executor.add_node(node)
    assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    yield node
    node.trigger_shutdown()
    node.close()
    node.destroy_node()


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
