"""RGB-D bags: ROS 2 (MCAP, SQLite) and ROS 1, read by `rosbags` without ROS.

Topics that are not named are detected: colour and depth by the encoding of their first image, camera infos by the
longest name in common with an image topic. Images are read by the code that the node uses (`n3d_core.messages`), which
handles registration (with the bag's transforms), distortion, regions of interest and compression.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from n3d_core.errors import BagError, optional, reading
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.transforms import TransformTree, inverse_of
from n3d_core.messages.assembly import FrameOptions, RgbdMessages, assemble_frame, is_rectified, nanoseconds_of

_SUFFIXES = (".mcap", ".db3", ".bag")
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, TRANSFORMS = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
_UNKNOWN_HASH = "RIHS01_" + 64 * "0"  # of a type that the bag does not define
PAIR_NS = 100_000_000  # largest difference between the times of colour and depth in one frame


@dataclass(frozen=True)
class RgbdTopicNames:
    """The topics of an RGB-D camera; both infos may be the same topic."""

    color: str
    depth: str
    color_info: str
    depth_info: str

    @property
    def all(self) -> tuple[str, ...]:
        """All topics, without duplicates."""
        return tuple(dict.fromkeys((self.color, self.depth, self.color_info, self.depth_info)))


@dataclass(frozen=True)
class Packet:
    """A stored message: `cdr` is its serialised form, `log_ns` the time of recording."""

    topic: str
    log_ns: int
    cdr: bytes


class Bag:
    """An open bag.

    Args:
        path: the bag's folder, or a `.mcap`, `.db3` or `.bag` file.

    Raises:
        BagError: if it does not exist or cannot be read.
        MissingDependencyError: if rosbags is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._recorded: dict[str, list[int]] = {}
        if not self.path.exists():
            raise BagError(f"{path}: cannot be read as a bag: no such file or folder")
        with optional("reading bags needs rosbags", "'n3d-ros[bags]'"):
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        advice = "; if an MCAP was cut short, repair it with `mcap recover`"
        with reading(path, "a bag", BagError, advice, of=(Exception,)):  # rosbags and its decompressors raise all kinds
            self._reader = AnyReader(_files_of(self.path), default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._reader.open()
            weakref.finalize(self, self._reader.close)

    @property
    def types(self) -> dict[str, str]:
        """Topic -> message type, for topics that have messages."""
        return {one.topic: str(one.msgtype) for one in self._reader.connections if one.msgcount}

    @property
    def is_ros2(self) -> bool:
        """Whether messages are serialised as in ROS 2 (CDR)."""
        return bool(self._reader.is2)

    @property
    def duration_ns(self) -> int:
        """Time from the first message to the last, in nanoseconds."""
        return int(self._reader.end_time - self._reader.start_time)  # rosbags' end is one after the last

    def rgbd_topics(self, color: str = "", depth: str = "", color_info: str = "") -> RgbdTopicNames:
        """The camera's topics; detects those that are not named.

        Raises:
            BagError: if there are none; the message lists the image topics of the bag.
        """
        encodings = {topic: _encoding(self.message(topic)) for topic in self._of_type(IMAGE, COMPRESSED_IMAGE)}
        raw_first = sorted(encodings, key=lambda topic: self.types[topic] != IMAGE)
        depths = [t for t in raw_first if encodings[t] in DEPTH_ENCODINGS or t.endswith("compressedDepth")]
        colors = [t for t in raw_first if t not in depths]
        color = color or next((t for t in colors if encodings[t] not in ("mono8", "8UC1")), *colors[:1] or [""])
        depth = depth or next((t for t in depths if "aligned" in t), *depths[:1] or [""])
        missing = [
            f"{n} image topic {t}".strip() for n, t in (("colour", color), ("depth", depth)) if t not in encodings
        ]
        if missing:
            raise BagError(f"{self.path}: no {' and no '.join(missing)}; image topics are {encodings}")
        if color in depths or (depth in colors and self.types[depth] == IMAGE):
            mixed, wanted = (color, "colour") if color in depths else (depth, "depth")
            raise BagError(f"{self.path}: {mixed} holds {encodings[mixed]}, not {wanted}; image topics are {encodings}")
        return RgbdTopicNames(color, depth, color_info or self.info_beside(color), self.info_beside(depth))

    def frame_times(self, names: RgbdTopicNames) -> list[tuple[int, int | None]]:
        """Recording times of each colour image and its depth image: the nearest in time, None if none is near."""
        depths = sorted(self._times(names.depth))
        stamps = [stamp for stamp, _ in depths]
        found: list[tuple[int, int | None]] = []
        for stamp, log_ns in self._times(names.color):
            at = bisect_left(stamps, stamp)
            near = min(depths[max(at - 1, 0) : at + 1], key=lambda d: abs(d[0] - stamp), default=None)
            fits = near is not None and min(abs(near[0] - stamp), abs(near[1] - log_ns)) <= PAIR_NS
            found.append((log_ns, near[1] if near is not None and fits else None))
        return found

    def frame(self, names: RgbdTopicNames, color_ns: int, depth_ns: int, options: FrameOptions | None = None) -> Frame:
        """The frame of a colour and a depth image (see `frame_times`), read as the node would.

        Raises:
            BagError, ImageError, DepthError, CameraError, TransformError: see `assemble_frame`.
        """
        color, depth = self.message(names.color, color_ns), self.message(names.depth, depth_ns)
        for message, topic in ((color, names.color), (depth, names.depth)):
            if _stream(topic) in self.transforms.frames:  # librealsense names the frame of every stream 0
                message.header.frame_id = _stream(topic)
        messages = RgbdMessages(
            color,
            depth,
            self._nearest(names.color_info, color_ns),
            self._nearest(names.depth_info, depth_ns),
            is_rectified(names.color),
            is_rectified(names.depth),
        )
        return assemble_frame(messages, options or FrameOptions(), self.transforms.look_up)

    @cached_property
    def transforms(self) -> TransformTree:
        """All transforms of the bag: from TF topics, and librealsense's extrinsics."""
        tree = TransformTree(str(self.path))
        tf = self._of_type(TRANSFORMS, "tf/msg/tfMessage")
        for connection, _, raw in self._stored(self._connections(tuple(tf))) if tf else ():
            message = self._decoded(connection, raw)
            for one in message.transforms:
                stamp_ns = None if connection.topic.endswith("static") else nanoseconds_of(one.header.stamp)
                tree.add(one.header.frame_id, one.child_frame_id, one.transform, stamp_ns)
        for topic in self._of_type("geometry_msgs/msg/Transform"):
            reference = f"{self.path} reference {topic.rpartition('/')[2]}"
            tree.add(reference, _stream(topic), inverse_of(self.message(topic)))
        return tree

    def _times(self, topic: str) -> list[tuple[int, int]]:
        """Stamp and recording time of each message; drivers that leave the stamp 0 get the recording time."""
        return [(self._stamp(raw) or log_ns, log_ns) for _, log_ns, raw in self._stored(self._connections((topic,)))]

    def _stamp(self, raw: bytes) -> int:
        """Stamp of a serialised message with a header; it follows CDR's own header or ROS 1's sequence number."""
        order: Literal["big", "little"] = "big" if self.is_ros2 and raw[1:2] == b"\0" else "little"
        seconds, rest = (int.from_bytes(raw[at : at + 4], order) for at in (4, 8))
        return seconds * 1_000_000_000 + rest

    def _nearest(self, topic: str, log_ns: int) -> Any:
        """The message recorded nearest to a time."""
        if topic not in self._recorded:
            self._recorded[topic] = self.stamps(topic)
        times = self._recorded[topic]
        after = bisect_left(times, log_ns)
        near = times[max(after - 1, 0) : after + 1]
        return self.message(topic, min(near, key=lambda at: abs(at - log_ns), default=log_ns))

    def info_beside(self, topic: str) -> str:
        """The camera info topic that shares the longest prefix with an image topic.

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
        """The serialised messages of some topics in the order of recording.

        Raises:
            BagError: if a topic is missing, or the bag is damaged.
        """
        for connection, log_ns, raw in self._stored(self._connections(topics)):
            yield Packet(connection.topic, log_ns, bytes(raw))

    @property
    def storage(self) -> str:
        """How a ROS 2 bag is stored: `.mcap` or `.db3`."""
        names = [self.path.name] if self.path.is_file() else [one.name for one in self.path.iterdir()]
        return ".mcap" if any(".mcap" in name for name in names) else ".db3"

    def copy_connections(self, writer: Any) -> dict[Any, Any]:
        """Declares the topics of a ROS 2 bag in a rosbags `Writer`. Returns its connection for each `stored` key."""
        made: dict[Any, Any] = {}
        for one in self._reader.connections:
            key = (one.topic, one.msgtype)
            if key not in made:
                store, kind = self._reader.typestore, one.msgtype
                known = kind in store.fielddefs
                made[key] = writer.add_connection(
                    *key,
                    msgdef=one.msgdef.data or (store.generate_msgdef(kind, ros_version=2)[0] if known else ""),
                    rihs01=one.digest or (store.hash_rihs01(kind) if known else _UNKNOWN_HASH),
                    offered_qos_profiles=getattr(one.ext, "offered_qos_profiles", ()),
                )
        return made

    def stored(self) -> Iterator[tuple[int, Any, bytes]]:
        """All messages in the order of their recording: nanoseconds, key of the connection, serialised message.

        Raises:
            BagError: if the bag is damaged.
        """
        for connection, log_ns, raw in self._stored([]):
            yield log_ns, (connection.topic, connection.msgtype), raw

    def stamps(self, topic: str) -> list[int]:
        """Recording times of a topic's messages, in nanoseconds."""
        return [log_ns for _, log_ns, _ in self._stored(self._connections((topic,)))]

    def message(self, topic: str, log_ns: int | None = None) -> Any:
        """The decoded message recorded at `log_ns`, or a topic's first.

        Raises:
            BagError: if there is no such message.
        """
        span = (None, None) if log_ns is None else (log_ns, log_ns + 1)
        for connection, _, raw in self._stored(self._connections((topic,)), *span):
            return self._decoded(connection, raw)
        raise BagError(f"{self.path}: {topic} has no message at {log_ns} ns")

    def _decoded(self, connection: Any, raw: bytes) -> Any:
        with reading(f"{self.path}: a message of {connection.topic}", connection.msgtype, BagError, of=(Exception,)):
            return self._reader.deserialize(raw, connection.msgtype)

    def _stored(
        self, connections: list[Any], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        with reading(self.path, "a bag", BagError, ": it is damaged", of=(Exception,)):
            yield from self._reader.messages(connections, start_ns, stop_ns)

    def _connections(self, topics: tuple[str, ...]) -> list[Any]:
        unknown = [topic for topic in topics if topic not in self.types]
        if unknown:
            raise BagError(f"{self.path}: no topic {', '.join(unknown)}; topics are {', '.join(self.types)}")
        return [one for one in self._reader.connections if one.topic in topics]

    def _of_type(self, *kinds: str) -> list[str]:
        return [topic for topic, type_name in self.types.items() if type_name in kinds]


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a file with a bag's suffix, or a folder with such a file."""
    return path.suffix in _SUFFIXES or (path.is_dir() and any(p.suffix in _SUFFIXES for p in path.iterdir()))


def _files_of(path: Path) -> list[Path]:
    """What rosbags opens: the path, or the bags in a folder without ROS 2's `metadata.yaml`."""
    if not path.is_dir() or (path / "metadata.yaml").exists():
        return [path]
    return sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES) or [path]


def _encoding(message: Any) -> str:
    return str(getattr(message, "encoding", "") or message.format.partition(";")[0])


def _stream(topic: str) -> str:
    """The stream of a librealsense topic: `/device_0/sensor_1/Color_0` of its `image/data` and `tf/0`."""
    return topic.rsplit("/", 2)[0]
