"""What a user should know of boxes before relying on them, as sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from n3d_core.depth import depth_agreement
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame


def box_warnings(frame: Frame, boxes: Iterable[Box3D]) -> list[str]:
    """Of boxes at an end of the language's scale, and of boxes that do not stand where the frame's depth is.

    Args:
        boxes: in metres in the optical frame of `frame`.
    """
    found = []
    for box in boxes:
        if box.saturated:
            found.append(
                f"{box.label}: {', '.join(box.saturated)} at an end of its scale; the true value may lie beyond"
            )
        agreement = depth_agreement(frame, box)
        if not agreement.agrees and np.isfinite(agreement.offset):
            found.append(
                f"{box.label}: measured depth is {abs(agreement.offset):.2f} m "
                f"{'behind' if agreement.offset > 0 else 'before'} the box"
            )
    return found
