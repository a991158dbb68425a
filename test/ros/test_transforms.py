"""Transforms by TF: where boxes and unregistered depth go, and what is subscribed for it, and when."""

import threading
from contextlib import suppress
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile

from n3d_ros.errors import TransformError
from n3d_ros.frames.images import stamp_of
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_node import GroundingNode
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.playback.camera_node import frame_messages
from n3d_ros.queries.latest_frame import LatestFrame
from n3d_ros.queries.models import ModelPool

pytest.importorskip("tf2_msgs.msg", reason="the interfaces are not built (make test builds them)")

from geometry_msgs.msg import TransformStamped
from rosgraph_msgs.msg import Clock as ClockMessage
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.ros
OF_TF = {"/tf", "/tf_static"}


def heard(node):
    """Topics of transforms that a node subscribes."""
    return {subscription.topic_name for subscription in node.subscriptions} & OF_TF


def place(client, parent, child, x):
    """Publishes a static transform."""
    publisher = client.node.create_publisher(
        TFMessage, "/tf_static", QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id = parent
    transform.transform.translation.x, transform.transform.rotation.w = x, 1.0
    publisher.publish(TFMessage(transforms=[transform]))


def from_a_thread(client, work):
    """What `work` returned or raised in a thread, as in the worker's, while the executor spins."""
    outcome = []

    def run():
        try:
            outcome.append((work(), None))
        except TransformError as error:
            outcome.append((None, error))

    threading.Thread(target=run, daemon=True).start()
    result, error = client.until(lambda: outcome)[0]
    if error is not None:
        raise error
    return result


def test_a_transform_is_heard_until_it_is_closed_and_again_after_that(client):
    transforms = Transforms(client.node)
    place(client, "map", "optical", 0.5)
    for _ in range(3):
        transforms.open()
        rotation, shift = from_a_thread(client, lambda: transforms.look_up("map", "optical", 7, 10.0))
        np.testing.assert_allclose(shift, [0.5, 0, 0])
        np.testing.assert_allclose(rotation, np.eye(3))
        assert heard(client.node) == OF_TF
        transforms.close()
        assert heard(client.node) == set()
    served = [service.srv_name for service in client.node.services].count("tf2_frames")
    assert served == (find_spec("tf2_ros") is not None)  # by tf2_ros's buffer, once


def test_the_time_that_unregistered_depth_waits_for_its_transform_is_the_parameter_at_that_moment(client, frame):
    messages = frame_messages(frame, "optical")
    messages.depth.header.frame_id = "depth_optical"
    source = LatestFrame(client.node.get_clock(), SimpleNamespace(), Transforms(client.node))
    for wait_s in (0.0, 0.3):
        with pytest.raises(TransformError, match=rf"'depth_optical' to 'optical' .* within {wait_s} s"):
            source.read(messages, GroundingParameters(transform_timeout=wait_s))


@pytest.fixture
def node(client, weightless, monkeypatch):
    pool = ModelPool()
    monkeypatch.setattr(pool, "acquire", lambda _choice: weightless)
    made = GroundingNode(pool, context=client.node.context)
    made.set_parameters([Parameter("target_frame", value="map")])
    yield made
    with suppress(Exception):
        made.trigger_shutdown()
    made.close()
    made.destroy_node()


def test_the_node_hears_transforms_only_while_it_is_active(node):
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    for _ in range(2):
        assert heard(node) == set()
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert heard(node) == OF_TF
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert heard(node) == set()


def test_a_node_that_cannot_be_activated_hears_none(node, monkeypatch):
    def refuse(*_arguments):
        raise TransformError("no topics today")

    monkeypatch.setattr("n3d_ros.grounding_node.subscribe_inputs", refuse)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert heard(node) == set()


def moving(client, stamped):
    """Publishes the pose of `camera` in `odom` at each of (seconds, x)."""
    publisher = client.node.create_publisher(TFMessage, "/tf", 100)
    client.until(lambda: publisher.get_subscription_count())
    for seconds, x in stamped:
        transform = TransformStamped(child_frame_id="camera")
        transform.header.frame_id, transform.header.stamp = "odom", stamp_of(round(seconds * 1e9))
        transform.transform.translation.x, transform.transform.rotation.w = x, 1.0
        publisher.publish(TFMessage(transforms=[transform]))


def test_a_moving_frame_is_looked_up_at_the_stamp_between_its_transforms_and_never_outside_of_them(client):
    transforms = Transforms(client.node)
    transforms.listen()
    place(client, "map", "odom", 1.0)
    moving(client, [(50.0, 0.0), (50.5, 1.0), (51.0, 3.0)])

    def shift(seconds, timeout_s=0.2):
        return from_a_thread(client, lambda: transforms.look_up("map", "camera", round(seconds * 1e9), timeout_s))[1][0]

    assert shift(50.25, 10.0) == pytest.approx(1.5)
    assert shift(50.75) == pytest.approx(3.0)
    for outside in (49.9, 51.2):  # a stamp that TF does not reach yet, or no longer
        with pytest.raises(TransformError, match="no transform from 'camera' to 'map'"):
            shift(outside)
    transforms.close()


def test_a_bag_that_starts_again_and_a_clock_that_is_set_back_leave_no_transform_of_the_future(client):
    transforms = Transforms(client.node)
    transforms.listen()

    def shift(seconds, timeout_s=10.0):
        return from_a_thread(client, lambda: transforms.look_up("odom", "camera", round(seconds * 1e9), timeout_s))[1][
            0
        ]

    moving(client, [(100.0, 1.0), (101.0, 2.0)])
    assert shift(100.5) == pytest.approx(1.5)
    moving(client, [(50.0, 5.0), (51.0, 6.0)])  # more than tf2 keeps
    assert shift(50.5) == pytest.approx(5.5)
    with pytest.raises(TransformError):
        shift(100.5, 0.0)
    client.node.set_parameters([Parameter("use_sim_time", value=True)])
    clock = client.node.create_publisher(ClockMessage, "/clock", 1)
    client.until(clock.get_subscription_count)
    for seconds in (60, 47):
        clock.publish(ClockMessage(clock=stamp_of(seconds * 10**9)))
        client.until(lambda at=seconds: client.node.get_clock().now().nanoseconds == at * 10**9)
    moving(client, [(48.0, 8.0), (49.0, 9.0)])  # less than tf2 keeps: it would mix both
    assert shift(48.5) == pytest.approx(8.5)
    with pytest.raises(TransformError):
        shift(50.0, 0.0)
    transforms.close()


def test_a_look_up_that_outlasts_the_node_neither_subscribes_again_nor_reads_what_is_closed(client):
    transforms = Transforms(client.node)
    transforms.listen()
    topics = transforms._topics
    transforms.close()
    topics.drain()  # of a worker that had them
    with pytest.raises(TransformError, match="the node was deactivated"):
        transforms.look_up("odom", "camera", 1, 10.0)
    assert heard(client.node) == set()
    transforms.open()
    with pytest.raises(TransformError, match="no transform"):
        transforms.look_up("odom", "camera", 1, 0.0)
    assert heard(client.node) == OF_TF
    transforms.close()


def test_messages_wait_in_the_middleware_and_wake_no_executor(client):
    transforms = Transforms(client.node)
    transforms.listen()
    moving(client, [(10.0 + i / 100, float(i)) for i in range(300)])
    groups = [one.callback_group for one in client.node.subscriptions if one.topic_name in OF_TF]
    assert [group.can_execute(None) for group in groups] == [False, False]
    found = from_a_thread(client, lambda: transforms.look_up("odom", "camera", round(12.495e9), 10.0))
    assert found[1][0] == pytest.approx(249.5)
    transforms.close()
