"""Camera, frame, boxes and points. Lengths are in metres, in the camera's optical frame (REP 103)."""

from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame

__all__ = ["Box3D", "Camera", "Frame", "iou_3d"]
