"""RGB-D bags (see `n3d_core.bag`) as records: one a colour image, with the depth image nearest in time."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.bag import Bag
from n3d_core.depth import DepthUnit
from n3d_core.errors import BagError
from n3d_core.geometry import Camera
from n3d_core.geometry.registration import register_depth
from training.lift.lift_config import SourceConfig
from training.lift.problems import ImageProblem, SourceError
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
    try:
        topics = bag.rgbd_topics(config.color_topic, config.depth_topic, config.camera_topic)
        color, depth = topics.color, topics.depth
        camera = _camera(bag, topics.color_info)
        colors, depths = bag.stamps(color), bag.stamps(depth)
    except BagError as error:
        raise SourceError(str(error)) from error
    for stamp in colors:
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
    try:
        color = _color(bag.message(color_topic, record.stamp_ns))
        depth = _depth(bag.message(depth_topic, int(near)))
    except BagError as error:
        raise ImageProblem("image_corrupt", str(error)) from error
    own = _camera(bag, bag.info_beside(depth_topic))
    if own != record.camera:
        depth = register_depth(depth, own, record.camera)
    return color, depth


@functools.lru_cache(maxsize=2)
def open_bag(path: str) -> Bag:
    """An open bag, kept for the process.

    Raises:
        SourceError: if there is no bag, or it cannot be read.
        MissingDependencyError: if rosbags is not installed.
    """
    try:
        return Bag(path)
    except BagError as error:
        raise SourceError(str(error)) from error


def _camera(bag: Bag, topic: str) -> Camera:
    info = bag.message(topic)
    return Camera.from_matrix(getattr(info, "k", getattr(info, "K", ())), info.width, info.height)


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
