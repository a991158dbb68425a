"""RGB-D bags: ROS 2 MCAP or SQLite bags and ROS 1 bags, read by `rosbags` (no ROS needed).

One record a colour image, with the depth image nearest in time. Topics are found by their type where they are not
named: the first image topic with a colour encoding, the first with a depth encoding, and the camera info beside each.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth import DepthUnit
from n3d_core.errors import MissingDependencyError
from n3d_core.geometry import Camera
from n3d_core.geometry.registration import register_depth
from training.lift.config import SourceConfig
from training.lift.errors import ImageProblem, SourceError
from training.lift.record import DepthSource, Problems, Record, safe_key

COLOR = {
    "rgb8": (3, slice(None)),
    "bgr8": (3, slice(None, None, -1)),
    "rgba8": (4, slice(0, 3)),
    "bgra8": (4, slice(2, None, -1)),
}
DEPTH = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
PAIR_NS = 50_000_000


def read_bag(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Colour images of a bag in the order of their stamps; annotations come from a detector (`models.detect_below`)."""
    bag = open_bag(config.images)
    color, depth, info = _topics(bag, config)
    depths = _stamps(bag, depth)
    camera = _camera(bag, info)
    for stamp in _stamps(bag, color):
        at = bisect_left(depths, stamp)
        near = min(
            (depths[i] for i in (at - 1, at) if 0 <= i < len(depths)), key=lambda s: abs(s - stamp), default=None
        )
        if near is None or abs(near - stamp) > PAIR_NS * 2:
            problems.add("depth_missing", f"{config.images}: no depth image near {stamp} ns on {depth}")
            continue
        key = safe_key(config.name or "bag", Path(config.images).stem, stamp)
        yield Record(key, config.images, camera=camera, depth=DepthSource(f"{color}\n{depth}\n{near}"), stamp_ns=stamp)


def read_bag_image(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Colour uint8 [H, W, 3] and depth [H, W] in metres of one record, depth registered to colour where cameras differ.

    Raises:
        ImageProblem: `image_corrupt` if a message is gone or of an encoding that is not read.
    """
    bag = open_bag(record.image)
    if record.depth is None or record.camera is None:
        raise ImageProblem("camera_missing", f"{record.key}: the bag has no depth or no camera info")
    color_topic, depth_topic, near = record.depth.path.split("\n")
    color = _color(_message(bag, color_topic, record.stamp_ns))
    depth = _depth(_message(bag, depth_topic, int(near)))
    own = _camera(bag, _info_beside(bag, depth_topic))
    if own != record.camera:
        depth = register_depth(depth, own, record.camera)
    return color, depth


@functools.lru_cache(maxsize=2)
def open_bag(path: str) -> Any:
    """An open `rosbags` reader, kept for the process.

    Raises:
        SourceError: if there is no bag, or it cannot be read.
        MissingDependencyError: if rosbags is not installed.
    """
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MissingDependencyError("reading bags needs rosbags: pip install 'n3d-ros[lift]'") from error
    try:
        reader = AnyReader([Path(path)], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except (OSError, AnyReaderError, ValueError, KeyError) as error:
        raise SourceError(f"{path}: cannot be read as a bag ({type(error).__name__}: {error})") from error
    return reader


def _topics(bag: Any, config: SourceConfig) -> tuple[str, str, str]:
    images = [c for c in bag.connections if c.msgtype == "sensor_msgs/msg/Image"]
    encodings = {c.topic: _first(bag, c).encoding for c in images if c.msgcount}
    color = config.color_topic or next((t for t, e in encodings.items() if e in COLOR), "")
    depth = config.depth_topic or next((t for t, e in encodings.items() if e in DEPTH), "")
    if not color or not depth:
        raise SourceError(f"{config.images}: no colour and depth image topic; image topics are {encodings}")
    return color, depth, config.camera_topic or _info_beside(bag, color)


def _info_beside(bag: Any, topic: str) -> str:
    """The camera info with the longest beginning in common with an image topic."""
    infos = [c.topic for c in bag.connections if c.msgtype == "sensor_msgs/msg/CameraInfo"]
    if not infos:
        raise SourceError("the bag has no sensor_msgs/CameraInfo; intrinsics are needed")
    return max(infos, key=lambda t: len(_common(t, topic)))


def _common(a: str, b: str) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _connections(bag: Any, topic: str) -> list[Any]:
    found = [c for c in bag.connections if c.topic == topic]
    if not found:
        raise SourceError(f"the bag has no topic {topic!r}")
    return found


def _first(bag: Any, connection: Any) -> Any:
    _, _, raw = next(iter(bag.messages(connections=[connection])))
    return bag.deserialize(raw, connection.msgtype)


def _camera(bag: Any, topic: str) -> Camera:
    info = _first(bag, _connections(bag, topic)[0])
    return Camera.from_matrix(getattr(info, "k", getattr(info, "K", ())), info.width, info.height)


def _stamps(bag: Any, topic: str) -> list[int]:
    """Log times of the messages of a topic."""
    return [t for _, t, _ in bag.messages(connections=_connections(bag, topic))]


def _message(bag: Any, topic: str, log_ns: int) -> Any:
    for connection, _, raw in bag.messages(connections=_connections(bag, topic), start=log_ns, stop=log_ns + 1):
        return bag.deserialize(raw, connection.msgtype)
    raise ImageProblem("image_corrupt", f"{topic}: the message of {log_ns} ns is not in the bag")


def _color(message: Any) -> NDArray[np.uint8]:
    if message.encoding not in COLOR:
        raise ImageProblem("image_corrupt", f"colour encoding {message.encoding!r}: one of {', '.join(COLOR)} is read")
    channels, order = COLOR[message.encoding]
    rows = _rows(message, np.dtype(np.uint8), channels)
    return np.ascontiguousarray(rows.reshape(message.height, message.width, channels)[:, :, order])


def _depth(message: Any) -> NDArray[np.float32]:
    if message.encoding not in DEPTH:
        raise ImageProblem("depth_corrupt", f"depth encoding {message.encoding!r}: one of {', '.join(DEPTH)} is read")
    raw = _rows(message, np.dtype(DEPTH[message.encoding]), 1)
    return DepthUnit.of(raw).to_metres(raw)


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """The pixels [H, W * channels] of an image message, without the padding of its rows."""
    width = message.width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if message.step < width or len(data) < message.step * message.height or not message.height:
        raise ImageProblem(
            "image_corrupt", f"{len(data)} bytes, step {message.step}: {width} x {message.height} are wanted"
        )
    rows = np.ascontiguousarray(data[: message.step * message.height].reshape(message.height, -1)[:, :width])
    return rows.view(dtype.newbyteorder(">" if message.is_bigendian else "<")).astype(dtype)
