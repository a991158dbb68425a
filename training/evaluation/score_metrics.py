"""Quality of scores and covariances: calibration, ranking, and coverage of the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.grounding_metrics import Reply

_BINS = 10
_INTERVALS = {"68": 0.9945, "95": 1.95996}  # standard deviations that contain 68 % and 95 % of a Gaussian


def score_report(replies: Sequence[Reply]) -> dict[str, Any]:
    """The `scores` part of the report, over all boxes of all queries.

    `ece`: expected calibration error over ten bins with equal numbers of boxes; `auroc`: probability that a right box
    has a higher score than a wrong one; `interval_68`, `interval_95`: share of the coordinates of matched centres
    inside the interval given by the covariance.
    """
    scores, right = scored(replies)
    inside = standardised_errors(replies)
    return {
        "boxes": len(scores),
        "ece": calibration_error(scores, right),
        "auroc": ranking(scores, right),
        **{f"interval_{n}": float((inside <= k).mean()) if len(inside) else None for n, k in _INTERVALS.items()},
    }


def scored(replies: Sequence[Reply]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores [N] of all counted boxes, and whether each is right (IoU >= 0.25 with a target of its class)."""
    rows = []
    for reply in replies:
        good = {p.found for p in reply.correct(0.25)}
        rows += [(b.score, i in good) for i, b in enumerate(reply.found) if i not in reply.ignored]
    return np.array([s for s, _ in rows], dtype=float), np.array([r for _, r in rows], dtype=bool)


def calibration_error(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Mean |score - share of right boxes| over bins of equal numbers of boxes, weighted by their number."""
    if len(scores) == 0:
        return None
    groups = np.array_split(np.argsort(scores, kind="stable"), min(_BINS, len(scores)))
    return float(sum(len(g) * abs(scores[g].mean() - right[g].mean()) for g in groups) / len(scores))


def ranking(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve; None if all are right or all are wrong."""
    good, bad = scores[right], scores[~right]
    if len(good) == 0 or len(bad) == 0:
        return None
    return float((good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean())


def standardised_errors(replies: Sequence[Reply]) -> NDArray[np.float64]:
    """|error| / standard deviation of each coordinate of the centres of right boxes."""
    errors = []
    for reply in replies:
        for pair in reply.correct(0.25):
            box = reply.found[pair.found]
            if box.covariance is not None:
                sigma = np.sqrt(np.diag(np.reshape(box.covariance, (3, 3))))
                errors.append(np.abs(np.subtract(box.center, reply.true[pair.true].center)) / np.maximum(sigma, 1e-9))
    return np.concatenate(errors) if errors else np.zeros(0)
