"""A checkpoint's `calibration.json`: turns evidence into scores, existence and covariances."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError, reading

CALIBRATION = "calibration.json"

Weights = tuple[float, ...]
STAGES = {"tokens": 3, "depth": 5, "agreement": 7}
"""Number of evidence values at each stage: log p of decision, class and bins; then the shares of depth inside and
behind the box; then the overlap with what grounding all objects finds there, with the same and with another name."""


@dataclass(frozen=True)
class Existence:
    """Decides from a box's evidence whether its object exists.

    Attributes:
        depth, agreement: logistic weights (bias first) of these stages' evidence.
        threshold: probability from which a box counts as found.
        sure: probability from which agreement is not needed.
    """

    depth: Weights
    agreement: Weights
    threshold: float
    sure: float


@dataclass(frozen=True)
class Calibration:
    """Turns evidence into scores and covariances.

    Attributes:
        weights: logistic weights of the bias and of log p of decision, class and bins.
        covariance_scale: factor on the covariance.
        fitted: whether scores are probabilities.
        threshold: score below which a grounding is better without the box; 0 keeps all.
        score_weights: logistic weights of later stages' evidence, by name.
        existence: None if the checkpoint has none; a rule decides then (see `n3d_core.evidence`).
    """

    weights: Weights = (0.0, 1.0, 1.0, 1.0)
    covariance_scale: float = 1.0
    fitted: bool = False
    threshold: float = 0.0
    score_weights: Mapping[str, Weights] = field(default_factory=dict)
    existence: Existence | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> Calibration:
        """Reads `calibration.json` of a checkpoint folder; the uncalibrated default if there is none.

        Raises:
            CheckpointError: if the file is damaged or contains values that are not finite numbers.
        """
        path = folder / CALIBRATION
        if not path.exists():
            return cls()
        with reading(path, "a calibration", CheckpointError, "; run training.calibrate again"):
            return cls._read(json.loads(path.read_text()))

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> Calibration:
        scale = float(data["covariance_scale"])
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"covariance_scale must be positive; got {scale}")
        scores = {name: _weights(values, name) for name, values in data.get("score", {}).items()}
        there = data.get("existence")
        existence = there and Existence(
            _weights(there["depth"], "depth"),
            _weights(there["agreement"], "agreement"),
            _share(there, "threshold"),
            _share(there, "sure"),
        )
        weights = _weights(data["weights"], "tokens")
        return cls(weights, scale, True, _share(data, "threshold"), scores, existence or None)

    def score(self, evidence: NDArray[np.float64]) -> float:
        """Evidence of any stage [3, 5 or 7] -> probability that the box is right, 0..1."""
        if not self.fitted:
            return math.exp(min(0.0, float(evidence[: STAGES["tokens"]].sum())))
        for name, count in STAGES.items():
            if len(evidence) == count and name in self.score_weights:
                return logistic(self.score_weights[name], evidence)
        return logistic(self.weights, evidence[: STAGES["tokens"]])


def logistic(weights: Weights, evidence: NDArray[np.float64]) -> float:
    """Weights (bias first) and evidence -> probability."""
    logit = weights[0] + float(np.dot(weights[1:], evidence))
    return 1 / (1 + math.exp(min(-logit, 700.0)))  # beyond it, exp overflows and the result is 0 anyway


def _weights(values: Any, stage: str) -> Weights:
    weights = tuple(float(v) for v in values)
    if len(weights) != STAGES[stage] + 1 or not all(map(math.isfinite, weights)):
        raise ValueError(f"{stage} must have {STAGES[stage] + 1} finite weights; got {weights}")
    return weights


def _share(data: Mapping[str, Any], key: str) -> float:
    value = float(data.get(key, 0.0))
    if not 0 <= value < 1:
        raise ValueError(f"{key} must be at least 0 and below 1; got {value}")
    return value
