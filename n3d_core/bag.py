"""RGB-D bags as files: ROS 2 bags (MCAP, SQLite) and ROS 1 bags, read by `rosbags`. No ROS is needed.

Topics are found by what is in them, where they are not named: colour and depth by the encoding of their first image,
camera infos by the name they have in common with an image topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from n3d_core.errors import BagError, MissingDependencyError

COLOR_ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8")
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
IMAGE, CAMERA_INFO, TRANSFORMS = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True)
class RgbdTopicNames:
    """The topics of one RGB-D camera; both infos may be the same topic."""

    color: str
    depth: str
    color_info: str
    depth_info: str


@dataclass(frozen=True)
class Packet:
    """One message as it is stored: `cdr` is its serialised form, `log_ns` when it was recorded."""

    topic: str
    log_ns: int
    cdr: bytes


class Bag:
    """An open bag.

    Args:
        path: the bag's folder, or a bare `.mcap`, `.db3` or `.bag` file.

    Raises:
        BagError: if there is no bag, or it cannot be read.
        MissingDependencyError: if rosbags is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            from rosbags.highlevel import AnyReader, AnyReaderError
            from rosbags.typesys import Stores, get_typestore
        except ImportError as missing:
            raise MissingDependencyError(
                f"reading bags needs rosbags ({missing}): pip install 'n3d-ros[bags]'"
            ) from missing
        try:
            self._reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._reader.open()
        except (OSError, AnyReaderError, ValueError, KeyError) as error:
            raise BagError(f"{path}: cannot be read as a bag ({type(error).__name__}: {error})") from error

    @property
    def types(self) -> dict[str, str]:
        """Topic -> message type, of the topics with messages."""
        return {one.topic: str(one.msgtype) for one in self._reader.connections if one.msgcount}

    @property
    def is_ros2(self) -> bool:
        """Whether the messages are stored in ROS 2's serialisation (CDR)."""
        return bool(self._reader.is2)

    @property
    def duration_ns(self) -> int:
        """From the first message to the last."""
        return int(self._reader.end_time - self._reader.start_time)  # rosbags' end is one after the last

    def rgbd_topics(self, color: str = "", depth: str = "", color_info: str = "") -> RgbdTopicNames:
        """The camera's topics; those that are not named are looked for.

        Raises:
            BagError: naming what is not in the bag, and the image topics that are.
        """
        encodings = {topic: str(self.message(topic).encoding) for topic in self._of_type(IMAGE)}
        color = color or next((t for t, e in encodings.items() if e in COLOR_ENCODINGS), "")
        depth = depth or next((t for t, e in encodings.items() if e in DEPTH_ENCODINGS), "")
        if color not in encodings or depth not in encodings:
            missing = [name for name, topic in (("colour", color), ("depth", depth)) if topic not in encodings]
            raise BagError(f"{self.path}: no {' and no '.join(missing)} image topic; image topics are {encodings}")
        return RgbdTopicNames(color, depth, color_info or self.info_beside(color), self.info_beside(depth))

    def info_beside(self, topic: str) -> str:
        """The camera info topic with the longest beginning in common with an image topic.

        Raises:
            BagError: if there is no camera info.
        """
        infos = self._of_type(CAMERA_INFO)
        if not infos:
            raise BagError(f"{self.path}: no {CAMERA_INFO} topic; intrinsics are needed")

        def in_common(info: str) -> int:
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(info, topic, strict=False)))

        return max(infos, key=in_common)

    def packets(self, topics: tuple[str, ...]) -> Iterator[Packet]:
        """The messages of some topics, as they are stored, in the order of their recording.

        Raises:
            BagError: if a topic is not in the bag, or the bag is damaged.
        """
        for connection, log_ns, raw in self._stored(self._connections(topics)):
            yield Packet(connection.topic, log_ns, bytes(raw))

    def stamps(self, topic: str) -> list[int]:
        """When the messages of a topic were recorded, in nanoseconds."""
        return [log_ns for _, log_ns, _ in self._stored(self._connections((topic,)))]

    def message(self, topic: str, log_ns: int | None = None) -> Any:
        """A message, decoded: the one recorded at `log_ns`, or the first.

        Raises:
            BagError: if there is none.
        """
        span = (None, None) if log_ns is None else (log_ns, log_ns + 1)
        for connection, _, raw in self._stored(self._connections((topic,)), *span):
            return self._reader.deserialize(raw, connection.msgtype)
        raise BagError(f"{self.path}: {topic} has no message at {log_ns} ns")

    def _stored(
        self, connections: list[Any], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        from rosbags.highlevel import AnyReaderError
        from rosbags.rosbag1 import ReaderError as Rosbag1Error
        from rosbags.rosbag2 import ReaderError as Rosbag2Error

        try:
            yield from self._reader.messages(connections, start_ns, stop_ns)
        except (OSError, ValueError, AnyReaderError, Rosbag1Error, Rosbag2Error) as error:
            raise BagError(f"{self.path}: the bag is damaged ({type(error).__name__}: {error})") from error

    def _connections(self, topics: tuple[str, ...]) -> list[Any]:
        unknown = [topic for topic in topics if topic not in self.types]
        if unknown:
            raise BagError(f"{self.path}: no topic {', '.join(unknown)}; topics are {', '.join(self.types)}")
        return [one for one in self._reader.connections if one.topic in topics]

    def _of_type(self, kind: str) -> list[str]:
        return [topic for topic, type_name in self.types.items() if type_name == kind]
