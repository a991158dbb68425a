"""An instrumented backend: counts encoded images, records fed tokens, and times each pass.

With a script it also prescribes the replies, so that random weights can be measured on realistic ones: the network runs
in full, and its logits are shifted to the prescribed token.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.base import Backend, Sequence
from n3d_core.network.preprocess import VisionInput


@dataclass
class Script:
    """Replies, in order; each starts where a chunk ends with `cue`."""

    cue: list[int]
    replies: list[list[int]]


@dataclass
class Observations:
    """Counts since the last `forget`."""

    vision_runs: int = 0
    prefix_tokens_recomputed: int = 0
    passes: list[tuple[int, float]] = field(default_factory=list)  # tokens of a chunk, seconds


class ObservedBackend:
    """Wraps a backend; see `base.Backend`."""

    def __init__(self, inner: Backend, script: Script | None = None) -> None:
        self.inner, self.script = inner, script
        self.config, self.name, self.reason = inner.config, inner.name, inner.reason
        self.seen = Observations()
        self.image: VisionInput | None = None
        self._prefixes = 0

    @property
    def memory_bytes(self) -> int:
        """See `base.Backend.memory_bytes`."""
        return self.inner.memory_bytes

    @property
    def least_shared(self) -> int:
        """See `base.Backend`. A prescribed reply has its passes to itself."""
        return self.inner.least_shared if self.script is None else sys.maxsize

    def forget(self) -> None:
        """Counts anew."""
        self.seen = Observations()

    def prescribe(self, cue: list[int], replies: list[list[int]]) -> None:
        """Prescribes the next replies after `cue`, in order."""
        self.script = Script(cue, list(replies))

    def step_bytes(self, context: int) -> int:
        """See `base.Backend.step_bytes`."""
        return self.inner.step_bytes(context)

    def encode(self, image: VisionInput) -> Any:
        """See `base.Backend.encode`."""
        self.seen.vision_runs += 1
        self.image = image
        return self.inner.encode(image)

    def start(self) -> Sequence:
        """See `base.Backend.start`."""
        return _ObservedSequence(self, self.inner.start())


class _ObservedSequence:
    def __init__(self, backend: ObservedBackend, inner: Sequence) -> None:
        self._backend, self.inner = backend, inner
        self._ids: list[int] = []
        self._prefix = 0  # tokens up to the image's end
        self._reply: list[int] | None = None
        self._begun = 0  # position of the reply's first token

    @property
    def length(self) -> int:
        return self.inner.length

    @property
    def limit(self) -> int:
        return self.inner.limit

    def truncate(self, length: int) -> None:
        self.inner.truncate(length)
        del self._ids[length:]

    def extend(
        self,
        ids: list[int],
        positions: NDArray[np.int64],
        image: Any = None,
        rows: int = 1,
        sees: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """See `base.Sequence.extend`."""
        seen = self._backend.seen
        seen.prefix_tokens_recomputed += max(0, min(self._prefix, len(self._ids) + len(ids)) - len(self._ids))
        started = time.perf_counter()
        logits = self.inner.extend(ids, positions, image, rows, sees)
        seen.passes.append((len(ids), time.perf_counter() - started))
        self._ids += ids
        if image is not None:
            self._prefix = len(self._ids)
        script = self._backend.script
        if script is not None:
            self._prescribe(script, logits)
        return logits

    def _prescribe(self, script: Script, logits: NDArray[np.float32]) -> None:
        if script.replies and self._ids[-len(script.cue) :] == script.cue:
            self._reply, self._begun = script.replies.pop(0), len(self._ids)
        if self._reply is None:
            return
        for back, row in enumerate(logits[::-1]):
            said = self._ids[self._begun : len(self._ids) - back]
            if len(said) < len(self._reply) and said == self._reply[: len(said)]:
                row[self._reply[len(said)]] = row.max() + 30.0
