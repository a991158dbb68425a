"""What speaks for a box besides its tokens, and what a user should know before relying on it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from n3d_core.depth import depth_agreement
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame


def box_warnings(frame: Frame, boxes: Iterable[Box3D]) -> list[str]:
    """Sentences on boxes at an end of the language's scale, and on boxes that the measured depth contradicts.

    Args:
        boxes: in metres in the optical frame of `frame`.
    """
    found = []
    for box in boxes:
        if box.saturated:
            found.append(
                f"{box.label}: {', '.join(box.saturated)} at the end of the scale; the true value may lie beyond it"
            )
        agreement = depth_agreement(frame, box)
        if not agreement.agrees and np.isfinite(agreement.offset):
            found.append(
                f"{box.label}: measured depth is {abs(agreement.offset):.2f} m "
                f"{'behind' if agreement.offset > 0 else 'in front of'} the box"
            )
    return found
