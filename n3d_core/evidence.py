"""Whether what a box claims is there: evidence besides its tokens, and what a user should know before relying on it.

Existence is decided by evidence together: how sure the model was of writing the line and its class; whether measured
points lie inside the box, or the camera sees through it; and, where these leave doubt, whether grounding everything
finds the same thing at that place. A checkpoint's calibration weighs them (`training.calibrate` fits it).

A checkpoint without a calibration goes by a rule, as it may never have learnt to say that nothing is there:

* a box that the camera sees through (less than 1 in 10 of the measured points in it, 7 in 10 behind it) is not there;
* a line that the model itself gave less than an even chance is not there, unless grounding everything agrees;
* a box at the place of something that is called otherwise when everything is grounded is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from n3d_core.decoding.calibration import Calibration, logistic
from n3d_core.depth import depth_agreement
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.geometry.frame import Frame

SAME_PLACE = 0.5
"""3D IoU from which two boxes are of one thing, whatever they are called."""
_SEEN_THROUGH = 0.7
_SUPPORTED = 0.1
_EVEN = float(np.log(0.5))

Fits = Callable[[str], bool]


@dataclass(frozen=True)
class Evidence:
    """What speaks for a box and against it.

    Attributes:
        decision, label, bins: log probabilities of its line, its class, and the bins near those chosen.
        inside: of the depth measured in the middle of its outline, the share inside the box.
        through: the share behind it: the camera sees through it.
        same, other: overlap (3D IoU) with what grounding everything finds, of a fitting and of another name; None where
            that was not asked for.
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
        """[5], or [7] with agreement: what a calibration weighs."""
        agreement = () if self.same is None or self.other is None else (self.same, self.other)
        return np.array([self.decision, self.label, self.bins, self.inside, self.through, *agreement])

    def compared(self, box: Box3D, everything: Sequence[Box3D], fits: Fits) -> Evidence:
        """With the agreement of the boxes that were found when everything was grounded."""
        overlaps = [(iou_3d(box, other), fits(other.label)) for other in everything]
        same = max((overlap for overlap, fitting in overlaps if fitting), default=0.0)
        other = max((overlap for overlap, fitting in overlaps if not fitting), default=0.0)
        return replace(self, same=same, other=other)


def evidence_of(tokens: tuple[float, float, float], frame: Frame, box: Box3D) -> Evidence:
    """The evidence of a box without agreement.

    Args:
        tokens: log probabilities of decision, class and bins.
        frame: whose depth is looked at; the box is in its optical frame.
    """
    agreement = depth_agreement(frame, box)
    return Evidence(*tokens, agreement.share, agreement.through)


def existence(evidence: Evidence, calibration: Calibration) -> float:
    """Probability that what a box claims is there; 1 or 0 by the rule where there is no calibration."""
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
    """Whether grounding everything can still change the decision. Without a calibration it always can."""
    if calibration.existence is None:
        return not (evidence.through >= _SEEN_THROUGH and evidence.inside < _SUPPORTED)
    return existence(evidence, calibration) < calibration.existence.sure


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
