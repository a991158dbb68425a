"""Image messages: read (by `n3d_core.messages`, which bags share) and written."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from n3d_core.messages.images import color_array, decode_color, decode_depth, depth_array

__all__ = ["color_array", "decode_color", "decode_depth", "depth_array", "image_message"]


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
