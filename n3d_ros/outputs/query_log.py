"""What the node remembers of its queries, for the diagnostics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from n3d_ros.msg import Result

RECENT = 100
_SAYS_NOTHING = (Result.CANCELLED, Result.REPLACED, Result.BUSY, Result.NOT_ACTIVE)


@dataclass
class QueryLog:
    """Counts by status, latencies of the last queries, the last status and the last error; written by several threads.

    What a client cancels, or asks of a busy or inactive node, says nothing of how queries fare: it counts, and leaves
    the last status as it is.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    ages_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    stages_ms: dict[str, float] = field(default_factory=dict)
    last_status: int = Result.OK
    last_error: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def succeeded(self, times: dict[str, float], age_ms: float) -> None:
        """Notes an answered query: its stages, and how old its image was when it was taken."""
        with self._lock:
            self.statuses[Result.OK] += 1
            self.last_status = Result.OK
            self.latencies_ms.append(sum(times.values()))
            self.ages_ms.append(age_ms)
            self.stages_ms = dict(times)

    def failed(self, status: int, message: str) -> None:
        """Notes a query that was not answered."""
        with self._lock:
            self.statuses[status] += 1
            if status not in _SAYS_NOTHING:
                self.last_status = status
            if status not in (Result.CANCELLED, Result.REPLACED):
                self.last_error = message

    def snapshot(self) -> QueryLog:
        """A copy that does not change while it is read."""
        with self._lock:
            return QueryLog(
                Counter(self.statuses),
                deque(self.latencies_ms),
                deque(self.ages_ms),
                dict(self.stages_ms),
                self.last_status,
                self.last_error,
            )
