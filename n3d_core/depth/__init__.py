"""Depth input: units, files, cleaning, checks, and monocular depth for cameras without a depth sensor.

Depth is float32 [H, W] in metres along the optical z axis, NaN where nothing was measured.
"""

from n3d_core.depth.cleaning import DepthLimits, DepthReport, UnitSuspicion, clean_depth, suspect_unit
from n3d_core.depth.files import DepthUnit

__all__ = [
    "DepthLimits",
    "DepthReport",
    "DepthUnit",
    "UnitSuspicion",
    "clean_depth",
    "suspect_unit",
]
