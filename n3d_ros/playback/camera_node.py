"""The node `n3d_camera`: plays a frame folder like an RGB-D camera driver.

Colour (`rgb8`), depth (`16UC1` or `32FC1`) and both camera infos share one stamp, as in a RealSense frameset; QoS is
reliable, like that driver's.
"""

from __future__ import annotations

import os
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import rclpy.time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from n3d_core.errors import ConfigError
from n3d_core.geometry.boxes import quaternion_of
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder
from n3d_core.geometry.transforms import CameraPose
from n3d_core.messages.assembly import RgbdMessages
from n3d_ros.errors import NoImageError
from n3d_ros.frames.images import camera_info_message, image_message, stamp_of
from n3d_ros.node.parameters import AT_START, CheckedParameters, ParameterSet, parameter
from n3d_ros.node.running import leave, run_nodes, start_ros
from n3d_ros.node.shipped import demo_frames

_DRIVER = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_OPTICAL_FROM_BODY = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # REP 103
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class CameraParameters(CheckedParameters):
    """Each parameter's text describes it; the table in docs/ros.md is generated from them."""

    folder: str = parameter("", "Frame folder to play; empty: the frames shipped with the package.", when=AT_START)
    rate: float = parameter(30.0, "Frames per second.", low=0.1, high=240.0)
    loop: bool = parameter(True, "Start again after the last frame; false: stay on it.")
    hold: float = parameter(
        0.0,
        "How long each frame of the folder is repeated before the next, in seconds; 0: show each once.",
        low=0.0,
        high=3600.0,
    )
    frame: int = parameter(-1, "Index of the only frame to show; -1: play all.", low=-1, high=1_000_000)
    frame_id: str = parameter("camera_color_optical_frame", "Optical frame in the headers.", when=AT_START)
    parent_frame: str = parameter(
        "camera_link",
        "Frame (x forward, z up) to which a static transform from frame_id is published; empty: none.",
        when=AT_START,
    )
    map_frame: str = parameter(
        "map",
        "Frame of a tour's poses: its transform to parent_frame (or frame_id) is published with every image; empty: "
        "none.",
        when=AT_START,
    )
    depth_encoding: str = parameter(
        "16UC1", "16UC1: millimetres, 0 invalid; 32FC1: metres, NaN invalid.", choices=("16UC1", "32FC1"), when=AT_START
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parent_frame and self.parent_frame == self.frame_id:
            raise ConfigError(f"parent_frame must be another frame than frame_id; got {self.parent_frame!r} for both")


class CameraNode(Node):
    """Publishes `color/image_raw`, `color/camera_info`, `depth/image_raw` and `depth/camera_info`.

    It is also an `RgbdSource`: a grounding node in the same process takes its messages without a copy.

    Raises:
        ImageError, CameraError: if the folder is not playable.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("n3d_camera", **options)
        self._frames: list[RgbdMessages] = []
        self._settings = ParameterSet(self, CameraParameters)
        settings = self._settings.value
        folder = FrameFolder(os.path.expanduser(settings.folder) or demo_frames())
        self._frames = [
            frame_messages(folder.frame(i), settings.frame_id, settings.depth_encoding) for i in range(len(folder))
        ]
        self._poses = [folder.pose(i) for i in range(len(folder))]
        self._check_settings(settings, settings)
        self._next, self._shown_since = 0, self.get_clock().now()
        self._newest: RgbdMessages | None = None
        self._color = self.create_publisher(Image, "color/image_raw", _DRIVER)
        self._depth = self.create_publisher(Image, "depth/image_raw", _DRIVER)
        self._color_info = self.create_publisher(CameraInfo, "color/camera_info", _DRIVER)
        self._depth_info = self.create_publisher(CameraInfo, "depth/camera_info", _DRIVER)
        self._ticker = self.create_timer(1 / settings.rate, self._publish)
        self._transform = self._publish_transform(settings)
        self._pose = None if self._transform is None or not any(self._poses) else self._pose_publisher(settings)
        self._settings.watch(self._check_settings, self._apply_settings)
        self.get_logger().info(f"playing {len(folder)} frame(s) of {Path(folder.path).resolve()} at {settings.rate} Hz")

    def start(self) -> None:
        """Does nothing: playback starts in the constructor."""

    def close(self) -> None:
        """Does nothing: everything runs in the executor."""

    @property
    def newest_header(self) -> Header | None:
        """Header of the last published messages (`RgbdSource`)."""
        return None if self._newest is None else self._newest.color.header

    def newest(self, bound_ns: int, registration: str) -> RgbdMessages:
        """The last published messages (`RgbdSource`)."""
        if self._newest is None:
            raise NoImageError("the camera of this process has not shown its first frame yet")
        return self._newest

    def _publish_transform(self, settings: CameraParameters) -> Publisher | None:
        """Publishes the transform of a level camera in `parent_frame`; RViz warns about a frame without transforms."""
        try:
            kind = import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            return None  # anyone who uses transforms has it
        publisher = self.create_publisher(kind, "/tf_static", _LATCHED)
        if not settings.parent_frame:
            return publisher
        transform = TransformStamped(child_frame_id=settings.frame_id)
        transform.header = Header(stamp=self.get_clock().now().to_msg(), frame_id=settings.parent_frame)
        turn = transform.transform.rotation  # REP 103: from x right, y down, z forward to x forward, y left, z up
        turn.x, turn.y, turn.z, turn.w = -0.5, 0.5, -0.5, 0.5
        publisher.publish(kind(transforms=[transform]))
        return publisher

    def _pose_publisher(self, settings: CameraParameters) -> Publisher | None:
        return (
            self.create_publisher(import_module("tf2_msgs.msg").TFMessage, "/tf", 100) if settings.map_frame else None
        )

    def _publish_pose(self, pose: CameraPose, header: Header) -> None:
        """Publishes where the camera of a tour is, before the image that was taken there."""
        settings = self._settings.value
        matrix, child = pose.camera_to_map, settings.frame_id
        if settings.parent_frame:
            child, matrix = settings.parent_frame, matrix @ _OPTICAL_FROM_BODY
        transform = TransformStamped(child_frame_id=child)
        transform.header = Header(stamp=header.stamp, frame_id=settings.map_frame)
        place, turn = transform.transform.translation, transform.transform.rotation
        place.x, place.y, place.z = (float(v) for v in matrix[:3, 3])
        turn.x, turn.y, turn.z, turn.w = quaternion_of(matrix[:3, :3])
        self._pose.publish(import_module("tf2_msgs.msg").TFMessage(transforms=[transform]))

    def _publish(self) -> None:
        chosen = self._settings.value.frame
        index = chosen if chosen >= 0 else self._next
        frame = self._newest = stamped(self._frames[index], self.get_clock().now())
        pose = self._poses[index]
        if self._pose is not None and pose is not None:
            self._publish_pose(pose, frame.color.header)
        self._color_info.publish(frame.info)
        self._depth_info.publish(frame.depth_info)
        self._color.publish(frame.color)
        self._depth.publish(frame.depth)
        self._advance()

    def _advance(self) -> None:
        settings, now = self._settings.value, self.get_clock().now()
        if (now - self._shown_since).nanoseconds < settings.hold * 1e9:
            return
        self._shown_since = now
        last = self._next == len(self._frames) - 1
        self._next = (0 if settings.loop else self._next) if last else self._next + 1

    def _check_settings(self, _now: CameraParameters, wanted: CameraParameters) -> None:
        if wanted.frame >= len(self._frames):
            raise ConfigError(f"frame must be below {len(self._frames)} (frames in the folder); got {wanted.frame}")

    def _apply_settings(self, settings: CameraParameters) -> None:
        self._ticker.timer_period_ns = round(1e9 / settings.rate)


def frame_messages(frame: Frame, frame_id: str, depth_encoding: str = "16UC1") -> RgbdMessages:
    """A frame as the messages that a camera driver would publish; `depth_encoding` is 16UC1 or 32FC1."""
    depth = frame.depth
    if depth_encoding == "16UC1":
        depth = np.clip(np.nan_to_num(1000 * frame.depth, nan=0.0), 0, 65535).round().astype(np.uint16)
    stamp = stamp_of(frame.stamp_ns)
    info = camera_info_message(frame.camera)
    info.header.stamp, info.header.frame_id = stamp, frame_id
    depth_info = camera_info_message(frame.camera)
    depth_info.header.stamp, depth_info.header.frame_id = stamp, frame_id
    return RgbdMessages(
        image_message(frame.color, "rgb8", stamp, frame_id),
        image_message(depth, depth_encoding, stamp, frame_id),
        info,
        depth_info,
    )


def stamped(frame: RgbdMessages, time: rclpy.time.Time) -> RgbdMessages:
    """The same messages with another stamp, in new objects that share the pixels: a query may be reading `frame`."""
    header = Header(stamp=time.to_msg(), frame_id=frame.color.header.frame_id)
    messages = [copy(message) for message in (frame.color, frame.depth, frame.info, frame.depth_info)]
    for message in messages:
        message.header = header
    return RgbdMessages(*messages)


def main(args: list[str] | None = None) -> int:
    """Plays until Ctrl-C."""
    start_ros("camera_node", args, __doc__, several=False)
    return run_nodes([CameraNode])


def run_composed(args: list[str] | None = None) -> int:
    """Runs a camera and a grounding node in one process until Ctrl-C (the program `composed_node`).

    Images go from one to the other by reference, not over DDS; the camera still publishes its topics, for RViz and
    bags. A driver written in Python can do the same, by passing itself as the `source` of a `GroundingNode`.
    """
    from n3d_ros.grounding_node import GroundingNode

    about = "Camera and grounding node in one process, where images bypass DDS."
    start_ros("composed_node", args, about, several=False)
    cameras: list[CameraNode] = []

    def camera() -> CameraNode:
        cameras.append(CameraNode())
        return cameras[-1]

    return run_nodes([camera, lambda: GroundingNode(source=cameras[-1])])


if __name__ == "__main__":
    leave(main())
