"""What a broken camera sends: a clear code and message, and the next query is answered."""

import array
import sys
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from n3d_core.errors import CameraError, DepthError, ImageError
from n3d_core.messages.assembly import (
    FrameOptions,
    RgbdMessages,
    assemble_frame,
    read_camera_info,
    transform_of_depth,
)
from n3d_ros.errors import TransformError, status_of
from n3d_ros.frames.images import image_message
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.playback.camera_node import frame_messages
from n3d_ros.queries.latest_frame import _transforms_for


def no_transform(target, source, stamp_ns):
    raise AssertionError("no transform is wanted here")


def other_size(messages: RgbdMessages) -> RgbdMessages:
    small = image_message(np.full((24, 32), 1500, np.uint16), "16UC1", Time(), "optical")
    return RgbdMessages(messages.color, small, messages.info)


def unknown_depth(messages: RgbdMessages) -> RgbdMessages:
    messages.depth.encoding = "8UC3"
    return messages


def unknown_color(messages: RgbdMessages) -> RgbdMessages:
    messages.color.encoding = "nonsense"
    return messages


def nothing_measured(messages: RgbdMessages) -> RgbdMessages:
    messages.depth.data = array.array("B", bytes(len(messages.depth.data)))
    return messages


def zero_intrinsics(messages: RgbdMessages) -> RgbdMessages:
    messages.info.k = [0.0] * 9
    return messages


def nan_intrinsics(messages: RgbdMessages) -> RgbdMessages:
    messages.info.k = [float("nan")] * 9
    return messages


def info_of_another_camera(messages: RgbdMessages) -> RgbdMessages:
    messages.info.width *= 2
    return messages


def empty_data(messages: RgbdMessages) -> RgbdMessages:
    messages.color.data = array.array("B")
    return messages


def another_frame(messages: RgbdMessages) -> RgbdMessages:
    messages.depth.header.frame_id = "depth_optical"
    return RgbdMessages(messages.color, messages.depth, messages.info)


BROKEN = [
    (other_size, Result.BAD_DEPTH, "32x24 but colour is 64x48"),
    (unknown_depth, Result.BAD_DEPTH, "'8UC3'"),
    (nothing_measured, Result.BAD_DEPTH, "no valid pixel"),
    (another_frame, Result.BAD_DEPTH, "'depth_optical' but colour is in 'optical'"),
    (unknown_color, Result.NO_IMAGE, "nonsense"),
    (empty_data, Result.NO_IMAGE, "0 bytes"),
    (zero_intrinsics, Result.BAD_CAMERA, "not calibrated"),
    (nan_intrinsics, Result.BAD_CAMERA, "intrinsics fx=nan fy=nan cx=nan cy=nan are invalid"),
    (info_of_another_camera, Result.BAD_CAMERA, "128x48 but the colour image is 64x48"),
]
NAMES = [case[0].__name__ for case in BROKEN]


@pytest.mark.parametrize(("breaks", "status", "words"), BROKEN, ids=NAMES)
def test_what_does_not_fit_is_named_with_both_values(frame, breaks, status, words):
    with pytest.raises((CameraError, DepthError, ImageError)) as raised:
        assemble_frame(breaks(frame_messages(frame, "optical")), FrameOptions(), no_transform)
    assert status_of(raised.value) == status
    assert words in str(raised.value)


@pytest.mark.parametrize("stamp", [{"sec": -1}, {"sec": 1, "nanosec": 10**9}, {"sec": 2**31 - 1, "nanosec": 2**32 - 1}])
def test_a_stamp_that_rclpy_cannot_hold_is_named(frame, stamp):
    messages = frame_messages(frame, "optical")
    messages.color.header.stamp = Time(**stamp)
    with pytest.raises(ImageError, match=f"stamped {stamp['sec']} s") as raised:
        assemble_frame(messages, FrameOptions(), no_transform)
    assert status_of(raised.value) == Result.NO_IMAGE


def test_a_transform_without_tf2_has_a_status_of_its_own(client, monkeypatch):
    for name in ("tf2_ros", "n3d_ros.frames.tf_topics"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TransformError, match="apt install ros-") as raised:
        Transforms(client.node).look_up("map", "optical", 0, 0.1)
    assert status_of(raised.value) == Result.NO_TRANSFORM


def test_good_messages_become_the_frame_they_were_made_of(frame):
    for encoding in ("16UC1", "32FC1"):
        back = assemble_frame(frame_messages(frame, "optical", encoding), FrameOptions(), no_transform)
        assert (back.stamp_ns, back.frame_id, back.camera) == (frame.stamp_ns, "optical", frame.camera)
        np.testing.assert_array_equal(back.color, frame.color)
        np.testing.assert_allclose(back.depth, frame.depth, atol=6e-4)


def test_frames_with_the_leading_slash_of_ros_1_are_those_without(frame):
    messages = frame_messages(frame, "/optical")
    messages.depth.header.frame_id = "optical"
    back = assemble_frame(messages, FrameOptions(), no_transform)
    assert back.frame_id == "optical"
    np.testing.assert_allclose(back.depth, frame.depth, atol=6e-4)
    assert transform_of_depth(messages, "register") is None
    messages.depth.header.frame_id = "/depth_optical"
    assert transform_of_depth(messages, "auto") == ("optical", "depth_optical")
    parameters = GroundingParameters(target_frame="/map", refine="depth", gravity_frame="/odom")
    assert _transforms_for(messages, parameters) == [
        ("optical", "depth_optical"),
        ("map", "optical"),
        ("odom", "optical"),
    ]


def test_unregistered_depth_is_registered_with_its_own_intrinsics_and_the_transform(frame):
    messages = frame_messages(frame, "optical", "32FC1")
    messages.depth.header.frame_id = messages.depth_info.header.frame_id = "depth_optical"
    asked = []

    def shifted(target, source, stamp_ns):
        asked.append((target, source, stamp_ns))
        return np.eye(3), np.array([0.0, 0.0, 0.25])

    back = assemble_frame(messages, FrameOptions(), shifted)
    assert asked == [("optical", "depth_optical", frame.stamp_ns)]
    assert np.nanmedian(back.depth) == pytest.approx(1.75)


def test_depth_of_another_size_in_the_same_frame_needs_only_its_own_camera_info(frame):
    messages = frame_messages(frame, "optical")
    small = frame.camera.resized(32, 24)
    depth = image_message(np.full((24, 32), 1500, np.uint16), "16UC1", Time(), "optical")
    from n3d_ros.frames.images import camera_info_message

    back = assemble_frame(
        RgbdMessages(messages.color, depth, messages.info, camera_info_message(small)), FrameOptions(), no_transform
    )
    np.testing.assert_allclose(back.depth, 1.5)


def test_aligned_depth_is_rectified_with_colour_unless_its_topic_is_rectified_already(frame):
    """As kinect2's `image_depth_rect` beside `image_color`."""
    messages = frame_messages(frame, "optical", "32FC1")
    messages.info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    lens = read_camera_info(messages.info)
    plain = assemble_frame(messages, FrameOptions(), no_transform)
    np.testing.assert_array_equal(plain.depth, lens.rectify(frame.depth, nearest=True))
    assert not np.array_equal(plain.depth, frame.depth, equal_nan=True)
    rectified = assemble_frame(replace(messages, depth_rectified=True), FrameOptions(), no_transform)
    np.testing.assert_array_equal(rectified.depth, frame.depth)
    np.testing.assert_array_equal(rectified.color, lens.rectify(frame.color))


def test_a_camera_info_without_a_size_is_that_of_its_image(frame):
    messages = frame_messages(frame, "optical")
    messages.info.width = messages.info.height = 0  # image_geometry does not ask for it either
    read = assemble_frame(messages, FrameOptions(), no_transform)
    assert read.camera == frame.camera
    messages.info.width = 64  # half of one
    with pytest.raises(CameraError, match="got 64x0"):
        assemble_frame(messages, FrameOptions(), no_transform)


def test_aligned_believes_the_driver_whatever_the_frame_names(frame):
    messages = another_frame(frame_messages(frame, "optical"))
    assert assemble_frame(messages, FrameOptions(registration="aligned"), no_transform).frame_id == "optical"


class Publisher:
    """A camera whose every message a test makes."""

    def __init__(self, client):
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        make = client.node.create_publisher
        self.client = client
        self.topics = {
            "color": make(Image, "color/image_raw", qos),
            "depth": make(Image, "depth/image_raw", qos),
            "info": make(CameraInfo, "color/camera_info", qos),
        }
        client.until(lambda: all(topic.get_subscription_count() for topic in self.topics.values()), 60)

    def show(self, messages):
        """Publishes a set with the present stamp, a few times: the node takes the newest."""
        for _ in range(4):
            stamp = self.client.node.get_clock().now().to_msg()
            for name, topic in self.topics.items():
                message = getattr(messages, name)
                message.header.stamp = stamp
                topic.publish(message)
            self.client.executor.spin_once(0.02)


@pytest.mark.ros
def test_before_there_is_a_camera_each_topic_without_a_publisher_is_named(active):
    result = active.call(Ground, "/grounding/ground", text="mug").result
    assert result.status == Result.NO_IMAGE
    for topic in ("/color/image_raw", "/depth/image_raw", "/color/camera_info"):
        assert f"nothing on {topic}: it has no publisher" in result.message


@pytest.mark.ros
def test_the_node_answers_each_broken_set_with_its_code_and_the_next_good_one_with_boxes(active, frame):
    camera = Publisher(active)
    for breaks, status, words in BROKEN:
        camera.show(breaks(frame_messages(frame, "optical")))
        result = active.call(Ground, "/grounding/ground", text="mug").result
        assert (result.status, words in result.message) == (status, True), (breaks.__name__, result.message)
        assert result.header.frame_id == "optical"
        messages = frame_messages(frame, "optical")
        messages.color.header.frame_id = "/optical"  # ROS 1 wrote it like this
        messages.info.width *= 3
        camera.show(messages)
        result = active.call(Ground, "/grounding/ground", text="mug").result
        assert (result.status, result.header.frame_id) == (Result.BAD_CAMERA, "optical")
        camera.show(frame_messages(frame, "optical"))
        result = active.call(Ground, "/grounding/ground", text="mug").result
        assert result.status == Result.OK, (breaks.__name__, result.message)


@pytest.mark.ros
def test_stamps_that_do_not_pair_are_named_with_their_distance(active, frame):
    camera = Publisher(active)
    messages = frame_messages(frame, "optical")
    for _ in range(4):
        stamp = active.node.get_clock().now().to_msg()
        for name, topic in camera.topics.items():
            message = getattr(messages, name)
            message.header.stamp = Time(sec=stamp.sec + (2 if name == "depth" else 0), nanosec=stamp.nanosec)
            topic.publish(message)
    result = active.call(Ground, "/grounding/ground", text="mug").result
    assert result.status == Result.NO_IMAGE
    assert "/color/image_raw and /depth/image_raw do not pair" in result.message
    camera.show(frame_messages(frame, "optical"))
    assert active.call(Ground, "/grounding/ground", text="mug").result.status == Result.OK


@pytest.mark.ros
def test_an_old_image_is_stale_and_one_from_the_future_too(active, frame):
    camera = Publisher(active)
    for shift, words in ((-60, "s old and max_image_age is 5.0 s"), (60, "ahead of the node's clock")):
        messages = frame_messages(frame, "optical")
        for _ in range(4):
            stamp = active.node.get_clock().now().to_msg()
            for name, topic in camera.topics.items():
                message = getattr(messages, name)
                message.header.stamp = Time(sec=stamp.sec + shift, nanosec=stamp.nanosec)
                topic.publish(message)
        result = active.call(Ground, "/grounding/ground", text="mug").result
        assert (result.status, words in result.message) == (Result.STALE_IMAGE, True), result.message
    camera.show(frame_messages(frame, "optical"))
    assert active.call(Ground, "/grounding/ground", text="mug").result.status == Result.OK
