"""The reference backend: plain torch on the CPU or a GPU, with single steps replayed as a CUDA graph on a GPU."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from n3d_core.backends.base import cached_numbers, capture_graph, enough_memory, require_finite, use_device
from n3d_core.backends.sequence import SPARE_CACHES, TokenCount, require_pads
from n3d_core.backends.store import RecentlyUsed
from n3d_core.errors import BackendError, TextTooLongError
from n3d_core.network.model import KVCache, N3DNetwork, PlanTensors, causal_mask, mrope_tables
from n3d_core.network.plan import ImagePlan
from n3d_core.network.preprocess import VisionInput

_PLANS = 8  # image sizes whose index tensors are cached
_WARM_UP = 3  # runs before a capture, to let libraries choose kernels and allocate


class StaticStep:
    """Decodes one token and writes its key and value to a sequence's cache.

    Launching a thousand small kernels costs more than running them; a captured graph launches them together. The object
    holds no reference to itself, so that its graph's memory is freed immediately and not by the garbage collector.

    Args:
        cache: the sequence's cache; attention reads all of its capacity through a mask.
        capture: whether to capture a CUDA graph; otherwise the operations run one by one, on any device.
        compiled: whether `torch.compile` fuses pointwise operations first, which takes a minute.
    """

    def __init__(self, network: N3DNetwork, cache: KVCache, capture: bool, compiled: bool = False) -> None:
        head, device = network.config.text.head_size, cache.keys.device
        self._network, self._cache, self._capture = network, _IndexedCache(cache), capture
        self._token = torch.zeros(1, dtype=torch.long, device=device)
        self._cos = torch.zeros(1, 1, 1, head, device=device)
        self._sin = torch.zeros(1, 1, 1, head, device=device)
        self._mask = torch.zeros(1, cache.capacity, dtype=torch.bool, device=device)
        self._slots = torch.arange(cache.capacity, device=device)
        self._logits: Tensor = torch.empty(0)
        self._forward = torch.compile(_step, mode="max-autotune-no-cudagraphs") if compiled else _step
        self._graph: Any = None

    @torch.inference_mode()
    def run(self, token: int, position: NDArray[np.int64], start: int) -> NDArray[np.float32]:
        """Logits [1, vocab] after a token at M-RoPE position [3, 1] with `start` cached tokens before it."""
        cos, sin = mrope_tables(self._network.config.text, position)
        self._token.fill_(token)
        self._cos.copy_(torch.from_numpy(cos))
        self._sin.copy_(torch.from_numpy(sin))
        self._cache.index.fill_(start)
        self._mask.copy_(self._slots <= start)
        if self._capture and self._graph is None:
            self._graph = self._captured()
        if self._graph is None:
            self._run()
        else:
            self._graph.replay()
        logits: NDArray[np.float32] = self._logits.float().cpu().numpy()
        return logits

    def _run(self) -> None:
        self._logits = self._forward(self._network, self._token, self._cos, self._sin, self._mask, self._cache)

    def _captured(self) -> Any:
        """Captures the step as a CUDA graph; None if that fails, and then its operations run one by one.

        The runs before a capture write to the slot of the next token, so the sequence's contents stay intact whether
        the capture succeeds or not.
        """
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._run()
        torch.cuda.current_stream().wait_stream(side)
        graph = capture_graph(self._run)
        self._capture = graph is not None
        return graph


def _step(network: N3DNetwork, token: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: KVCache) -> Tensor:
    embedding = F.embedding(token, network.model.embed_tokens.weight)
    hidden = network.model(embedding[None], cos, sin, mask, cache, 0)
    return network.logits(hidden[0])


class _IndexedCache(KVCache):
    """A view of another cache that writes at a tensor index and reads in full, so that shapes are fixed."""

    def __init__(self, cache: KVCache) -> None:
        self.keys, self.values = cache.keys, cache.values
        self.index = torch.zeros(1, dtype=torch.long, device=cache.keys.device)

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `KVCache.write`; `start` is ignored."""
        self.keys[layer].index_copy_(2, self.index, keys)
        self.values[layer].index_copy_(2, self.index, values)
        return self.keys[layer], self.values[layer]


FIRST_CAPACITY = 512
_FEW = 4  # replies from which a shared pass, which no CUDA graph captures, is worth more than captured single steps


class TorchBackend:
    """Runs a network on its device in its type.

    Args:
        static_steps: whether single steps have fixed shapes (captured as a CUDA graph on a GPU); None: only on a GPU.
        compiled: whether `torch.compile` fuses the step first.
    """

    def __init__(
        self, network: N3DNetwork, reason: str = "asked for", static_steps: bool | None = None, compiled: bool = False
    ) -> None:
        self.network = network
        self.config = network.config
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.name = f"torch ({self.device})"
        self.reason = reason
        self.memory_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
        self.static_steps = self.device.type == "cuda" if static_steps is None else static_steps
        self.compiled = compiled
        self.least_shared = _FEW if self.static_steps else 2
        self._free: deque[_Slot] = deque(maxlen=SPARE_CACHES)
        self._plans: RecentlyUsed[PlanTensors] = RecentlyUsed(_PLANS, 1 << 62)

    def step_bytes(self, context: int) -> int:
        """See `base.Backend.step_bytes`."""
        weights = [*self.network.model.layers.parameters(), self.network.head_weight]
        cached = cached_numbers(self.config.text, context) * self.dtype.itemsize
        return sum(w.numel() * w.element_size() for w in weights) + cached

    @torch.inference_mode()
    def encode(self, image: VisionInput) -> Tensor:
        """Image tokens [tokens, hidden]."""
        with self.using(), enough_memory(self.name):
            patches = torch.from_numpy(image.patches)[None].to(self.device, self.dtype)
            coordinates = torch.from_numpy(image.coordinates)[None].to(self.device)
            tokens: Tensor = self.network.visual(patches, coordinates, self._plan(image.plan))[0]
            return tokens

    def start(self) -> TorchSequence:
        """An empty sequence; reuses the memory of a finished one if possible."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = _Slot(self.allocate(FIRST_CAPACITY))
        sequence = TorchSequence(self, slot)
        weakref.finalize(sequence, self._free.append, slot)
        return sequence

    def allocate(self, capacity: int) -> KVCache:
        """Allocates a cache for `capacity` tokens.

        Raises:
            BackendError: if there is not enough memory.
        """
        with self.using(), enough_memory(self.name):
            return KVCache(self.config.text, capacity, device=self.device, dtype=self.dtype)

    def using(self) -> AbstractContextManager[None]:
        """The device's lock, held while it is used. The CPU needs no lock."""
        return use_device(self.device) if self.device.type == "cuda" else nullcontext()

    def _plan(self, plan: ImagePlan) -> PlanTensors:
        return self._plans.get((plan.grid_h, plan.grid_w), lambda: (PlanTensors(plan, self.device), 0))


@dataclass
class _Slot:
    """A cache and the step captured on it, reused between frames."""

    cache: KVCache
    step: StaticStep | None = None


class TorchSequence(TokenCount):
    """A sequence whose cache grows by doubling and is written by index."""

    def __init__(self, backend: TorchBackend, slot: _Slot) -> None:
        super().__init__()
        self._backend, self._slot = backend, slot

    @property
    def limit(self) -> int:
        """See `base.Sequence.limit`."""
        return self._backend.config.text.max_position_embeddings

    @torch.inference_mode()
    def extend(
        self,
        ids: list[int],
        positions: NDArray[np.int64],
        image: Tensor | None = None,
        rows: int = 1,
        sees: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """See `Sequence.extend`."""
        with self._backend.using(), enough_memory(self._backend.name):
            return self._extend(ids, positions, image, rows, sees)

    def _extend(
        self,
        ids: list[int],
        positions: NDArray[np.int64],
        image: Tensor | None,
        rows: int,
        sees: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        backend, network = self._backend, self._backend.network
        end = self._length + len(ids)
        self._reserve(end)
        if backend.static_steps and len(ids) == 1 and image is None and sees is None:
            return self._static_step(ids[0], positions)
        tokens = torch.tensor(ids, device=backend.device)
        embeddings = F.embedding(tokens, network.model.embed_tokens.weight)
        if image is not None:
            pads = tokens == backend.config.image_token_id
            require_pads(int(pads.sum()), len(image))
            embeddings[pads] = image.to(embeddings.dtype)
        cos, sin = (torch.from_numpy(t).to(backend.device) for t in mrope_tables(backend.config.text, positions))
        if sees is None:
            mask = causal_mask(len(ids), self._length, backend.device)
        else:
            mask = torch.from_numpy(sees).to(backend.device)
        hidden = network.model(embeddings[None], cos[None, None], sin[None, None], mask, self._slot.cache, self._length)
        return self._kept(network.logits(hidden[0, -rows:]).float().cpu().numpy(), end)

    def _static_step(self, token: int, position: NDArray[np.int64]) -> NDArray[np.float32]:
        backend, slot = self._backend, self._slot
        if slot.step is None:
            slot.step = StaticStep(backend.network, slot.cache, backend.device.type == "cuda", backend.compiled)
        return self._kept(slot.step.run(token, position, self._length), self._length + 1)

    def _kept(self, logits: NDArray[np.float32], end: int) -> NDArray[np.float32]:
        """Accepts a chunk that ends at `end` if its logits are finite."""
        cache, start = self._slot.cache, self._length
        try:
            require_finite(logits, self._backend.name, str(self._backend.dtype).removeprefix("torch."))
        except BackendError:
            for values in (cache.keys, cache.values):  # masked, yet a NaN there would spoil whatever comes later
                values[..., start:end, :] = 0
            raise
        self._length = end
        return logits

    def _reserve(self, length: int) -> None:
        if length > self.limit:
            raise TextTooLongError(
                f"the sequence would have {length} tokens; the model's limit is {self.limit}: shorten the text"
            )
        slot = self._slot
        capacity = slot.cache.capacity
        if length <= capacity:
            return
        while capacity < length:
            capacity *= 2
        old, slot.cache, slot.step = slot.cache, self._backend.allocate(capacity), None
        slot.cache.keys[..., : self._length, :] = old.keys[..., : self._length, :]
        slot.cache.values[..., : self._length, :] = old.values[..., : self._length, :]
