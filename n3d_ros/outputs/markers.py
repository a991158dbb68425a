"""Boxes for RViz: markers with edges and labels, and the measured points inside each box as a cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from n3d_core.display.draw import OPTICAL_UP, Direction, class_color, edge_points, edge_width, label_of
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_ros.outputs.messages import pose_message

_FAINTEST = 0.1  # opacity
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("object", "<u4")])
_KINDS = {"f4": PointField.FLOAT32, "u4": PointField.UINT32}


def marker_array(
    boxes: Sequence[OrientedBox],
    header: Header,
    lifetime_s: float = 0.0,
    up: Direction = OPTICAL_UP,
    faded: bool = False,
) -> MarkerArray:
    """DELETEALL, then two markers a box: `edges` (a line list) and `labels` (text above the box, facing the viewer).

    `faded`: the lower a box's score, the more transparent it is.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, box in enumerate(boxes):
        markers += [_edges(box, header, number), _label(box, header, number, up)]
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
    marker.scale.x = edge_width(box)
    marker.color = _color(box)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in edge_points(box)]
    return marker


def _label(box: OrientedBox, header: Header, number: int, up: Direction) -> Marker:
    label = label_of(box, up)
    marker = Marker(header=header, ns="labels", id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    x, y, z = label.place
    marker.pose.position = Point(x=x, y=y, z=z)
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=label.space, z=label.height)
    marker.color = _color(box)
    marker.text = label.text
    return marker


def _color(box: OrientedBox) -> ColorRGBA:
    red, green, blue = class_color(box.label)
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)
