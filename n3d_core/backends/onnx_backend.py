"""ONNX Runtime on the CPU: the exported graphs, with the KV cache bound in place."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.base import cached_numbers, enough_memory, require_finite
from n3d_core.backends.export.graph import Graph, GraphStore
from n3d_core.backends.sequence import SPARE_CACHES, CachedSequence, Chunk, ReusableCache, give_back, take_back
from n3d_core.backends.store import MOST_TOWERS, TOWER_BYTES, RecentlyUsed, Store
from n3d_core.errors import BackendError, optional
from n3d_core.network.plan import ImagePlan
from n3d_core.network.preprocess import VisionInput

_NO_LIMIT = 1 << 30
_SMALL = 64 << 20  # bytes of weights: below this, synchronising a second thread costs more than it saves
_SMALL_CACHE = 64 << 20  # bytes of all buckets: above this, only the last one is kept
_LONG = 96  # tokens: chunks from this length on are worth a second thread even to a small decoder
_KEPT = 32  # tokens: chunks up to this length (steps, forced tokens, drafts) recur; prompts do not


def import_onnxruntime() -> Any:
    """Imports ONNX Runtime.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    with optional("the onnx backend needs ONNX Runtime", "'n3d-ros[onnxruntime]'"):
        import onnxruntime
    onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxBackend:
    """Runs a checkpoint's exported graphs.

    Args:
        graphs: the checkpoint's graphs, with a cache of symbolic length.
        threads: threads per graph; 0 uses one per core, and one for a small decoder's short chunks.

    Raises:
        MissingDependencyError: if ONNX Runtime is not installed.
        BackendError: if it cannot load the graphs.
    """

    def __init__(self, graphs: GraphStore, threads: int = 0, reason: str = "asked for") -> None:
        self.graphs, self.config, self.reason = graphs, graphs.config, reason
        self.name = f"onnx (cpu, {graphs.precision.name})"
        self._threads = threads
        self.least_shared = 2
        self.cache_type = np.float16 if graphs.precision.compute == "fp16" else np.float32
        decoder = graphs.decoder()
        small = not threads and decoder.weight_bytes < _SMALL
        self.decoder = self._session(decoder, 1 if small else threads)
        self.long_decoder = self._session(decoder, 0) if small else self.decoder
        self._decoder_bytes = decoder.weight_bytes
        self._towers: RecentlyUsed[Any] = RecentlyUsed(MOST_TOWERS, TOWER_BYTES)
        self._free: deque[OnnxCache] = deque(maxlen=SPARE_CACHES)

    @property
    def memory_bytes(self) -> int:
        """See `base.Backend.memory_bytes`."""
        sessions = 1 if self.long_decoder is self.decoder else 2
        return sessions * self._decoder_bytes + self._towers.bytes

    def step_bytes(self, context: int) -> int:
        """See `base.Backend.step_bytes`."""
        cached = cached_numbers(self.config.text, context) * np.dtype(self.cache_type).itemsize
        return self._decoder_bytes + cached

    def encode(self, image: VisionInput) -> NDArray[np.float32]:
        """Image tokens [tokens, hidden]."""
        feed = {"patches": image.patches[None], "coordinates": image.coordinates[None]}
        tower = self._tower(image.plan)
        with self.running("vision"):
            tokens: NDArray[np.float32] = tower.run(["tokens"], feed)[0][0]
        return tokens

    @contextmanager
    def running(self, graph: str) -> Iterator[None]:
        """Turns ONNX Runtime's exceptions while running the `vision` or `decoder` graph into a BackendError."""
        try:
            yield
        except Exception as error:  # its own types, which derive from Exception alone
            version, said = import_onnxruntime().__version__, " ".join(str(error).split())
            raise BackendError(
                f"ONNX Runtime {version} failed to run the {graph} graph ({self.graphs.precision.name}) of "
                f"{self.graphs.folder}: {said}; free memory or use --backend torch; if it persists, delete "
                f"{Store().root} so that the graph is exported again"
            ) from error

    def start(self) -> CachedSequence:
        """An empty sequence; reuses the memory and bindings of a finished one if possible."""
        text = self.config.text
        cache = take_back(self._free, self, OnnxCache)
        sequence = CachedSequence(
            text, self.graphs.table, cache, text.max_position_embeddings, _NO_LIMIT, _NO_LIMIT, fine=True
        )
        weakref.finalize(sequence, give_back, self._free, cache)
        return sequence

    def _tower(self, plan: ImagePlan) -> Any:
        def load() -> tuple[Any, int]:
            graph = self.graphs.vision(plan)
            return self._session(graph, self._threads), graph.weight_bytes

        return self._towers.get((plan.grid_h, plan.grid_w), load)

    def _session(self, graph: Graph, threads: int) -> Any:
        ort, path = import_onnxruntime(), graph.path
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads would take cores from torch and numpy, which prepare the next frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0" if graph.weight_bytes < _SMALL else "1")
        options.log_severity_level = 3
        disabled = []
        if self.graphs.precision.weight_bits is not None:
            options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "4")  # int8 activations
            disabled = ["MatMulAddFusion"]  # it would prevent the fusion of integer weights
        try:
            return ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
            )
        except Exception as error:  # ONNX Runtime raises its own types, which derive from Exception alone
            raise BackendError(f"{path}: ONNX Runtime {ort.__version__} cannot run this graph: {error}") from error


class OnnxCache(ReusableCache[OnnxBackend]):
    """Keys and values of one sequence. Past and present share memory, so nothing is copied.

    The memory of each small bucket is kept, so the next sequence allocates and binds nothing.
    """

    def __init__(self, backend: OnnxBackend) -> None:
        super().__init__(backend)
        self._layers: list[tuple[str, NDArray[Any]]] = []
        self._bindings: dict[tuple[int, int], _Binding] = {}  # reused: a pass costs the graph and a few small copies
        self._buckets: dict[int, tuple[list[tuple[str, NDArray[Any]]], dict[tuple[int, int], _Binding]]] = {}

    def reserve(self, bucket: int, used: int) -> None:
        """See `DecoderCache.reserve`."""
        old = self._layers
        if bucket not in self._buckets:
            self._buckets[bucket] = self._allocated(bucket), {}
        self._layers, self._bindings = self._buckets[bucket]
        if sum(values.nbytes for layers, _ in self._buckets.values() for _, values in layers) > _SMALL_CACHE:
            self._buckets = {bucket: (self._layers, self._bindings)}
        for (_, new), (_, values) in zip(self._layers, old if used else (), strict=False):
            new[:, :, :used] = values[:, :, :used]

    def _allocated(self, bucket: int) -> list[tuple[str, NDArray[Any]]]:
        text = self._backend.config.text
        shape = (1, text.num_key_value_heads, bucket, text.head_size)
        names = [f"{part}.{index}" for index in range(text.num_hidden_layers) for part in ("key", "value")]
        with enough_memory(self._backend.name):
            return [(name, np.zeros(shape, self._backend.cache_type)) for name in names]

    def run(self, chunk: Chunk, bucket: int) -> NDArray[np.float32]:
        """See `DecoderCache.run`."""
        backend, shape = self._backend, (chunk.length, len(chunk.rows))
        with backend.running("decoder"):
            binding = self._bindings.get(shape) or _Binding(self, backend, *shape, bucket)
            if chunk.length <= _KEPT:
                self._bindings[shape] = binding
            logits = binding.run(chunk)
        try:
            require_finite(logits, backend.name, backend.graphs.precision.compute)
        except BackendError:
            for _, values in self._layers:  # masked, but a NaN there would spoil later passes
                values[:, :, chunk.start : chunk.end] = 0
            raise
        return logits

    def bind(self, binding: Any) -> None:
        """Binds each layer's memory as both past and present."""
        for name, values in self._layers:
            place = ("cpu", 0, values.dtype, values.shape, values.ctypes.data)
            binding.bind_input(f"past_{name}", *place)
            binding.bind_output(f"present_{name}", *place)


class _Binding:
    """Inputs and outputs for chunks of one length, bound once and run many times."""

    def __init__(self, cache: OnnxCache, backend: OnnxBackend, length: int, rows: int, bucket: int) -> None:
        text = backend.config.text
        blank = Chunk.blank(text, length, rows).inputs(bucket)
        self.inputs = {name: values.copy() for name, values in blank.items()}
        self._logits = np.empty((rows, text.vocab_size), np.float32)
        self._session = backend.long_decoder if length >= _LONG else backend.decoder
        self._binding = self._session.io_binding()
        for name, values in self.inputs.items():
            self._binding.bind_input(name, "cpu", 0, values.dtype, values.shape, values.ctypes.data)
        self._binding.bind_output("logits", "cpu", 0, np.float32, self._logits.shape, self._logits.ctypes.data)
        cache.bind(self._binding)

    def run(self, chunk: Chunk) -> NDArray[np.float32]:
        """Logits [R, vocab], a new array."""
        for name, values in chunk.inputs(self.inputs["mask"].shape[-1]).items():
            self.inputs[name][:] = values
        self._session.run_with_iobinding(self._binding)
        return self._logits.copy()
