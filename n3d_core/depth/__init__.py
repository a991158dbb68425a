"""Depth input: units, files, cleaning, checks, and monocular depth for cameras without a depth sensor.

Depth is float32 [H, W] in metres along the optical z axis, NaN where nothing was measured.
"""

from n3d_core.depth.cleaning import DepthLimits, DepthReport, clean_depth
from n3d_core.depth.files import DepthUnit
from n3d_core.depth.plausibility import DepthAgreement, UnitSuspicion, depth_agreement, suspect_unit

__all__ = [
    "DepthAgreement",
    "DepthLimits",
    "DepthReport",
    "DepthUnit",
    "UnitSuspicion",
    "clean_depth",
    "depth_agreement",
    "suspect_unit",
]
