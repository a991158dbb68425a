"""Decides whether the object of a box exists, and warns about boxes that should not be relied on.

The evidence: how sure the model was of the line and its class; whether measured points lie inside the box, or the
camera sees through it; and, in case of doubt, whether grounding everything finds the same thing in that place. The
calibration of a checkpoint weighs them (`training.calibrate` fits it).

A checkpoint without a calibration may never have learnt to say that nothing is there, so a rule applies. A box does not
exist if

* the camera sees through it (less than 1 in 10 of the measured points inside, at least 7 in 10 behind), or
* the model gave its line less than an even chance, and grounding everything does not find it, or
* grounding everything finds something with another name in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from n3d_core.decoding.calibration import Calibration, logistic
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame import Frame

SAME_PLACE = 0.5
"""3D IoU above which two boxes are the same object, whatever their labels."""
_SEEN_THROUGH = 0.7
_SUPPORTED = 0.1
_EVEN = float(np.log(0.5))

Fits = Callable[[str], bool]


@dataclass(frozen=True)
class Evidence:
    """Evidence for and against the existence of a box.

    Attributes:
        decision, label, bins: log probabilities of its line, of its class, and of the bins near the chosen ones.
        inside: share of the depth measured in the middle of its outline that lies inside the box, 0..1.
        through: share that lies behind it, 0..1: the camera sees through the box.
        same, other: best 3D IoU with a box of a matching (of another) name when everything is grounded; None if that
            was not needed.
    """

    decision: float
    label: float
    bins: float
    inside: float
    through: float
    same: float | None = None
    other: float | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """The inputs of a calibration: [5], or [7] with agreement."""
        agreement = () if self.same is None or self.other is None else (self.same, self.other)
        return np.array([self.decision, self.label, self.bins, self.inside, self.through, *agreement])

    def compared(self, box: Box3D, everything: Sequence[Box3D], fits: Fits) -> Evidence:
        """This evidence with the overlaps with the boxes that grounding everything found."""
        overlaps = [(iou_3d(box, other), fits(other.label)) for other in everything]
        same = max((overlap for overlap, fitting in overlaps if fitting), default=0.0)
        other = max((overlap for overlap, fitting in overlaps if not fitting), default=0.0)
        return replace(self, same=same, other=other)


def evidence_of(tokens: tuple[float, float, float], frame: Frame, box: Box3D) -> Evidence:
    """Evidence from tokens and depth.

    Args:
        tokens: log probabilities of decision, class and bins.
        frame: its depth is compared with the box, which is in its optical frame (metres).
    """
    agreement = depth_agreement(frame, box)
    return Evidence(*tokens, agreement.share, agreement.through)


def existence(evidence: Evidence, calibration: Calibration) -> float:
    """Probability that the object of a box exists; 0 or 1 by the rule if there is no calibration."""
    fitted = calibration.existence
    if fitted is not None:
        return logistic(fitted.depth if evidence.same is None else fitted.agreement, evidence.values)
    if evidence.through >= _SEEN_THROUGH and evidence.inside < _SUPPORTED:
        return 0.0
    same, other = evidence.same or 0.0, evidence.other or 0.0
    if other >= SAME_PLACE and other > same:
        return 0.0
    return float(evidence.decision >= _EVEN or same >= SAME_PLACE)


def is_found(evidence: Evidence, calibration: Calibration) -> bool:
    """Whether a box counts as found."""
    least = calibration.existence.threshold if calibration.existence is not None else 0.5
    return existence(evidence, calibration) >= least


def needs_agreement(evidence: Evidence, calibration: Calibration) -> bool:
    """Whether grounding everything could change the decision. Without a calibration it always could, unless the camera
    sees through the box."""
    if calibration.existence is None:
        return not (evidence.through >= _SEEN_THROUGH and evidence.inside < _SUPPORTED)
    return existence(evidence, calibration) < calibration.existence.sure


def box_warnings(frame: Frame, boxes: Iterable[Box3D]) -> list[str]:
    """One warning for each box that lies at an end of the model's scale or contradicts the measured depth.

    Args:
        boxes: in the optical frame of `frame`, metres.
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


_CENTRAL = 0.8  # other objects overlap the hull's border more often than its middle
_MARGIN = 0.1  # of the box's length, and at least this many metres:
_LEAST_MARGIN = 0.02
_ENOUGH = 0.1  # an object may be thin or half hidden: a tenth of the pixels is enough


@dataclass(frozen=True)
class DepthAgreement:
    """How well a box agrees with the measured depth.

    Attributes:
        share: share of the valid pixels in the middle of the box's hull whose depth is within the box; 0 if none.
        offset: metres from the box's depth range to the measured median; 0 if they agree. Positive: the visible surface
            is behind the box; negative: something is in front of it. NaN if nothing was measured.
        through: share of the same pixels whose depth is behind the box; 0 if none is valid.
    """

    share: float
    offset: float
    through: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether enough of the measured depth is within the box."""
        return self.offset == 0.0


def depth_agreement(frame: Frame, box: Box3D) -> DepthAgreement:
    """Compares a box of the optical frame with the frame's depth."""
    hull = box.image_box(frame.camera)
    if hull is None:
        return DepthAgreement(0.0, float("nan"))
    left, right = _middle(hull[0], hull[2], frame.width)
    top, bottom = _middle(hull[1], hull[3], frame.height)
    window = frame.depth[top:bottom, left:right]
    measured = window[np.isfinite(window) & (window > 0)]
    if measured.size == 0:
        return DepthAgreement(0.0, float("nan"))
    margin = max(_MARGIN * box.size[2], _LEAST_MARGIN)
    low, high = float(box.low[2]) - margin, float(box.high[2]) + margin
    share = float(((measured >= low) & (measured <= high)).mean())
    through = float((measured > high).mean())
    if share >= _ENOUGH:
        return DepthAgreement(share, 0.0, through)
    median = float(np.median(measured))
    return DepthAgreement(share, median - high if median > high else min(median - low, 0.0), through)


def _middle(low: float, high: float, size: int) -> tuple[int, int]:
    """Pixel range (first, one past the last) of the middle part of a span, clipped to the image."""
    center, half = (low + high) / 2, _CENTRAL * (high - low) / 2
    first = int(np.clip(np.floor(center - half + 0.5), 0, size))
    last = int(np.clip(np.ceil(center + half + 0.5), 0, size))
    return first, last
