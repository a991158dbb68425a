"""The TensorRT backend: runs the exported graphs as engines compiled for the local GPU."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from n3d_core.backends.base import cached_numbers, current_device, enough_memory, require_finite, use_device
from n3d_core.backends.sequence import SPARE_CACHES, CachedSequence, Chunk, ReusableCache, give_back, take_back
from n3d_core.backends.store import MOST_TOWERS, TOWER_BYTES, RecentlyUsed
from n3d_core.backends.tensorrt.engine import MAX_CHUNK, MAX_ROWS, BoundContext, Engine
from n3d_core.backends.tensorrt.supply import EngineStore
from n3d_core.errors import BackendError
from n3d_core.network.plan import ImagePlan
from n3d_core.network.preprocess import VisionInput

CHUNK, STEP = 0, 1  # indices of the optimisation profiles in `decoder_profiles`
_FEW = 4  # replies from which a shared pass, which no CUDA graph captures, is worth more than captured single steps


class TensorRTBackend:
    """Runs a checkpoint's engines.

    Args:
        engines: the checkpoint's engines.
        device: device of engines and buffers; a GPU, except in tests with a fake TensorRT.

    All uses of a context or an engine hold the device's lock (`use_device`): TensorRT objects must be used from one
    thread at a time, and a tower has one context and one set of buffers. This costs nothing: threads share one stream.

    Raises:
        EngineError: if an engine cannot be built or loaded.
    """

    def __init__(self, engines: EngineStore, reason: str = "asked for", device: str = "cuda") -> None:
        self.engines, self.config, self.reason = engines, engines.graphs.config, reason
        self.device = torch.device(device)
        self.least_shared = _FEW
        self.name = (
            f"tensorrt ({engines.api.name} {engines.api.version}, {engines.target}, {engines.graphs.precision.name})"
        )
        with current_device(self.device), enough_memory(self.name):
            engines.decoder()  # not under the lock: a build takes minutes, and other models can run meanwhile
            with use_device(self.device):
                self.decoder = engines.open_decoder()
        self.cache_dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[
            engines.graphs.precision.compute
        ]
        self._towers: RecentlyUsed[_Tower] = RecentlyUsed(MOST_TOWERS, TOWER_BYTES)
        self._free: deque[TensorRTCache] = deque(maxlen=SPARE_CACHES)

    @property
    def memory_bytes(self) -> int:
        """See `base.Backend.memory_bytes`."""
        return self.decoder.bytes + self._towers.bytes

    def step_bytes(self, context: int) -> int:
        """See `base.Backend.step_bytes`; an engine file is mostly weights."""
        return self.decoder.bytes + cached_numbers(self.config.text, context) * self.cache_dtype.itemsize

    def encode(self, image: VisionInput) -> NDArray[np.float32]:
        """Image tokens [tokens, hidden]."""
        with current_device(self.device), enough_memory(self.name):
            tower = self._tower(image.plan)
            with use_device(self.device):
                return tower.run(image)

    def start(self) -> CachedSequence:
        """An empty sequence; reuses the memory and contexts of a finished one if possible."""
        limit = min(self.engines.capacity, self.config.text.max_position_embeddings)
        longest = min(MAX_CHUNK, self.engines.capacity)
        cache = take_back(self._free, self, TensorRTCache)
        sequence = CachedSequence(self.config.text, self.engines.graphs.table, cache, limit, longest, MAX_ROWS)
        weakref.finalize(sequence, give_back, self._free, cache)
        return sequence

    def _tower(self, plan: ImagePlan) -> _Tower:
        def load() -> tuple[_Tower, int]:
            self.engines.vision(plan)  # as above
            with use_device(self.device):
                engine = self.engines.open_vision(plan)
                return _Tower(self, engine, plan), engine.bytes

        return self._towers.get((plan.grid_h, plan.grid_w), load)


class _Tower:
    """The vision engine of one image size, and its buffers."""

    def __init__(self, backend: TensorRTBackend, engine: Engine, plan: ImagePlan) -> None:
        vision = backend.config.vision
        shapes = {
            "patches": (1, plan.patches, vision.patch_values),
            "coordinates": (1, plan.patches, 3),
            "tokens": (1, plan.tokens, vision.out_hidden_size),
        }
        self._tensors = {name: torch.zeros(shape, device=backend.device) for name, shape in shapes.items()}
        self._engine = engine
        self._context = BoundContext(engine, engine.context(0), self._tensors)

    def run(self, image: VisionInput) -> NDArray[np.float32]:
        self._tensors["patches"].copy_(torch.from_numpy(image.patches)[None])
        self._tensors["coordinates"].copy_(torch.from_numpy(image.coordinates)[None])
        self._context.run()
        tokens: NDArray[np.float32] = self._tensors["tokens"][0].cpu().numpy().copy()
        self._engine.save_kernels()
        return tokens


class TensorRTCache(ReusableCache[TensorRTBackend]):
    """Keys and values of one sequence.

    The canonical graph updates one fixed-length buffer in place, and a bucket is the part of it that attention reads.
    The lowered graph cannot write in place: past and present are two buffers of the bucket's length, swapped after
    every pass.
    """

    def __init__(self, backend: TensorRTBackend) -> None:
        super().__init__(backend)
        self.in_place = backend.engines.graphs.capacity is not None
        text = backend.config.text
        self._names = [f"{part}.{index}" for index in range(text.num_hidden_layers) for part in ("key", "value")]
        self._past: dict[str, Tensor] = {}
        self._present: dict[str, Tensor] = {}
        self._steps: dict[tuple[int, int], _Pass] = {}  # by bucket and by the buffer that is the past
        self._turn = 0
        self._chunk_context: Any = None

    def reserve(self, bucket: int, used: int) -> None:
        """See `DecoderCache.reserve`."""
        with use_device(self._backend.device), enough_memory(self._backend.name):
            self._reserve(bucket, used)

    def _reserve(self, bucket: int, used: int) -> None:
        old, length = self._past, self._backend.engines.graphs.capacity or bucket
        if old and next(iter(old.values())).shape[2] == length:
            return  # a buffer updated in place has its full length from the start
        self._past = self._allocated(length)
        for name, values in old.items():
            self._past[name][:, :, :used] = values[:, :, :used]
        self._present = self._past if self.in_place else self._allocated(length)
        self._steps.clear()

    def run(self, chunk: Chunk, bucket: int) -> NDArray[np.float32]:
        """See `DecoderCache.run`."""
        with use_device(self._backend.device), enough_memory(self._backend.name):
            return self._run(chunk, bucket)

    def _run(self, chunk: Chunk, bucket: int) -> NDArray[np.float32]:
        if chunk.length == 1:
            key = (bucket, self._turn)
            if key not in self._steps:
                self._steps[key] = _Pass(self, self._backend.decoder.context(STEP), 1, 1, bucket)
            logits = self._steps[key].run(chunk)
        else:
            if self._chunk_context is None:
                self._chunk_context = self._backend.decoder.context(CHUNK)
            logits = _Pass(self, self._chunk_context, chunk.length, len(chunk.rows), bucket).run(chunk)
        try:
            require_finite(logits, self._backend.name, self._backend.engines.graphs.precision.compute)
        except BackendError:
            for values in self._past.values():  # masked, but a NaN there would spoil later passes
                values[:, :, chunk.start : chunk.end] = 0
            raise
        if not self.in_place:
            self._past, self._present = self._present, self._past
            self._turn = 1 - self._turn
        return logits

    def bound(self) -> dict[str, Tensor]:
        """Cache tensors by their names in the graph."""
        past = {f"past_{name}": self._past[name] for name in self._names}
        return past | {f"present_{name}": self._present[name] for name in self._names}

    def _allocated(self, length: int) -> dict[str, Tensor]:
        text, backend = self._backend.config.text, self._backend
        shape = (1, text.num_key_value_heads, length, text.head_size)
        return {name: torch.zeros(shape, dtype=backend.cache_dtype, device=backend.device) for name in self._names}


class _Pass:
    """Buffers and a context for chunks of one length in one bucket."""

    def __init__(self, cache: TensorRTCache, context: Any, length: int, rows: int, bucket: int) -> None:
        backend = cache.backend
        assert backend is not None
        text = backend.config.text
        blank = Chunk.blank(text, length, rows).inputs(bucket)
        self._inputs = {name: torch.tensor(values, device=backend.device) for name, values in blank.items()}
        self._logits = torch.zeros((rows, text.vocab_size), device=backend.device)
        tensors = self._inputs | {"logits": self._logits} | cache.bound()
        capture = length == 1 and backend.device.type == "cuda"
        self._context = BoundContext(backend.decoder, context, tensors, capture)
        self._bucket, self._engine = bucket, backend.decoder

    def run(self, chunk: Chunk) -> NDArray[np.float32]:
        """Logits [R, vocab] float32."""
        for name, array in chunk.inputs(self._bucket).items():
            self._inputs[name].copy_(torch.from_numpy(np.ascontiguousarray(array)))
        self._context.run()
        logits: NDArray[np.float32] = self._logits.cpu().numpy().copy()
        if chunk.length > 1:
            self._engine.save_kernels()
        return logits
