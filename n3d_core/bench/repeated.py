"""Runs of which the median counts."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

log = logging.getLogger("n3d.bench")

LONG_ENOUGH = 30.0  # seconds

Result = TypeVar("Result")


def repeated(run: Callable[[], Result], repeat: int) -> list[Result]:
    """The results of up to `repeat` runs, of fewer once they have taken `LONG_ENOUGH` together.

    A run of the released sizes is some hundred passes of a tenth of a second, whose sum varies by a few per cent.
    """
    results: list[Result] = []
    begun = time.perf_counter()
    while len(results) < repeat and (not results or time.perf_counter() - begun < LONG_ENOUGH):
        started = time.perf_counter()
        results.append(run())
        log.info("  run %d of at most %d: %.1f s", len(results), repeat, time.perf_counter() - started)
    return results


def median_of(values: Iterable[float]) -> float:
    """To two decimals."""
    return round(float(statistics.median(values)), 2)
