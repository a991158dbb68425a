"""What a run says while it goes: one line that is rewritten on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter

from training.lift.shards import ShardSummary


class Progress:
    """Counts finished shards and prints images/s, rejections and the time that is left to stderr."""

    def __init__(self, shards: int, done: list[ShardSummary], every: float = 10.0) -> None:
        self._shards, self._finished = shards, len(done)
        self._images = self._samples = 0
        self._rejected: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._start = self._said = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._every = 0.5 if self._terminal else every
        if done:
            print(f"resuming: {len(done)} of {shards} shards are whole", file=sys.stderr, flush=True)

    def add(self, summary: ShardSummary) -> None:
        """Takes note of a finished shard."""
        self._finished += 1
        self._images += summary.images
        self._samples += summary.samples
        self._rejected.update(summary.rejected)
        self._problems.update(summary.problems)
        now = time.monotonic()
        if now - self._said >= self._every or self._finished == self._shards:
            self._said = now
            self._say(now - self._start)

    def _say(self, seconds: float) -> None:
        rate = self._images / seconds if seconds > 0 else 0.0
        made = max(self._images, 1)
        left = (self._shards - self._finished) * (made / max(self._finished, 1)) / rate if rate else 0.0
        worst = ", ".join(f"{reason} {n}" for reason, n in (self._rejected + self._problems).most_common(3))
        line = (
            f"{self._finished}/{self._shards} shards, {self._images} images, {rate:.1f} images/s, "
            f"{self._samples} samples, left out: {worst or 'none'}, {_span(left)} left"
        )
        end = "\n" if not self._terminal or self._finished == self._shards else ""
        print(("\r\x1b[K" if self._terminal else "") + line, end=end, file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
