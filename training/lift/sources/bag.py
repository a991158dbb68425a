"""RGB-D bags (see `n3d_core.recordings.bag`): one record per colour image, with the depth image nearest in time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import BagError, CameraError, DepthError, ImageError, TransformError
from n3d_core.geometry import Camera
from n3d_core.messages.assembly import FrameOptions, is_rectified, read_camera_info
from n3d_core.recordings.bag import Bag, RgbdTopicNames
from training.lift.lift_config import SourceConfig
from training.lift.problems import ImageProblem, SourceError
from training.lift.record import DepthSource, Problems, Record, safe_key


def read_bag(config: SourceConfig, problems: Problems) -> Iterator[Record]:
    """Colour images of a bag in order of time; a detector must find the objects (`models.detect_below`)."""
    bag = open_bag(config.images)
    try:
        topics = bag.rgbd_topics(config.color_topic, config.depth_topic, config.camera_topic)
        info = bag.message(topics.color_info)
        camera: Camera = read_camera_info(info, rectified=is_rectified(topics.color)).camera
        times = bag.frame_times(topics)
    except (BagError, CameraError) as error:
        raise SourceError(f"{config.images}: {error}") from error
    for color_ns, depth_ns in times:
        if depth_ns is None:
            problems.add("depth_missing", f"{config.images}: no depth image near {color_ns} ns on {topics.depth}")
            continue
        key = safe_key(config.name or "bag", Path(config.images).stem, color_ns)
        names = (topics.color, topics.depth, topics.color_info, topics.depth_info)
        depth = DepthSource("\n".join((*names, str(depth_ns))), config.depth_unit)
        yield Record(key, config.images, camera=camera, depth=depth, stamp_ns=color_ns)


def read_bag_image(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Colour uint8 [H, W, 3] and depth [H, W] in metres of a record, rectified and registered as in the node.

    Raises:
        ImageProblem: if a message is missing or unusable, or the bag lacks the transform between the cameras.
    """
    if record.depth is None or record.camera is None:
        raise ImageProblem("camera_missing", f"{record.key}: the bag has no depth or no camera info")
    *names, depth_ns = record.depth.path.split("\n")
    try:
        frame = open_bag(record.image).frame(
            RgbdTopicNames(*names), record.stamp_ns, int(depth_ns), FrameOptions(depth_unit=record.depth.unit)
        )
    except CameraError as error:
        raise ImageProblem("camera_missing", f"{record.key}: {error}") from error
    except (DepthError, TransformError) as error:
        raise ImageProblem("depth_corrupt", f"{record.key}: {error}") from error
    except (BagError, ImageError) as error:
        raise ImageProblem("image_corrupt", f"{record.key}: {error}") from error
    return frame.color, frame.depth


@functools.lru_cache(maxsize=2)
def open_bag(path: str) -> Bag:
    """An open bag, cached in the process.

    Raises:
        SourceError: if the bag is missing or cannot be read.
        MissingDependencyError: if rosbags is not installed.
    """
    try:
        return Bag(path)
    except BagError as error:
        raise SourceError(str(error)) from error
