"""A single decoding step of fixed shapes on torch, which a GPU replays as one CUDA graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from n3d_core.network.decoder import KVCache, mrope_tables
from n3d_core.network.model import N3DNetwork

_WARM_UP = 3  # runs before a capture, in which libraries choose kernels and allocate


class StaticStep:
    """One token through the decoder, its key and value written into a sequence's cache.

    Launching a thousand small kernels costs more than running them; captured once, they are launched together.

    Args:
        cache: of the sequence; attention reads all of its capacity through a mask.
        capture: as a CUDA graph; without, the same operations run one by one (and on any device).
        compiled: whether `torch.compile` fuses the pointwise operations first, which takes a minute.
    """

    def __init__(self, network: N3DNetwork, cache: KVCache, capture: bool, compiled: bool = False) -> None:
        head, device = network.config.text.head_size, cache.keys.device
        self._network, self._cache = network, _IndexedCache(cache)
        self._token = torch.zeros(1, dtype=torch.long, device=device)
        self._cos = torch.zeros(1, 1, 1, head, device=device)
        self._sin = torch.zeros(1, 1, 1, head, device=device)
        self._mask = torch.zeros(1, cache.capacity, dtype=torch.bool, device=device)
        self._slots = torch.arange(cache.capacity, device=device)
        self._logits: Tensor = torch.empty(0)
        self._forward = torch.compile(self._step, mode="max-autotune-no-cudagraphs") if compiled else self._step
        self._graph: Any = self._captured() if capture else None

    @torch.inference_mode()
    def run(self, token: int, position: NDArray[np.int64], start: int) -> NDArray[np.float32]:
        """Logits [1, vocab] behind a token at M-RoPE position [3, 1], with `start` tokens before it."""
        cos, sin = mrope_tables(self._network.config.text, position)
        self._token.fill_(token)
        self._cos.copy_(torch.from_numpy(cos))
        self._sin.copy_(torch.from_numpy(sin))
        self._cache.index.fill_(start)
        self._mask.copy_(self._slots <= start)
        if self._graph is None:
            self._logits = self._forward()
        else:
            self._graph.replay()
        logits: NDArray[np.float32] = self._logits.float().cpu().numpy()
        return logits

    def _step(self) -> Tensor:
        embedding = F.embedding(self._token, self._network.model.embed_tokens.weight)
        hidden = self._network.model(embedding[None], self._cos, self._sin, self._mask, self._cache, 0)
        return self._network.logits(hidden[0])

    @torch.inference_mode()
    def _captured(self) -> Any:
        # What the warm-up writes lies at slot 0 and is put back: the sequence may hold a prompt already.
        kept = [t[:, :, :, :1].clone() for t in (self._cache.keys, self._cache.values)]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._mask[:, 0] = True
            for _ in range(_WARM_UP):
                self._forward()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits = self._forward()
        for tensor, old in zip((self._cache.keys, self._cache.values), kept, strict=True):
            tensor[:, :, :, :1] = old
        return graph


class _IndexedCache(KVCache):
    """The memory of another cache, written where a tensor says and read in full: shapes do not depend on the length."""

    def __init__(self, cache: KVCache) -> None:
        self.keys, self.values = cache.keys, cache.values
        self.index = torch.zeros(1, dtype=torch.long, device=cache.keys.device)

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `KVCache.write`; `start` is not looked at."""
        self.keys[layer].index_copy_(2, self.index, keys)
        self.values[layer].index_copy_(2, self.index, values)
        return self.keys[layer], self.values[layer]
