"""Rate, loss and silence of a topic, told from the few messages that are taken from it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW_S = 10.0
EVIDENCE = 10  # messages; of fewer nothing is concluded (discovery loses the first ones)


@dataclass(frozen=True)
class Sample:
    """What one batch of taken messages says.

    Attributes:
        time: when it was taken (monotonic seconds).
        published: messages that the publisher has sent since the sample before.
        expected: of them, those that would be in the batch had none been lost.
        received: those that were.
    """

    time: float
    published: int
    expected: int
    received: int


class TopicStatistics:
    """Counts over the last ten seconds, from the publisher's sequence numbers (rmw's `publication_sequence_number`).

    The middleware keeps the last few messages only, so what is taken says nothing by its number. But a publisher
    numbers its messages: the numbers between two batches give the published rate, and a gap *inside* a batch is a
    message that the transport lost.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._last_sequence: int | None = None
        self._since = time.monotonic()
        self.last_received_ns = 0
        self.is_numbered = True  # False once a message came without a number: then neither rate nor loss is known

    def record(self, batch: Sequence[tuple[int, int | None]], overflow: bool, now: float | None = None) -> None:
        """Adds a batch of (received nanoseconds, sequence number), oldest first.

        `overflow`: the batch filled the queue, so that messages between it and the last batch may have been replaced
        by newer ones; else it holds all that arrived.
        """
        now = time.monotonic() if now is None else now
        while self._samples and self._samples[0].time < now - WINDOW_S:
            self._since = self._samples.popleft().time
        if not batch:
            return
        self.last_received_ns = batch[-1][0]
        numbers = [number for _, number in batch if number is not None]
        self.is_numbered = bool(numbers)
        if not numbers:  # this middleware (Cyclone DDS) does not number messages
            self._samples.append(Sample(now, len(batch), len(batch), len(batch)))
            return
        restarted = any(b <= a for a, b in pairwise(numbers))
        known = self._last_sequence is not None and not restarted and numbers[0] > self._last_sequence
        base = self._last_sequence if known and self._last_sequence is not None else numbers[0] - 1
        before = numbers[0] - 1 if overflow else base
        if restarted:  # several publishers, or one that began again: their numbers cannot be told apart
            self._samples.append(Sample(now, len(batch), len(batch), len(batch)))
        else:
            self._samples.append(Sample(now, numbers[-1] - base, numbers[-1] - before, len(numbers)))
        self._last_sequence = numbers[-1]

    def published_hz(self, now: float | None = None) -> float:
        """Messages a second that the publisher has sent."""
        return self._total("published") / self._span(now)

    def received_hz(self, now: float | None = None) -> float:
        """Messages a second that came through the transport (whether or not they were looked at)."""
        return self.published_hz(now) * self.received_share()

    def received_share(self) -> float:
        """Share of the published messages that came through, 0..1; 1 where too little is known."""
        expected = self._total("expected")
        return self._total("received") / expected if expected >= EVIDENCE else 1.0

    def _total(self, name: str) -> int:
        return sum(getattr(sample, name) for sample in self._samples)

    def _span(self, now: float | None) -> float:
        end = time.monotonic() if now is None else now
        return max(end - self._since, 1e-3)
