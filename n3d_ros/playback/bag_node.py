"""The node `n3d_bag`: plays the RGB-D camera of a bag on the topics of a camera node, without rosbag2.

`python -m n3d_ros bag_node --ros-args -p bag:=BAG`. Messages are published as stored: only the header's stamp is
overwritten, at its fixed place in CDR, so images are never decoded.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from n3d_core.errors import BagError
from n3d_core.messages.assembly import nanoseconds_of
from n3d_core.recordings.bag import IMAGE, TRANSFORMS, Bag, Packet, RgbdTopicNames
from n3d_ros.frames.images import stamp_of
from n3d_ros.node.parameters import AT_START, CheckedParameters, ParameterSet, parameter
from n3d_ros.node.running import leave, run_nodes, start_ros
from n3d_ros.node.shipped import shipped

_DRIVER = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_CLOCK_PERIOD_S = 0.02
_STILL_NS = 33_333_333  # a bag with one image shows it thirty times a second
_STAMPS_END_NS = 2**31 * 10**9  # seconds are int32
_STAMP_OFFSET = 4  # after CDR's own header; every message that begins with a std_msgs/Header has its stamp there


@dataclass(frozen=True)
class BagParameters(CheckedParameters):
    """Each parameter's text describes it; the table in docs/ros.md is generated from them."""

    bag: str = parameter("", "Bag to play, a folder or a file; empty: the one shipped with the package.", when=AT_START)
    rate: float = parameter(
        1.0, "Playback speed, as a multiple of the recorded one.", low=0.01, high=100.0, when=AT_START
    )
    loop: bool = parameter(True, "Start again at the end; false: stop there.")
    clock: bool = parameter(
        False,
        "Publish /clock and keep the recorded stamps; false: stamp every message with the present time.",
        when=AT_START,
    )
    color_topic: str = parameter("", "Colour topic in the bag; empty: the first with colour images.", when=AT_START)
    depth_topic: str = parameter("", "Depth topic in the bag; empty: the first with depth images.", when=AT_START)


class BagNode(Node):
    """Publishes `color/image_raw`, `color/camera_info`, `depth/image_raw`, `depth/camera_info`, and TF of the bag.

    Each pass starts where the previous one ended: stamps (and /clock) never jump back when the bag loops.
    With `use_sim_time`, as when another player publishes /clock, it waits for that clock and stamps messages by it.

    Raises:
        BagError: if the bag does not exist, or contains no RGB-D camera.
        MissingDependencyError: if rosbags is not installed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("n3d_bag", **options)
        self._settings = ParameterSet(self, BagParameters)
        settings = self._settings.value
        self._bag = Bag(os.path.expanduser(settings.bag) or shipped("demo/bag"))
        if not self._bag.is_ros2:
            raise BagError(f"{self._bag.path} is a ROS 1 bag: convert it with rosbags-convert --src FILE --dst FOLDER")
        self._names = self._bag.rgbd_topics(settings.color_topic, settings.depth_topic)
        self._outlets = self._camera_publishers(self._names) | self._transform_publishers()
        self._ticks = self.create_publisher(Clock, "/clock", 1) if settings.clock else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, name="bag", daemon=True)
        self.get_logger().info(f"playing {self._bag.path}: {', '.join(self._outlets)}")

    def start(self) -> None:
        """Starts playing."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the player to stop, without waiting."""
        self._stop.set()

    def close(self) -> None:
        """Stops the player."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _camera_publishers(self, names: RgbdTopicNames) -> dict[str, Publisher]:
        wanted = {
            names.color: self._image_outlet("color/image_raw", names.color),
            names.color_info: (CameraInfo, "color/camera_info"),
            names.depth: self._image_outlet("depth/image_raw", names.depth),
        }
        if names.depth_info != names.color_info:
            wanted[names.depth_info] = CameraInfo, "depth/camera_info"
        return {source: self.create_publisher(kind, topic, _DRIVER) for source, (kind, topic) in wanted.items()}

    def _image_outlet(self, topic: str, source: str) -> tuple[type, str]:
        """Type and topic of an image; a compressed one is published as its transport has it."""
        if self._bag.types[source] == IMAGE:
            return Image, topic
        transport = "compressedDepth" if source.endswith("compressedDepth") else "compressed"
        return CompressedImage, f"{topic}/{transport}"

    def _transform_publishers(self) -> dict[str, Publisher]:
        """Publishers of the bag's TF topics, under their own names; none if tf2_msgs is not installed."""
        topics = [topic for topic, kind in self._bag.types.items() if kind == TRANSFORMS]
        try:
            kind = import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            if topics:
                self.get_logger().warning(
                    f"not playing {', '.join(topics)}: tf2_msgs is not installed (apt install ros-$ROS_DISTRO-tf2-msgs)"
                )
            return {}
        return {t: self.create_publisher(kind, t, _LATCHED if t.endswith("static") else _DRIVER) for t in topics}

    def _play(self) -> None:
        """Runs in its own thread, since it reads from disk and waits; publishing is safe from any thread."""
        try:
            self._await_clock()
            begin_s, offset_ns = time.monotonic(), 0
            while not self._stop.is_set():
                length_ns = self._play_once(begin_s, offset_ns)
                begin_s += length_ns / 1e9 / self._settings.value.rate
                offset_ns += length_ns
                if not self._settings.value.loop:
                    self.get_logger().info("finished playing the bag (loop is false)")
                    return
        except BagError as error:
            self.get_logger().error(str(error))
        except Exception:
            if self.context.ok():  # otherwise the context was shut down during publishing
                raise

    def _await_clock(self) -> None:
        """Under `use_sim_time` the time is 0, which is not a valid stamp, until /clock is published."""
        if self._settings.value.clock or self.get_clock().now().nanoseconds:
            return
        self.get_logger().info("use_sim_time is true: waiting for /clock")
        while not self.get_clock().now().nanoseconds and not self._stop.wait(_CLOCK_PERIOD_S):
            pass

    def _play_once(self, begin_s: float, offset_ns: int) -> int:
        """Plays the bag starting at `begin_s` (monotonic); returns its length, including the step to the next pass.

        `offset_ns`: recorded time of the previous passes, by which /clock is ahead.
        """
        first_ns = last_ns = None
        frames = 0
        for packet in self._bag.packets(tuple(self._outlets)):
            if first_ns is None:
                first_ns = packet.log_ns
                times = self._times(first_ns, offset_ns)
            last_ns = packet.log_ns
            if not self._wait(begin_s, first_ns, packet.log_ns, offset_ns):
                break
            self._outlets[packet.topic].publish(_restamped(packet, times, self._bag.types[packet.topic]))
            frames += packet.topic == self._names.color
        length_ns = (last_ns or 0) - (first_ns or 0)
        return length_ns + (length_ns // (frames - 1) if frames > 1 else _STILL_NS)

    def _times(self, first_ns: int, offset_ns: int) -> PassTimes:
        settings = self._settings.value
        if settings.clock:
            return PassTimes(first_ns, first_ns + offset_ns)
        # By stamp, not recording time: the first image is stamped with the moment it is due.
        color = next(self._bag.packets((self._names.color,)))
        # /clock runs as fast as the bag, so in its time everything has the recorded speed.
        rate = 1.0 if self.get_parameter("use_sim_time").value else settings.rate
        due_ns = self.get_clock().now().nanoseconds + round((color.log_ns - first_ns) / rate)
        return PassTimes(_stamp(color.cdr), due_ns, rate)

    def _wait(self, begin_s: float, first_ns: int, due_ns: int, offset_ns: int) -> bool:
        """Waits until a message is due, while publishing /clock; False if the node is closed first."""
        rate = self._settings.value.rate
        due_s = begin_s + (due_ns - first_ns) / 1e9 / rate
        while True:
            now_s = time.monotonic()
            if self._ticks is not None:
                recorded_ns = first_ns + round((min(now_s, due_s) - begin_s) * rate * 1e9)
                self._ticks.publish(Clock(clock=stamp_of(recorded_ns + offset_ns)))
            if now_s >= due_s:
                return not self._stop.is_set()
            if self._stop.wait(min(due_s - now_s, _CLOCK_PERIOD_S)):
                return False


@dataclass(frozen=True)
class PassTimes:
    """Shifts the stamps of a bag to those of one pass: `zero_ns` becomes `begin_ns`; 0, an unset stamp, stays.

    Raises:
        BagError: if a stamp is so far from the others that the shifted one does not fit in a message.
    """

    zero_ns: int
    begin_ns: int
    rate: float = 1.0

    def __call__(self, stamp_ns: int) -> int:
        if stamp_ns == 0:
            return 0
        became_ns = self.begin_ns + round((stamp_ns - self.zero_ns) / self.rate)
        if not 0 <= became_ns < _STAMPS_END_NS:
            raise BagError(
                f"a message is stamped {(stamp_ns - self.zero_ns) / 1e9:.0f} s from the first image: their publishers "
                "had different clocks; clock:=true plays the stamps as they are"
            )
        return became_ns


def _restamped(packet: Packet, times: PassTimes, kind: str) -> Any:
    """A message with another stamp: serialised, except for transforms, which have several stamps."""
    if kind != TRANSFORMS:
        out = bytearray(packet.cdr)
        struct.pack_into(_stamp_format(packet.cdr), out, _STAMP_OFFSET, *divmod(times(_stamp(packet.cdr)), 10**9))
        return bytes(out)
    message = deserialize_message(packet.cdr, import_module("tf2_msgs.msg").TFMessage)
    for transform in message.transforms:
        transform.header.stamp = stamp_of(times(nanoseconds_of(transform.header.stamp)))
    return message


def _stamp(cdr: bytes) -> int:
    """The stamp of a serialised message that begins with a header, in nanoseconds."""
    seconds, nanoseconds = struct.unpack_from(_stamp_format(cdr), cdr, _STAMP_OFFSET)
    return int(seconds) * 10**9 + int(nanoseconds)


def _stamp_format(cdr: bytes) -> str:
    if len(cdr) < _STAMP_OFFSET + 8 or cdr[0] != 0 or cdr[1] not in (0, 1):
        raise BagError(f"messages must be plain CDR (0000 or 0001); one begins with {cdr[:4].hex()}")
    return "<iI" if cdr[1] else ">iI"


def main(args: list[str] | None = None) -> int:
    """Plays until Ctrl-C."""
    start_ros("bag_node", args, __doc__, several=False)
    return run_nodes([BagNode])


if __name__ == "__main__":
    leave(main())
