"""What a parity check found: the largest error of each stage against its tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Largest absolute difference allowed; a stage that is not named must be exact. Those of image_embeds and logits are
# GOLDEN.md's, the others leave the same room (5 to 10 times the noise of fp32) to what lies before them.
TOLERANCES = {
    "pe_before_rounding": 5e-3,  # fp32 pooling is off from fp64 by up to 3.4e-3, one unit being one rounding step
    "patch_embed": 5e-5,
    "vision_blocks": 5e-5,
    "merger_input": 5e-5,
    "pe_features": 1e-5,
    "image_embeds": 2e-5,
    "decoder_layers": 5e-5,
    "last_hidden": 5e-5,
    "logits": 1e-4,
    "greedy_logits": 1e-4,
    "greedy_margins": 2e-4,  # the difference of two logits
    "sine": 1e-5,
    "unproject": 1e-9,
    "corners": 1e-9,
    "normalisation": 1e-12,
    "product_conditions": 0.0101,  # one unit of the last printed digit: a tie may round the other way
}
_SHOWN = 12  # failures of a stage that are printed


@dataclass
class Stage:
    """One row of the table."""

    checks: int = 0
    error: float = 0.0
    failures: list[str] = field(default_factory=list)


class Report:
    """Collects comparisons. A comparison never raises; what does not fit becomes a failure of its stage."""

    def __init__(self) -> None:
        self.cases = 0
        self.stages: dict[str, Stage] = {}

    def near(self, stage: str, what: str, ours: Any, golden: Any) -> None:
        """Compares numbers of one shape; NaN equals NaN only."""
        a, b = np.asarray(ours), np.asarray(golden)
        if a.shape != b.shape:
            return self.fail(stage, what, f"shape must be {list(b.shape)}; got {list(a.shape)}")
        error = _largest_difference(a, b)
        tolerance = TOLERANCES.get(stage, 0.0)
        self._add(stage, error, None if error <= tolerance else f"{what}: off by {error:.3g}, {tolerance:g} allowed")
        return None

    def same(self, stage: str, what: str, ours: Any, golden: Any) -> None:
        """Compares anything else: equal or not."""
        equal = bool(ours == golden)
        self._add(
            stage, 0.0 if equal else 1.0, None if equal else f"{what}: expected {_short(golden)}; got {_short(ours)}"
        )

    def fail(self, stage: str, what: str, why: str) -> None:
        """Records something that could not even be compared."""
        self._add(stage, math.inf, f"{what}: {why}")

    @contextmanager
    def guarded(self, stage: str, what: str) -> Iterator[None]:
        """Turns whatever malformed golden files raise into a failure of a stage; the others are still checked."""
        try:
            yield
        except Exception as error:
            self.fail(stage, what, f"{type(error).__name__}: {error}")

    @property
    def passed(self) -> bool:
        """Whether something was checked, and all of it within tolerance."""
        return bool(self.stages) and not any(s.failures for s in self.stages.values())

    def table(self) -> str:
        """For people: a row a stage, then the failures."""
        lines = [f"{'stage':<20} {'largest error':>13} {'tolerance':>10} {'checks':>7}"]
        for name, stage in self.stages.items():
            mark = "" if not stage.failures else f"  FAILED ({len(stage.failures)})"
            tolerance = TOLERANCES.get(name, 0.0)
            limit = f"{tolerance:g}" if tolerance else "exact"
            lines.append(f"{name:<20} {stage.error:>13.3g} {limit:>10} {stage.checks:>7}{mark}")
        for name, stage in self.stages.items():
            lines += [f"{name}: {failure}" for failure in stage.failures[:_SHOWN]]
            if len(stage.failures) > _SHOWN:
                lines.append(f"{name}: and {len(stage.failures) - _SHOWN} more")
        return "\n".join(lines)

    def summary(self) -> dict[str, Any]:
        """For programs; an error that is no number (a shape, a missing file) is null."""
        return {
            "cases": self.cases,
            "checks": sum(s.checks for s in self.stages.values()),
            "skipped": 0,
            "passed": self.passed,
            "failed": [name for name, stage in self.stages.items() if stage.failures],
            "errors": {n: s.error if math.isfinite(s.error) else None for n, s in self.stages.items()},
        }

    def _add(self, name: str, error: float, failure: str | None) -> None:
        stage = self.stages.setdefault(name, Stage())
        stage.checks += 1
        stage.error = max(stage.error, error)
        if failure is not None:
            stage.failures.append(failure)


def _largest_difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.nan_to_num(difference, nan=np.inf).max())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:120]} … {text[-60:]}"
