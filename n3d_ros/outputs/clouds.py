"""The measured points inside boxes, as one PointCloud2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame

_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("object", "<u4")])
_KINDS = {"f4": PointField.FLOAT32, "u4": PointField.UINT32}


def object_clouds(frame: Frame, boxes: Sequence[OrientedBox], header: Header, margin: float = 0.01) -> PointCloud2:
    """All points of `frame` inside `boxes` (both in the optical frame), coloured; `object` numbers the detection.

    A point in two boxes comes twice, once with each number. `margin` (metres) takes in the noise of the surface.
    """
    points, colors = frame.points[frame.valid], frame.color[frame.valid].astype(np.uint32)
    packed = colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]
    parts = []
    for number, box in enumerate(boxes):
        inside = box.contains(points, margin)
        part = np.empty(int(inside.sum()), _POINT)
        part["x"], part["y"], part["z"] = points[inside].T
        part["rgb"], part["object"] = packed[inside], number
        parts.append(part)
    cloud = np.concatenate(parts) if parts else np.empty(0, _POINT)
    message = PointCloud2(header=header, height=1, width=len(cloud), is_dense=True)
    message.fields = [
        PointField(name=name, offset=_POINT.fields[name][1], datatype=_KINDS[_POINT[name].str[1:]], count=1)
        for name in _POINT.names
    ]
    message.point_step, message.row_step = _POINT.itemsize, _POINT.itemsize * len(cloud)
    message.data.frombytes(cloud.tobytes())
    return message
