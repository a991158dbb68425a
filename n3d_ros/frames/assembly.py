"""From the messages of one moment to one checked `Frame`; the reading is `n3d_core.messages`, which bags share."""

from n3d_core.messages.assembly import (
    REGISTRATION_POLICIES,
    ColorImage,
    DepthEstimator,
    Door,
    RgbdMessages,
    TransformLookup,
    assemble_color,
    assemble_frame,
    is_rectified,
    needs_depth_info,
    transform_of_depth,
)

__all__ = [
    "REGISTRATION_POLICIES",
    "ColorImage",
    "DepthEstimator",
    "Door",
    "RgbdMessages",
    "TransformLookup",
    "assemble_color",
    "assemble_frame",
    "is_rectified",
    "needs_depth_info",
    "transform_of_depth",
]
