"""Fits scores, covariances and a threshold to validation scenes and writes `calibration.json` into a checkpoint folder.

    python -m training.calibrate --checkpoint out/tiny-reasoning/model --scenes 300

A box's score becomes the probability that it is right (3D IoU of at least 0.25 with a meant object of its class): a
logistic function of the evidence of its tokens. The covariance of its centre is scaled so that 68 % intervals hold the
truth 68 times in 100. The threshold, the score below which boxes are left out, maximises F1@0.25 of all that is asked
by name, there or not: a box said of an absent object counts as a wrong one. The scenes are never trained on, nor are
they those of the standard suite.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from n3d_core.atomic_write import atomic_write
from n3d_core.decoding.calibration import CALIBRATION
from n3d_core.errors import ConfigError, N3DError
from n3d_core.models import find_model
from training.evaluation.grounding_metrics import f1_with_absent, replies_of
from training.evaluation.running import run_suite
from training.evaluation.score_metrics import calibration_error, ranking, standardised_errors
from training.evaluation.suite import Amount, SceneSuite
from training.scenes.vocabulary import Vocabulary

_ONE_SIGMA = 0.6827  # share of a Gaussian within one standard deviation
_RIDGE = 1e-4  # keeps the weights finite where the evidence separates right from wrong
_FEWEST = 50  # boxes
_THRESHOLDS = np.round(np.arange(0, 0.65, 0.05), 2)


def fit_scores(evidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logistic weights [4] (one, decision, class, bins) of evidence [N, 3] by maximum likelihood."""
    inputs = np.concatenate([np.ones((len(evidence), 1)), evidence], axis=1)
    signs = np.where(right, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = signs * (inputs @ weights)
        slope = -signs / (1 + np.exp(margin))
        value = np.logaddexp(0, -margin).mean() + _RIDGE * (weights**2).sum()
        return float(value), inputs.T @ slope / len(inputs) + 2 * _RIDGE * weights

    return np.asarray(minimize(loss, np.array([0.0, 1.0, 1.0, 1.0]), jac=True, method="BFGS").x)


def fit_covariance(errors: NDArray[np.float64]) -> float:
    """The factor on variances that makes one standard deviation hold 68 % of standardised errors."""
    return float(np.quantile(errors, _ONE_SIGMA) ** 2)


def fit_threshold(records: Sequence[dict[str, Any]], weights: NDArray[np.float64]) -> float:
    """The best threshold on scores in steps of 0.05; the lowest where several are.

    Args:
        records: with the evidence of each box.
        weights: [4] of `fit_scores`.
    """
    gains = [f1_with_absent(replies_of(_without(records, weights, least))) or 0.0 for least in _THRESHOLDS]
    return float(_THRESHOLDS[int(np.argmax(gains))])


def _without(records: Sequence[dict[str, Any]], weights: NDArray[np.float64], least: float) -> list[dict[str, Any]]:
    """The records without the boxes that score below `least`."""

    def kept(grounding: dict[str, Any]) -> dict[str, Any]:
        found = [b for b in grounding["found"] if _scores(np.array([b["evidence"]]), weights)[0] >= least]
        return grounding | {"found": found}

    return [record | {"groundings": [kept(g) for g in record["groundings"]]} for record in records]


def calibrate(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `calibration.json` holds.

    Raises:
        ConfigError: if there are too few boxes, or all are right or all wrong.
    """
    replies = replies_of(records)
    noted = [[b["evidence"] for b in g["found"]] for r in records for g in r["groundings"]]
    rows = [
        (evidence, index in {p.found for p in reply.correct(0.25)})
        for reply, own in zip(replies, noted, strict=True)
        for index, evidence in enumerate(own)
        if index not in reply.ignored
    ]
    right = np.array([r for _, r in rows], dtype=bool)
    if len(rows) < _FEWEST or right.all() or not right.any():
        raise ConfigError(
            f"{len(rows)} boxes, {int(right.sum())} of them right: at least {_FEWEST} are wanted, right and wrong; "
            "use more --scenes, or train longer first"
        )
    evidence = np.array([e for e, _ in rows])
    even = np.arange(len(rows)) % 2 == 0
    held_out = np.where(even, _scores(evidence, fit_scores(evidence[~even], right[~even])), 0)
    held_out = np.where(even, held_out, _scores(evidence, fit_scores(evidence[even], right[even])))
    weights = fit_scores(evidence, right)
    return {
        "weights": [round(float(w), 5) for w in weights],
        "threshold": fit_threshold(records, weights),
        "covariance_scale": round(fit_covariance(standardised_errors(replies)), 4),
        "boxes": len(rows),
        "right": int(right.sum()),
        "cross_validated": {"ece": calibration_error(held_out, right), "auroc": ranking(held_out, right)},
    }


def _scores(evidence: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-(weights[0] + evidence @ weights[1:]))))


def validation_suite(folder: str | Path, scenes: int, seed: int) -> SceneSuite:
    """Grounding queries on scenes of what the model is taught; never trained on, and none of the standard suite."""
    taught = Vocabulary.of_model(folder)
    return SceneSuite(scenes, seed, amount=Amount(6, 0, 0), held_out="validation", vocabulary=taught)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args(arguments)
    try:
        folder = find_model(args.checkpoint)
        suite = validation_suite(folder, args.scenes, args.seed)
        fitted = calibrate(run_suite(folder, suite, args.workers, changes=("evidence",)))
        with atomic_write(folder / CALIBRATION) as part:
            part.write_text(json.dumps(fitted, indent=1) + "\n")
    except (N3DError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(fitted))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
