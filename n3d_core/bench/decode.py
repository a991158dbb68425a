"""Single decoding steps against the ceiling that the memory sets: bytes a step must read, at the measured bandwidth."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from n3d_core.backends.base import Backend
from n3d_core.bench.machine import Machine
from n3d_core.model.plan import text_positions


@dataclass(frozen=True)
class DecodeSpeed:
    """Steps of one backend behind a context of `context` tokens.

    Attributes:
        step_ms: median of a step.
        bytes_per_step: weights of the decoder with its head, and the cache that attention reads.
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
    """Feeds random tokens, then single ones."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1000, context).tolist()
    sequence = backend.start()
    sequence.extend(ids, text_positions(0, context))
    times = []
    for place in range(context, context + steps):
        started = time.perf_counter()
        sequence.extend([int(rng.integers(0, 1000))], text_positions(place, 1))
        times.append(time.perf_counter() - started)
    step = statistics.median(times[2:])
    read = step_bytes(backend, context)
    ceiling = read / (machine.read_gb_s * 1e9)
    return DecodeSpeed(backend.name, context, round(step * 1e3, 3), read, round(1 / step, 2), round(ceiling / step, 3))


def step_bytes(backend: Any, context: int) -> int:
    """What one step reads: each weight of the decoder once, and keys and values of the context."""
    text = backend.config.text
    cached = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_size * context
    graphs = getattr(backend, "graphs", None)
    if graphs is not None:
        width = 2 if graphs.precision.compute != "fp32" else 4
        return int(graphs.decoder().weight_bytes + cached * width)
    network = backend.network
    weights = [*network.model.layers.parameters(), network.head_weight]
    return int(sum(w.numel() * w.element_size() for w in weights) + cached * weights[0].element_size())
