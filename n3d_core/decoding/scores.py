"""How sure the model is of a box, read from the distributions of the box's own tokens.

The language has no score. A box's evidence is the probability of its choices (one more box, the class) and how
narrow the distributions over its bins are; a logistic calibration fitted on held-out scenes turns that into the
probability that the box is right (3D IoU of at least 0.25 with an object of that name).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n3d_core.decoding.loop import Token
from n3d_core.errors import CheckpointError
from n3d_core.language.box_grammar import BoxVocabulary, Kind
from n3d_core.language.codec import BoxCodec
from n3d_core.language.structured import BINS, FIELDS, BoxCode

CALIBRATION = "calibration.json"
_NEAR = 15  # bins around the chosen one that count as the same answer


@dataclass(frozen=True)
class BinMoments:
    """Of one number: the variance over its bins, and the probability of the bins near the chosen one."""

    variance: float
    near: float


@dataclass(frozen=True)
class Calibration:
    """What turns evidence into scores and covariances.

    Attributes:
        weights: logistic, of one and of log p of decision, class and bins.
        covariance_scale: a factor on the covariance.
        fitted: whether scores are probabilities.
        threshold: the score below which a grounding does better without a box; 0 leaves none out.
    """

    weights: tuple[float, float, float, float] = (0.0, 1.0, 1.0, 1.0)
    covariance_scale: float = 1.0
    fitted: bool = False
    threshold: float = 0.0

    @classmethod
    def from_folder(cls, folder: Path) -> Calibration:
        """Reads `calibration.json` of a checkpoint folder; the uncalibrated default where there is none.

        Raises:
            CheckpointError: if the file is damaged, or holds what are no numbers.
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
                raise ValueError("finite weights and a positive covariance_scale are wanted")
            if not 0 <= threshold < 1:
                raise ValueError(f"threshold is {threshold}: at least 0 and below 1 is wanted")
            return cls((bias, decision, label, bins), scale, True, threshold)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: not a calibration ({type(error).__name__}: {error}); fit it again"
            ) from error

    def score(self, evidence: NDArray[np.float64]) -> float:
        """Evidence [3] of log probabilities -> probability that the box is right."""
        if not self.fitted:
            return float(math.exp(min(0.0, evidence.sum())))
        bias, *weights = self.weights
        logit = bias + float(np.dot(weights, evidence))
        return 1 / (1 + math.exp(min(-logit, 700.0)))  # beyond it, exp overflows and the score is 0 anyway


class BoxEvidence:
    """Collects the tokens of one line."""

    def __init__(self, words: BoxVocabulary) -> None:
        self._words = words
        self._decision = self._label = 0.0
        self._moments: list[BinMoments] = []
        self._digits: list[tuple[str, NDArray[np.float32]]] = []

    def add(self, token: Token) -> None:
        """Takes the next token of the line."""
        if token.id == self._words.comma or token.kind is None:
            self._close_number()
        if token.kind is Kind.DECISION:
            self._decision += math.log(max(token.probability, 1e-12))
        elif token.kind is Kind.LABEL:
            self._label += math.log(max(token.probability, 1e-12))
        elif token.kind is Kind.NUMBER and token.distribution is not None:
            if token.id in self._words.digits:
                self._digits.append((self._words.digits[token.id], token.distribution))
            else:
                self._close_number()

    def finish(self) -> tuple[NDArray[np.float64], list[BinMoments]]:
        """Evidence [3] (decision, class, bins) and the moments of the seven numbers."""
        self._close_number()
        numbers = self._moments[: len(FIELDS)]
        used = [m for i, m in enumerate(numbers) if FIELDS[i] != "angle_y"]
        bins = float(np.mean([math.log(max(m.near, 1e-12)) for m in used])) if used else 0.0
        return np.array([self._decision, self._label, bins]), numbers

    def _close_number(self) -> None:
        if not self._digits:
            return
        text = "".join(t for t, _ in self._digits)
        if self._words.whole_numbers:
            self._moments.append(self._whole(int(text), self._digits[0][1]))
        else:
            self._moments.append(self._by_digits(text))
        self._digits = []

    def _whole(self, value: int, distribution: NDArray[np.float32]) -> BinMoments:
        shares = distribution[self._words.digit_ids].astype(np.float64)
        shares /= max(shares.sum(), 1e-12)
        distance = self._words.digit_values - value
        return BinMoments(float((shares * distance**2).sum()), float(shares[np.abs(distance) <= _NEAR].sum()))

    def _by_digits(self, text: str) -> BinMoments:
        """Digit by digit: variances add up by place; the length of the number is taken as known."""
        variance, near = 0.0, 1.0
        for place, (digit, distribution) in enumerate(self._digits):
            unit = 10 ** (len(text) - 1 - place)
            ids = [i for i, t in self._words.digits.items() if len(t) == 1]
            values = np.array([int(self._words.digits[i]) for i in ids])
            shares = distribution[ids].astype(np.float64)
            shares /= max(shares.sum(), 1e-12)
            distance = (values - int(digit)) * unit
            variance += float((shares * distance**2).sum())
            near *= float(shares[np.abs(distance) <= _NEAR].sum())
        return BinMoments(variance, near)


def center_covariance(
    codec: BoxCodec, code: BoxCode, moments: list[BinMoments], scale: float
) -> tuple[float, ...] | None:
    """Row-major 3x3 covariance of a box's centre, m^2, from the variances over its bins u, v, z."""
    if len(moments) < 3:
        return None
    rounding = 1 / 12  # a bin is uniform inside
    bins = np.diag([min(m.variance, BINS**2 / 12) + rounding for m in moments[:3]])
    jacobian = codec.center_jacobian(code)
    return tuple(float(v) for v in (jacobian @ bins @ jacobian.T * scale).reshape(-1))
