"""Where frames come from: measured or estimated depth, and the two ways to pair."""

import sys
from contextlib import suppress
from copy import deepcopy

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from n3d_core.depth.monocular import DepthEstimate
from n3d_core.errors import ConfigError, DepthError, MissingDependencyError
from n3d_core.messages.assembly import FrameOptions, RgbdMessages, assemble_frame
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.errors import NoImageError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.inputs.synchronized_topics import subscribe_inputs
from n3d_ros.node.parameters import ParameterSet
from n3d_ros.playback.camera_node import frame_messages, stamped
from n3d_ros.queries.models import gpu_memory

BOUND_NS = 20_000_000


class Camera:
    """Publishers of the input topics, as many as a test wants."""

    def __init__(self, client, *names):
        kinds = {"color": (Image, "color/image_raw"), "info": (CameraInfo, "color/camera_info")}
        kinds["depth"] = (Image, "depth/image_raw")
        self.client = client
        self.topics = {name: client.node.create_publisher(*kinds[name], QoSProfile(depth=2)) for name in names}

    def show(self, messages):
        """Publishes a set with the present stamp, and lets executors run."""
        now = stamped(messages, self.client.node.get_clock().now())
        for name, topic in self.topics.items():
            topic.publish(getattr(now, name))
        for _ in self.topics:
            self.client.executor.spin_once(0.02)

    def until_taken(self, messages, source):
        """The set that `source` hands out at last."""

        def newest():
            self.show(messages)
            with suppress(NoImageError):
                return source.newest(BOUND_NS, "auto")

        return self.client.until(newest)


def test_the_limits_of_depth_go_together_and_reach_the_core(client):
    with pytest.raises(ConfigError, match=r"min_depth must be below max_depth; got 5.0 and 3.0"):
        GroundingParameters(min_depth=5.0, max_depth=3.0)
    limits = GroundingParameters(min_depth=0.3, max_depth=6.0).depth_limits
    assert (limits.near, limits.far) == (0.3, 6.0)
    settings = ParameterSet(client.node, GroundingParameters)
    refused = client.node.set_parameters([Parameter("max_depth", value=0.1), Parameter("min_depth", value=0.2)])
    assert [answer.successful for answer in refused] == [True, False]
    assert "got 0.2 and 0.1" in refused[1].reason
    assert (settings.value.min_depth, settings.value.max_depth) == (0.05, 0.1)


def test_depth_of_a_camera_without_is_the_estimate_of_its_rectified_image(frame):
    messages = frame_messages(frame, "optical")
    asked = []

    def estimate(color, camera):
        asked.append((color.shape, camera))
        return DepthEstimate(np.full(color.shape[:2], 2.5, np.float32), camera)

    alone = RgbdMessages(messages.color, None, messages.info)
    made = assemble_frame(alone, FrameOptions(estimate=estimate), None)
    assert asked == [((48, 64, 3), frame.camera)]
    np.testing.assert_array_equal(made.depth, np.float32(2.5))
    np.testing.assert_array_equal(made.color, frame.color)
    with pytest.raises(DepthError, match="set monocular_depth"):
        assemble_frame(alone, FrameOptions(), None)


@pytest.mark.ros
def test_without_depth_no_depth_is_subscribed_and_with_it_the_cure_is_named(client, frame):
    camera = Camera(client, "color", "info")
    messages = frame_messages(frame, "optical")
    measured, alone = RgbdTopics(client.node), RgbdTopics(client.node, has_depth=False)
    assert client.node.count_subscribers("/depth/image_raw") == 1
    taken = camera.until_taken(messages, alone)
    assert (taken.depth, taken.color.width, taken.info.width) == (None, 64, 64)
    with pytest.raises(NoImageError, match=r"nothing on /depth/image_raw: it has no publisher.*monocular_depth"):
        measured.newest(BOUND_NS, "auto")
    measured.close()
    alone.close()


@pytest.mark.ros
def test_message_filters_that_is_not_installed_is_named_with_its_package(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "message_filters", None)
    with pytest.raises(MissingDependencyError, match=r"apt install ros-\S+-message-filters"):
        subscribe_inputs(client.node, GroundingParameters(synchronizer="message_filters"))


@pytest.mark.ros
def test_message_filters_pairs_by_its_policy_and_every_message_is_counted(client, frame):
    pytest.importorskip("message_filters", reason="message_filters is not installed (it is no package of PyPI)")
    topics = subscribe_inputs(client.node, GroundingParameters(synchronizer="message_filters"))
    messages = frame_messages(frame, "optical")
    half = Camera(client, "color", "info")
    for _ in range(20):
        half.show(messages)
    with pytest.raises(NoImageError, match="nothing on /depth/image_raw"):
        topics.newest(BOUND_NS, "auto")
    camera = Camera(client, "color", "depth", "info")
    taken = camera.until_taken(messages, topics)
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in (taken.color, taken.depth, taken.info)]
    assert max(stamps) - min(stamps) < BOUND_NS
    assert (taken.depth.encoding, taken.depth_info) == ("16UC1", None)
    before = topics.color.statistics._total("received")
    for _ in range(10):
        camera.show(messages)
    client.until(lambda: topics.color.statistics._total("received") >= before + 10)
    topics.close()


@pytest.mark.ros
def test_message_filters_pairs_with_the_tolerance_from_the_first_message_on_and_0_means_equal_stamps(client, frame):
    pytest.importorskip("message_filters", reason="message_filters is not installed (it is no package of PyPI)")
    parameters = GroundingParameters(synchronizer="message_filters", pairing_tolerance=0.0)
    topics = subscribe_inputs(client.node, parameters)
    messages = frame_messages(frame, "optical")

    def show(number, lag_ns):
        for topic, name in ((topics.color, "color"), (topics.info, "info"), (topics.depth, "depth")):
            message = getattr(messages, name)
            message.header.stamp = Time(sec=number, nanosec=lag_ns if name == "depth" else 0)
            topic._on_message(deepcopy(message), {"received_timestamp": number, "publication_sequence_number": number})

    show(1, 5_000_000)
    with pytest.raises(NoImageError, match=r"is 0\.0 ms"):
        topics.newest(0, "auto")
    show(2, 0)
    assert topics.newest(0, "auto").depth.header.stamp.sec == 2
    with pytest.raises(NoImageError, match=r"is 20\.0 ms"):
        topics.newest(BOUND_NS, "auto")  # what 0 had paired is not what 20 ms would
    show(3, 5_000_000)
    assert topics.newest(BOUND_NS, "auto").depth.header.stamp.nanosec == 5_000_000
    with pytest.raises(NoImageError, match=r"is 0\.0 ms"):
        topics.newest(0, "auto")
    topics.close()


@pytest.mark.ros
def test_message_filters_survives_a_broken_stamp_and_pairs_again_after_the_clock_was_set_back(client, frame):
    pytest.importorskip("message_filters", reason="message_filters is not installed (it is no package of PyPI)")
    topics = subscribe_inputs(client.node, GroundingParameters(synchronizer="message_filters"))
    camera = Camera(client, "color", "depth", "info")
    messages = frame_messages(frame, "optical")
    client.until(lambda: all(topic.get_subscription_count() for topic in camera.topics.values()))

    def taken(begin_s):
        """Seconds of the newest set, after 24 colour images of which every second one has a depth image."""
        for index in range(24):
            for name in camera.topics if index % 2 == 0 else ("color", "info"):
                message = getattr(messages, name)
                message.header.stamp = Time(sec=begin_s, nanosec=index * 30_000_000)
                camera.topics[name].publish(message)
            for _ in range(6):
                client.executor.spin_once(0.01)
        with suppress(NoImageError):
            return topics.newest(BOUND_NS, "auto").color.header.stamp.sec

    def show_broken():
        messages.color.header.stamp = messages.depth.header.stamp = messages.info.header.stamp = Time(sec=-1)
        for name, topic in camera.topics.items():
            topic.publish(getattr(messages, name))
        client.executor.spin_once(0.05)
        return all(topic.arrivals for topic in topics.required)

    client.until(show_broken)
    with pytest.raises(NoImageError, match=r"has not paired.*stamps on /color/image_raw.* are invalid"):
        topics.newest(BOUND_NS, "auto")
    client.until(lambda: taken(2000) == 2000)
    assert taken(1000) == 1000
    show_broken()
    assert taken(3000) == 3000
    topics.close()


@pytest.mark.ros
def test_a_node_with_a_monocular_model_answers_from_colour_alone(client, frame, model, tmp_path):
    pytest.importorskip("transformers", reason="transformers, which runs Depth Anything V2, is not installed")
    from test.core.test_depth_monocular import save_tiny

    save_tiny(tmp_path, max_depth=8)
    camera = Camera(client, "color", "info")
    settings = {"model": model, "backend": "torch", "monocular_depth": str(tmp_path), "max_image_age": 0.0}
    messages = frame_messages(frame, "optical")
    with NodeProcess("n3d_ros.grounding_node", settings) as node:

        def answered():
            assert node.exit_code is None, "the node ended"
            for _ in range(3):
                camera.show(messages)
            result = client.call(Ground, "/grounding/ground", text="mug").result
            return result if result.status not in (Result.NOT_ACTIVE, Result.NO_IMAGE) else None

        result = client.until(answered, 180.0)
        assert result.status == Result.OK, result.message
        assert [stage.stage for stage in result.times][:3] == ["image", "depth", "prepare"]
        assert client.node.count_subscribers("/depth/image_raw") == 0
        assert node.interrupt() == 0


def test_memory_of_a_gpu_is_told_only_where_one_is_used():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert gpu_memory() == {}


@pytest.mark.gpu
def test_memory_of_the_gpu_that_torch_uses_is_told():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device is here")
    held = torch.zeros(32, 1024, 1024, device="cuda")
    told = {name: float(value) for name, value in gpu_memory().items()}
    assert told["memory_gpu_mb"] >= held.nbytes / 1e6
    assert told["memory_gpu_mb"] <= told["memory_gpu_device_used_mb"] <= told["memory_gpu_device_total_mb"]
