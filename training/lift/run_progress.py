"""What a run says while it goes: shards, images, the most frequent reasons for leaving something out, and the time."""

from __future__ import annotations

import sys
from collections import Counter

from tqdm import tqdm

from training.lift.shards import ShardSummary


class Progress:
    """Counts finished shards on a bar on stderr."""

    def __init__(self, shards: int, done: list[ShardSummary]) -> None:
        self._images = self._samples = 0
        self._left_out: Counter[str] = Counter()
        if done:
            print(f"resuming: {len(done)} of {shards} shards are whole", file=sys.stderr, flush=True)
        self._bar = tqdm(total=shards, initial=len(done), unit="shard", file=sys.stderr, mininterval=1.0)

    def add(self, summary: ShardSummary) -> None:
        """Counts a finished shard."""
        self._images += summary.images
        self._samples += summary.samples
        self._left_out.update(summary.rejected)
        self._left_out.update(summary.problems)
        worst = ", ".join(f"{reason} {n}" for reason, n in self._left_out.most_common(3))
        rate = self._images / max(self._bar.format_dict["elapsed"], 1e-9)
        self._bar.set_postfix_str(
            f"{self._images} images, {rate:.1f} images/s, {self._samples} samples, left out: {worst or 'none'}",
            refresh=False,
        )
        self._bar.update()
