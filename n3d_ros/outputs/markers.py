"""Boxes for RViz: markers with edges and labels, and the measured points inside each box as a cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from n3d_core.display.draw import EDGES, caption, class_color
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_ros.outputs.messages import pose_message

OPTICAL_UP, BODY_UP = (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)  # REP 103: y down in optical frames, z up in all others
_FAINTEST = 0.1  # opacity
_UNIT_CORNERS = OrientedBox("", (0, 0, 0), (1, 1, 1)).corners()
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("object", "<u4")])
_KINDS = {"f4": PointField.FLOAT32, "u4": PointField.UINT32}


def marker_array(
    boxes: Sequence[OrientedBox],
    header: Header,
    lifetime_s: float = 0.0,
    up: tuple[float, float, float] = OPTICAL_UP,
    faded: bool = False,
) -> MarkerArray:
    """DELETEALL, then two markers a box: `edges` (a line list) and `labels` (text above the box, facing the viewer).

    `faded`: the lower a box's score, the more transparent it is.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, box in enumerate(boxes):
        markers += [_edges(box, header, number), _label(box, header, number, np.asarray(up))]
        if faded:
            markers[-2].color.a = markers[-1].color.a = max(float(box.score), _FAINTEST)
    for marker in markers[1:]:
        marker.lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * 1e9))
    return MarkerArray(markers=markers)


def object_clouds(frame: Frame, boxes: Sequence[OrientedBox], header: Header, margin: float = 0.01) -> PointCloud2:
    """All points of `frame` inside `boxes` (both in the optical frame), coloured; `object` numbers the detection.

    A point in two boxes appears twice, once with each number. `margin` (metres) allows for the noise of the surface.
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


def _edges(box: OrientedBox, header: Header, number: int) -> Marker:
    marker = Marker(header=header, ns="edges", id=number, type=Marker.LINE_LIST, action=Marker.ADD)
    marker.pose = pose_message(box)
    marker.scale.x = float(np.clip(min(box.size) * 0.04, 0.002, 0.02))
    marker.color = _color(box)
    corners = _UNIT_CORNERS * np.asarray(box.size)
    marker.points = [Point(x=x, y=y, z=z) for edge in EDGES for x, y, z in corners[list(edge)].tolist()]
    return marker


def _label(box: OrientedBox, header: Header, number: int, up: np.ndarray) -> Marker:
    marker = Marker(header=header, ns="labels", id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    height = float(np.clip(max(box.size) * 0.15, 0.02, 0.2))
    top = float((box.corners() @ up).max() - np.asarray(box.center) @ up)
    x, y, z = (np.asarray(box.center) + (top + 1.5 * height) * up).tolist()  # two lines and half a line of gap
    marker.pose.position = Point(x=x, y=y, z=z)
    marker.pose.orientation.w = 1.0
    # RViz uses scale.x as the width of a space; 0 means the width at a letter height of 1 m.
    marker.scale = Vector3(x=height / 2, z=height)
    marker.color = _color(box)
    title, _, extents = caption(box).rpartition("  ")
    marker.text = f"{title}\n{extents}"
    return marker


def _color(box: OrientedBox) -> ColorRGBA:
    red, green, blue = class_color(box.label)
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)
