"""Image messages <-> NumPy. Encodings, row steps, byte order and units are settled here and nowhere else.

REP 118: `16UC1` (and `mono16`) depth is integer millimetres, 0 invalid; `32FC1` is metres along z, NaN or Inf invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from n3d_core.depth.files import DepthUnit
from n3d_core.errors import DepthError, ImageError
from n3d_core.geometry.frame import MAX_PIXELS
from n3d_ros.frames.compressed import decode_color, decode_depth

# encoding -> channels, and the order in which they are R, G, B
_COLOR_VIEWS: dict[str, tuple[int, slice]] = {
    "rgb8": (3, slice(0, 3, 1)),
    "bgr8": (3, slice(2, None, -1)),
    "rgba8": (4, slice(0, 3, 1)),
    "bgra8": (4, slice(2, None, -1)),
}
_DEPTH_TYPES: dict[str, str] = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}


def color_array(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a colour message; a view of the message's own memory for the plain 8-bit encodings.

    Encodings without a plain view (Bayer, YUV, 16-bit …) go through `cv_bridge`.

    Raises:
        ImageError: if the header and the data disagree, or the encoding cannot be read.
    """
    if isinstance(message, CompressedImage):
        return decode_color(bytes(message.data), message.format)
    encoding = message.encoding.lower()
    if encoding in _COLOR_VIEWS:
        channels, order = _COLOR_VIEWS[encoding]
        return _pixels(message, "u1", channels, ImageError)[:, :, order]
    if encoding == "mono8":
        grey = _pixels(message, "u1", 1, ImageError)
        return np.broadcast_to(grey, (message.height, message.width, 3))
    if encoding in {name.lower() for name in _DEPTH_TYPES} - {"mono16"}:
        raise ImageError(f"colour image has the depth encoding {message.encoding!r}: check how the topics are remapped")
    return _through_cv_bridge(message)


def depth_array(message: Image | CompressedImage) -> NDArray[np.float32]:
    """Depth float32 [H, W] in metres along the optical z axis, NaN where there is no measurement.

    Raises:
        DepthError: if the header and the data disagree, or the encoding is not a depth encoding of REP 118.
    """
    if isinstance(message, CompressedImage):
        return decode_depth(bytes(message.data), message.format)
    if message.encoding not in _DEPTH_TYPES:
        raise DepthError(
            f"depth image has the encoding {message.encoding!r}: 16UC1 or mono16 (millimetres) or 32FC1 (metres) is "
            "wanted; check the driver's settings and how the topics are remapped"
        )
    raw = _pixels(message, _DEPTH_TYPES[message.encoding], 1, DepthError)[:, :, 0]
    return DepthUnit.of(raw).to_metres(raw.astype(raw.dtype.newbyteorder("="), copy=False))


def image_message(pixels: NDArray[Any], encoding: str, stamp: Time, frame_id: str) -> Image:
    """An Image message of an array [H, W] or [H, W, C] in `encoding`; rows are not padded."""
    rows = np.ascontiguousarray(pixels)
    message = Image()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.height, message.width = rows.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(rows.dtype.byteorder == ">")
    message.step = rows.strides[0]
    message.data.frombytes(memoryview(rows).cast("B"))
    return message


def _pixels(message: Image, dtype: str, channels: int, error: type[ImageError] | type[DepthError]) -> NDArray[Any]:
    """The pixels [H, W, C] as a view of the message's data; padding at the end of rows is stepped over."""
    height, width, step = message.height, message.width, message.step
    what = f"{message.encoding} image {width}x{height} with step {step} and {len(message.data)} bytes"
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise error(f"{what}: between 1 and {MAX_PIXELS} pixels are wanted")
    pixel = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    if step < width * channels * pixel.itemsize:
        raise error(f"{what}: a row needs a step of at least {width * channels * pixel.itemsize} bytes")
    needed = step * (height - 1) + width * channels * pixel.itemsize
    if len(message.data) < needed:
        raise error(f"{what}: {needed} bytes are needed; the publisher's header and data disagree")
    strides = (step, channels * pixel.itemsize, pixel.itemsize)
    return np.ndarray((height, width, channels), pixel, buffer=memoryview(message.data), strides=strides)


def _through_cv_bridge(message: Image) -> NDArray[np.uint8]:
    known = ", ".join([*_COLOR_VIEWS, "mono8"])
    if message.height * message.width > MAX_PIXELS or message.height * message.step > len(message.data):
        raise ImageError(
            f"{message.encoding} image {message.width}x{message.height} with step {message.step} and "
            f"{len(message.data)} bytes: the publisher's header and data disagree"
        )
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as missing:
        raise ImageError(
            f"colour encoding {message.encoding!r} is not one of {known}; others need cv_bridge "
            "(apt install ros-$ROS_DISTRO-cv-bridge)"
        ) from missing
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8"), dtype=np.uint8)
    except (CvBridgeError, TypeError, ValueError, KeyError, RuntimeError) as problem:
        raise ImageError(f"colour encoding {message.encoding!r} cannot be read: {problem}; {known} can") from problem
