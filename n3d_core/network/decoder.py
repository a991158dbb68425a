"""The decoder: Qwen2.5's, with M-RoPE angles as an input and a KV cache that is allocated once.

Parameter names are those of the released checkpoint under `model.`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.network.config import TextConfig
from n3d_core.network.layers import MLP, RMSNorm, residual, rotate


class KVCache:
    """Keys and values of every layer, [layers, batch, kv_heads, capacity, head_size], written by index."""

    def __init__(
        self,
        c: TextConfig,
        capacity: int,
        batch: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (c.num_hidden_layers, batch, c.num_key_value_heads, capacity, c.head_size)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)

    @property
    def capacity(self) -> int:
        """Number of tokens that fit."""
        return int(self.keys.shape[3])

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Stores a chunk [B, kv_heads, T, d] at `start` and returns views of everything up to its end."""
        end = start + keys.shape[2]
        self.keys[layer, :, :, start:end] = keys
        self.values[layer, :, :, start:end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, c: TextConfig) -> None:
        super().__init__()
        self.head_size = c.head_size
        self.grouped = c.num_attention_heads != c.num_key_value_heads
        kv_width = c.num_key_value_heads * c.head_size
        self.q_proj = nn.Linear(c.hidden_size, c.hidden_size)
        self.k_proj = nn.Linear(c.hidden_size, kv_width)
        self.v_proj = nn.Linear(c.hidden_size, kv_width)
        self.o_proj = nn.Linear(c.hidden_size, c.hidden_size, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int, start: int
    ) -> Tensor:
        """[B, T, hidden] -> the same; see `TextDecoder.forward` for the rest."""
        batch, length, _ = x.shape
        q, k, v = (
            p(x).view(batch, length, -1, self.head_size).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.write(layer, start, k, v)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=self.grouped)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))


class DecoderLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, c: TextConfig) -> None:
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, bias=False)
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int, start: int
    ) -> Tensor:
        """[B, T, hidden] -> the same; see `TextDecoder.forward` for the rest."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache, layer, start)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextDecoder(nn.Module):
    """Embeddings [B, T, hidden] -> hidden states [B, T, hidden] after the last norm."""

    def __init__(self, c: TextConfig) -> None:
        super().__init__()
        self.config = c
        table = torch.empty(c.vocab_size, c.hidden_size)
        if not table.is_meta:  # nothing to fill, and torch would import its whole compiler to find out
            nn.init.normal_(table)
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size, _weight=table)
        self.layers = nn.ModuleList(DecoderLayer(c) for _ in range(c.num_hidden_layers))
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(
        self,
        embeddings: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
        cache: KVCache | None = None,
        start: int = 0,
    ) -> Tensor:
        """Runs a chunk.

        Args:
            embeddings: [B, T, hidden].
            cos, sin: [B or 1, 1, T, head_size] M-RoPE tables of the chunk.
            mask: boolean [.., T, S], True where a query may attend; None if it may attend to everything.
            cache: holds the keys and values before the chunk; the chunk's are stored at `start`.
        """
        x = residual(embeddings)
        for index, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask, cache, index, start)
        return self.norm(x)

    def with_middle(self, embeddings: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Like `forward` without a cache; also returns the states [B, T, hidden] after the first half of the layers."""
        x = middle = embeddings
        for index, layer in enumerate(self.layers):
            if index == len(self.layers) // 2:
                middle = x
            x = layer(x, cos, sin, mask, None, index, 0)
        return self.norm(x), middle


def mrope_tables(c: TextConfig, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """cos, sin [T, head_size] of M-RoPE positions [3, T]: each section of frequencies rotates with one axis."""
    inverse, axis = _mrope_frequencies(c.head_size, c.rope_theta, tuple(c.mrope_section))
    angles = positions.astype(np.float32)[axis].T * inverse
    angles = np.concatenate([angles, angles], axis=1).astype(np.float32)
    return np.cos(angles), np.sin(angles)


@lru_cache(maxsize=8)
def _mrope_frequencies(
    size: int, theta: float, sections: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rotation per position of each frequency [size / 2], and the axis (of three) that drives it [size / 2]."""
    steps = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    return (1.0 / (np.float32(theta) ** steps)).astype(np.float32), np.repeat(np.arange(3), sections)


def causal_mask(length: int, start: int, device: torch.device | str = "cpu") -> Tensor | None:
    """[T, start + T] mask of a chunk behind `start` cached tokens; None for a single token, which sees everything."""
    if length == 1:
        return None
    return torch.ones(length, start + length, dtype=torch.bool, device=device).tril(diagonal=start)
