"""Fits scores, existence, covariances and thresholds to validation scenes: `calibration.json` of a checkpoint folder.

    python -m training.calibrate --checkpoint out/tiny-reasoning/model --scenes 300

Scores and existence are logistic functions of a box's evidence (`n3d_core.evidence`). The score is the probability that
the box is right: 3D IoU of at least 0.25 with a target object of its class. Existence is the probability that the
queried object is in the scene. The covariance of the centre is scaled so that 68 % intervals contain the truth in 68 %
of cases. The score threshold maximises F1@0.25 over all named queries, present or absent; the existence threshold
maximises the mean of the share of present objects kept and of absent ones rejected. The scenes are used neither for
training nor in the standard suite.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from n3d_core.atomic_write import write_text
from n3d_core.decoding.calibration import CALIBRATION, STAGES
from n3d_core.errors import ConfigError
from n3d_core.models import find_model
from training.entry.command import described, run_command
from training.evaluation.grounding_metrics import NAMED, f1_with_absent, replies_of
from training.evaluation.running import run_suite
from training.evaluation.score_metrics import calibration_error, ranking, standardised_errors
from training.evaluation.suite import Amount, SceneSuite
from training.scenes.vocabulary import Vocabulary

_ONE_SIGMA = 0.6827  # share of a Gaussian within one standard deviation
_RIDGE = 1e-4  # keeps the weights finite if the evidence separates right from wrong
_FEWEST = 50  # boxes
_THRESHOLDS = np.round(np.arange(0, 0.65, 0.05), 2)
_EXISTENCE_THRESHOLDS = np.round(np.arange(0.3, 0.91, 0.05), 2)
_SURE = (0.9, 0.95, 0.97, 0.98, 0.99)
_WHOLE = STAGES["agreement"]
_RARELY = 0.005  # share of absent objects among boxes with confident depth and tokens


def fit_logistic(evidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logistic weights [1 + K] (one first) of evidence [N, K] by maximum likelihood."""
    inputs = np.concatenate([np.ones((len(evidence), 1)), evidence], axis=1)
    signs = np.where(right, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = signs * (inputs @ weights)
        slope = -signs / (1 + np.exp(margin))
        value = np.logaddexp(0, -margin).mean() + _RIDGE * (weights**2).sum()
        return float(value), inputs.T @ slope / len(inputs) + 2 * _RIDGE * weights

    start = np.zeros(inputs.shape[1])
    start[1:4] = 1.0  # the three token features
    return np.asarray(minimize(loss, start, jac=True, method="BFGS").x)


def fit_covariance(errors: NDArray[np.float64]) -> float:
    """The factor on variances that makes one standard deviation hold 68 % of standardised errors."""
    return float(np.quantile(errors, _ONE_SIGMA) ** 2)


@dataclass(frozen=True)
class Asked:
    """One grounding query: the evidence of its boxes, which boxes are right, and whether the target exists.

    Attributes:
        evidence: [7] each; [5] where everything was asked for, which nothing can agree with.
        right, counted: of each box; boxes of objects nobody asks for do not count.
        named: whether it asks by class or colour, present or absent.
    """

    evidence: list[NDArray[np.float64]]
    right: list[bool]
    counted: list[bool]
    present: bool
    named: bool


def asked_of(records: Sequence[dict[str, Any]]) -> list[Asked]:
    """The grounding queries of a run with recorded evidence."""
    entries = [entry for record in records for entry in record["groundings"] if "rect" not in entry]
    found = []
    for reply, entry in zip(replies_of(records), entries, strict=True):
        correct = {pair.found for pair in reply.correct(0.25)}
        found.append(
            Asked(
                [np.array(box["evidence"]) for box in entry["found"]],
                [i in correct for i in range(len(reply.found))],
                [i not in reply.ignored for i in range(len(reply.found))],
                bool(entry["objects"]),
                reply.kind in (*NAMED, "absent"),
            )
        )
    return found


def fit_existence(queries: Sequence[Asked]) -> dict[str, Any]:
    """The `existence` of `calibration.json`."""
    named = [query for query in queries if query.named and all(len(e) == _WHOLE for e in query.evidence)]
    rows = [(evidence, query.present) for query in named for evidence in query.evidence]
    evidence, present = np.array([e for e, _ in rows]), np.array([p for _, p in rows], dtype=bool)
    weights = {"depth": fit_logistic(evidence[:, :5], present), "agreement": fit_logistic(evidence, present)}
    early = _scores(evidence[:, :5], weights["depth"])
    sure = next((s for s in _SURE if not (early >= s).any() or (~present[early >= s]).mean() <= _RARELY), _SURE[-1])

    def found(query: Asked, least: float) -> bool:
        for e in query.evidence:
            first = _scores(e[None, :5], weights["depth"])[0]
            if (first if first >= sure else _scores(e[None], weights["agreement"])[0]) >= least:
                return True
        return False

    def balance(least: float) -> float:
        hits = [(found(query, least), query.present) for query in named]
        return float(np.mean([h for h, p in hits if p]) + np.mean([not h for h, p in hits if not p])) / 2

    best = max(_EXISTENCE_THRESHOLDS, key=balance)
    hits = [(found(query, best), query.present) for query in named]
    return {
        **{name: _rounded(values) for name, values in weights.items()},
        "threshold": round(float(best), 2),
        "sure": round(float(sure), 3),
        "present_kept": round(float(np.mean([h for h, p in hits if p])), 4),
        "absent_refused": round(float(np.mean([not h for h, p in hits if not p])), 4),
    }


def fit_threshold(
    records: Sequence[dict[str, Any]], queries: Sequence[Asked], weights: dict[str, NDArray[np.float64]]
) -> float:
    """The best score threshold in steps of 0.05; the lowest of equally good ones.

    Args:
        records: of the same run as `queries`.
        weights: of scores, by stage.
    """
    scores = [[_staged(e, weights) for e in query.evidence] for query in queries]

    def gain(least: float) -> float:
        left = iter(scores)

        def kept(grounding: dict[str, Any]) -> dict[str, Any]:
            if "rect" in grounding:
                return grounding
            return grounding | {"found": [b for b, s in zip(grounding["found"], next(left), strict=True) if s >= least]}

        return (
            f1_with_absent(
                replies_of([record | {"groundings": list(map(kept, record["groundings"]))} for record in records])
            )
            or 0.0
        )

    return float(_THRESHOLDS[int(np.argmax([gain(float(least)) for least in _THRESHOLDS]))])


def calibrate(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The contents of `calibration.json`.

    Raises:
        ConfigError: if there are too few boxes, or all are right or all wrong.
    """
    queries = asked_of(records)
    rows = [
        (evidence, right)
        for query in queries
        for evidence, right, counted in zip(query.evidence, query.right, query.counted, strict=True)
        if counted
    ]
    right = np.array([r for _, r in rows], dtype=bool)
    if len(rows) < _FEWEST or right.all() or not right.any():
        raise ConfigError(
            f"{len(rows)} boxes, {int(right.sum())} of them right: at least {_FEWEST} are required, right and wrong; "
            "use more --scenes, or train longer first"
        )
    evidence = np.array([e[:5] for e, _ in rows])
    compared = np.array([len(e) == _WHOLE for e, _ in rows])
    weights = {
        "tokens": fit_logistic(evidence[:, :3], right),
        "depth": fit_logistic(evidence, right),
        "agreement": fit_logistic(np.array([e for e, _ in rows if len(e) == _WHOLE]), right[compared]),
    }
    even = np.arange(len(rows)) % 2 == 0
    held_out = np.where(even, _scores(evidence, fit_logistic(evidence[~even], right[~even])), 0)
    held_out = np.where(even, held_out, _scores(evidence, fit_logistic(evidence[even], right[even])))
    return {
        "weights": _rounded(weights["tokens"]),
        "score": {stage: _rounded(weights[stage]) for stage in ("depth", "agreement")},
        "threshold": fit_threshold(records, queries, weights),
        "existence": fit_existence(queries),
        "covariance_scale": round(fit_covariance(standardised_errors(replies_of(records))), 4),
        "boxes": len(rows),
        "right": int(right.sum()),
        "cross_validated": {"ece": calibration_error(held_out, right), "auroc": ranking(held_out, right)},
    }


def _staged(evidence: NDArray[np.float64], weights: dict[str, NDArray[np.float64]]) -> float:
    return float(_scores(evidence[None], weights["agreement" if len(evidence) == _WHOLE else "depth"])[0])


def _scores(evidence: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-(weights[0] + evidence @ weights[1:]))))


def _rounded(weights: NDArray[np.float64]) -> list[float]:
    return [round(float(w), 5) for w in weights]


def validation_suite(folder: str | Path, scenes: int, seed: int) -> SceneSuite:
    """Grounding queries on scenes of the model's vocabulary, used neither for training nor in the standard suite."""
    taught = Vocabulary.of_model(folder)
    return SceneSuite(scenes, seed, amount=Amount(6, 0, 0), held_out="validation", vocabulary=taught)


def write_calibration(args: argparse.Namespace) -> dict[str, Any]:
    """Fits `calibration.json` of a checkpoint folder, writes and returns it."""
    folder = find_model(args.checkpoint)
    suite = validation_suite(folder, args.scenes, args.seed)
    fitted = calibrate(run_suite(folder, suite, args.workers, changes=("evidence",)))
    write_text(folder / CALIBRATION, json.dumps(fitted, indent=1) + "\n")
    return fitted


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = described(__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return run_command(write_calibration, parser, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
