"""What a checkpoint's `calibration.json` says: how token probabilities become scores and covariances."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError

CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Turns the evidence of a box's tokens into a score and a covariance.

    Attributes:
        weights: logistic, of one and of log p of decision, class and bins.
        covariance_scale: a factor on the covariance.
        fitted: whether scores are probabilities.
        threshold: the score below which a grounding does better without a box; 0 keeps all.
    """

    weights: tuple[float, float, float, float] = (0.0, 1.0, 1.0, 1.0)
    covariance_scale: float = 1.0
    fitted: bool = False
    threshold: float = 0.0

    @classmethod
    def from_folder(cls, folder: Path) -> Calibration:
        """Reads `calibration.json` of a checkpoint folder; the uncalibrated default where there is none.

        Raises:
            CheckpointError: if the file is damaged, or holds values that are not finite numbers.
        """
        path = folder / CALIBRATION
        if not path.exists():
            return cls()
        try:
            data = json.loads(path.read_text())
            bias, decision, label, bins = (float(v) for v in data["weights"])
            scale = float(data["covariance_scale"])
            threshold = float(data.get("threshold", 0.0))
            if not (all(map(math.isfinite, (bias, decision, label, bins, scale))) and scale > 0):
                raise ValueError("weights must be finite and covariance_scale positive")
            if not 0 <= threshold < 1:
                raise ValueError(f"threshold must be at least 0 and below 1; got {threshold}")
            return cls((bias, decision, label, bins), scale, True, threshold)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: not a calibration ({type(error).__name__}: {error}); run training.calibrate again"
            ) from error

    def score(self, evidence: NDArray[np.float64]) -> float:
        """Log probabilities [3] of decision, class and bins -> probability that the box is right, 0..1."""
        if not self.fitted:
            return float(math.exp(min(0.0, evidence.sum())))
        bias, *weights = self.weights
        logit = bias + float(np.dot(weights, evidence))
        return 1 / (1 + math.exp(min(-logit, 700.0)))  # beyond it, exp overflows and the score is 0 anyway
