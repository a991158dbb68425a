"""Single decoding steps against the ceiling that the memory sets: bytes a step must read, at the measured bandwidth."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.bench.machine import Machine
from n3d_core.network.plan import text_positions


@dataclass(frozen=True)
class DecodeSpeed:
    """Steps of one backend behind a context of `context` tokens.

    Attributes:
        step_ms: median of a step.
        bytes_per_step: weights of the decoder with its head, and keys and values of the context.
        ceiling_share: the least time that reading them takes, over the time of a step. Above 1 the model lies in the
            processor's caches.
    """

    backend: str
    context: int
    step_ms: float
    bytes_per_step: int
    tokens_per_s: float
    ceiling_share: float


def measure_decode(backend: Backend, machine: Machine, context: int = 400, steps: int = 12) -> DecodeSpeed:
    """Feeds `context` random tokens, then `steps` single ones; the median leaves out the first two of these."""
    rng = np.random.default_rng(0)
    words = min(1000, backend.config.text.vocab_size)
    ids = rng.integers(0, words, context).tolist()
    sequence = backend.start()
    sequence.extend(ids, text_positions(0, context))
    times = []
    for place in range(context, context + steps):
        started = time.perf_counter()
        sequence.extend([int(rng.integers(0, words))], text_positions(place, 1))
        times.append(time.perf_counter() - started)
    step = statistics.median(times[2:])
    read = backend.step_bytes(context)
    ceiling = read / (machine.read_gb_s * 1e9)
    return DecodeSpeed(backend.name, context, round(step * 1e3, 3), read, round(1 / step, 2), round(ceiling / step, 3))
