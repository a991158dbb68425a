"""Decodes the tokens of a grounding reply to boxes as they arrive: fields, metres, score and covariance in one pass.

The language has no scores. A box's evidence is the probability of its choices (another box, the class) and the
sharpness of the distributions over its bins. A checkpoint's calibration, fitted on held-out scenes, turns it into the
probability that the box is right (3D IoU of at least 0.25 with an object of that name).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from n3d_core.decoding.calibration import Calibration
from n3d_core.decoding.loop import Token
from n3d_core.geometry.boxes import Box3D, iou_3d
from n3d_core.language.box_grammar import BoxGrammar, BoxVocabulary, TokenKind
from n3d_core.language.structured import BINS, FIELDS, BoxCode, BoxCodec

SAME_OBJECT = 0.5
"""3D IoU above which two boxes with one label are the same object: solid objects do not share half their volume."""
_NEAR = 15  # bins around the chosen one that count as the same value
_LEAST = 1e-12  # lower bound for probabilities in logarithms


@dataclass(frozen=True)
class BinMoments:
    """A number's variance over its bins, and the probability of the bins near the chosen one."""

    variance: float
    near: float


@dataclass(frozen=True)
class DecodedBox:
    """A box of a reply.

    Attributes:
        box: in metres in the optical frame, with score and covariance.
        code: its line in the structured language.
        evidence: log probabilities of decision, class and bins.
    """

    box: Box3D
    code: BoxCode
    evidence: tuple[float, float, float]


class BoxDecoder:
    """Decodes a reply token by token; each complete line becomes a box. An incomplete line is dropped.

    A model may output an object twice, a few bins apart. `codes` keeps both lines, `found` only the first.

    Attributes:
        codes: every line of the reply.
        found: distinct objects in the reply's order.
        repeats: number of lines since the last new object.
    """

    def __init__(self, words: BoxVocabulary, codec: BoxCodec, calibration: Calibration) -> None:
        self._words, self._codec, self._calibration = words, codec, calibration
        self._state = BoxGrammar(words)
        self.codes: list[BoxCode] = []
        self.found: list[DecodedBox] = []
        self.repeats = 0
        self._start_line(decision=0.0)

    def add(self, token: Token) -> DecodedBox | None:
        """Takes the next token; returns the box that it completes, if it is a new object."""
        before, words = self._state, self._words
        self._state = before.advance(token.id)
        if token.kind is TokenKind.DECISION and before.part == "start":
            self._decision += _log(token.probability)
        if before.queue or token.id in words.ends:
            return None
        if before.part == "label":
            self._add_label(token)
        elif before.part == "number":
            return self._add_number(token)
        elif before.part == "closed" and token.id == words.newline:
            self._start_line(decision=0.0 if token.kind is None else _log(token.probability))
        return None

    def _start_line(self, decision: float) -> None:
        """`decision`: log probability of writing this line, as known at the end of the line before it."""
        self._decision, self._label = decision, 0.0
        self._label_ids: list[int] = []
        self._digits: list[tuple[str, NDArray[np.float32] | None]] = []
        self._numbers: list[int] = []
        self._moments: list[BinMoments | None] = []

    def _add_label(self, token: Token) -> None:
        if token.kind is TokenKind.LABEL:
            self._label += _log(token.probability)
        if token.id != self._words.comma:
            self._label_ids.append(token.id)

    def _add_number(self, token: Token) -> DecodedBox | None:
        words = self._words
        if token.id in words.digits:
            self._digits.append((words.digits[token.id], token.distribution))
            return None
        text = "".join(digits for digits, _ in self._digits)
        self._numbers.append(min(int(text), BINS - 1))
        self._moments.append(self._moments_of(text))
        self._digits = []
        if token.id == words.comma:
            return None
        found = self._finish_line()
        if token.id == words.close_newline:
            self._start_line(decision=_log(_share_of_another(token, words)))
        return found

    def _finish_line(self) -> DecodedBox | None:
        text = self._words.tokenizer.decode(self._label_ids).removeprefix(self._words.open_text)
        code = BoxCode(" ".join(text.split()), *self._numbers)
        self.codes.append(code)
        self.repeats += 1
        plain = self._codec.decode(code)
        if any(same_object(other.box, plain) for other in self.found):
            return None
        self.repeats = 0
        evidence = np.array([self._decision, self._label, self._narrowness()])
        covariance = center_covariance(self._codec, code, self._moments, self._calibration.covariance_scale)
        box = replace(plain, score=self._calibration.score(evidence), covariance=covariance)
        self.found.append(DecodedBox(box, code, (float(evidence[0]), float(evidence[1]), float(evidence[2]))))
        return self.found[-1]

    def _narrowness(self) -> float:
        """Mean log probability of the bins near the chosen ones, over the numbers that have a distribution."""
        used = [m for m, name in zip(self._moments, FIELDS, strict=True) if m is not None and name != "angle_y"]
        return float(np.mean([_log(m.near) for m in used])) if used else 0.0

    def _moments_of(self, text: str) -> BinMoments | None:
        """None if a digit was forced, since it has no distribution."""
        known = [(digit, shares) for digit, shares in self._digits if shares is not None]
        if len(known) < len(self._digits):
            return None
        return self._whole(int(text), known[0][1]) if self._words.whole_numbers else self._by_digits(text, known)

    def _whole(self, value: int, distribution: NDArray[np.float32]) -> BinMoments:
        shares = _normalised(distribution[self._words.digit_ids])
        distance = self._words.digit_values - value
        return BinMoments(float((shares * distance**2).sum()), float(shares[np.abs(distance) <= _NEAR].sum()))

    def _by_digits(self, text: str, known: list[tuple[str, NDArray[np.float32]]]) -> BinMoments:
        """Digit by digit: variances add up by decimal place; the number's length is assumed known."""
        variance, near = 0.0, 1.0
        ids = [i for i, t in self._words.digits.items() if len(t) == 1]
        values = np.array([int(self._words.digits[i]) for i in ids])
        for place, (digit, distribution) in enumerate(known):
            shares = _normalised(distribution[ids])
            distance = (values - int(digit)) * 10 ** (len(text) - 1 - place)
            variance += float((shares * distance**2).sum())
            near *= float(shares[np.abs(distance) <= _NEAR].sum())
        return BinMoments(variance, near)


def same_object(a: Box3D, b: Box3D) -> bool:
    """Whether two boxes with one label are the same object."""
    return a.label == b.label and iou_3d(a, b) >= SAME_OBJECT


def center_covariance(
    codec: BoxCodec, code: BoxCode, moments: Sequence[BinMoments | None], scale: float
) -> tuple[float, ...] | None:
    """Row-major 3x3 covariance of a box's centre, m^2, from the variances over its bins u, v, z; None if unknown."""
    known = [m for m in moments[:3] if m is not None]
    if len(known) < 3:
        return None
    rounding = 1 / 12  # uniform within a bin
    bins = np.diag([min(m.variance, BINS**2 / 12) + rounding for m in known])
    jacobian = codec.center_jacobian(code)
    return tuple(float(v) for v in (jacobian @ bins @ jacobian.T * scale).reshape(-1))


def _share_of_another(token: Token, words: BoxVocabulary) -> float:
    """For a bracket that is one token with the newline behind it: its share among the two ways to end a line.

    Choosing it means that another line follows; the digits that were possible instead do not matter.
    """
    if token.distribution is None:
        return 1.0
    both = float(token.distribution[words.close] + token.distribution[words.close_newline])
    return float(token.distribution[words.close_newline]) / both if both > 0 else 1.0


def _normalised(shares: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = shares.astype(np.float64)
    return exact / max(exact.sum(), _LEAST)


def _log(probability: float) -> float:
    return math.log(max(probability, _LEAST))
