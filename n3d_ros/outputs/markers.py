"""Boxes -> RViz markers: edges in the colour of the class, and a label with score and size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from n3d_core.display.draw import EDGES, caption, class_color
from n3d_core.geometry.boxes import OrientedBox
from n3d_ros.outputs.messages import pose_message

_UNIT_CORNERS = OrientedBox("", (0, 0, 0), (1, 1, 1)).corners()


def marker_array(boxes: Sequence[OrientedBox], header: Header, lifetime_s: float = 0.0) -> MarkerArray:
    """DELETEALL, then two markers a box: `edges` (a line list) and `labels` (text that faces the viewer)."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, box in enumerate(boxes):
        markers += [_edges(box, header, number), _label(box, header, number)]
    for marker in markers[1:]:
        marker.lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * 1e9))
    return MarkerArray(markers=markers)


def _edges(box: OrientedBox, header: Header, number: int) -> Marker:
    marker = Marker(header=header, ns="edges", id=number, type=Marker.LINE_LIST, action=Marker.ADD)
    marker.pose = pose_message(box)
    marker.scale.x = float(np.clip(min(box.size) * 0.04, 0.002, 0.02))
    marker.color = _color(box, 1.0)
    corners = _UNIT_CORNERS * np.asarray(box.size)
    marker.points = [Point(x=x, y=y, z=z) for edge in EDGES for x, y, z in corners[list(edge)].tolist()]
    return marker


def _label(box: OrientedBox, header: Header, number: int) -> Marker:
    marker = Marker(header=header, ns="labels", id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    marker.pose.position = pose_message(box).position
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(z=float(np.clip(max(box.size) * 0.15, 0.02, 0.2)))
    marker.color = _color(box, 1.0)
    marker.text = caption(box)
    return marker


def _color(box: OrientedBox, alpha: float) -> ColorRGBA:
    red, green, blue = class_color(box.label)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
