"""The network: vision tower, decoder and head, with the parameter names of the released checkpoint.

The tower is Qwen2.5-VL's, with N3D-VLM's 3D positional encoding added before the merger. Its blocks attend within
windows (each window alone, not through a dense mask), except at the config's `fullatt_block_indexes`, where they attend
to the whole image. The decoder is Qwen2.5's; it takes M-RoPE tables as an input, and a KV cache that is allocated once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.network.config import N3DConfig, TextConfig, VisionConfig
from n3d_core.network.plan import ImagePlan

_TEMPERATURE = 10000.0  # of the 3D positional encoding


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in fp32 whatever the type of the input."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same, in the weight's type."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(self.weight.dtype)


def residual(x: Tensor) -> Tensor:
    """A branch's output for the residual stream: fp32 in an fp16 network, where its sums exceed fp16's 65,504."""
    return x.float() if x.dtype == torch.float16 else x


class MLP(nn.Module):
    """SwiGLU. Its down projection is computed in fp32 if its weight is fp32, also in an fp16 network."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias)
        self.up_proj = nn.Linear(width, inner, bias)
        self.down_proj = nn.Linear(inner, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        gate, up = self.gate_proj(x), self.up_proj(x)
        if gate.dtype == torch.float16:
            gate, up = gate.to(self.down_proj.weight.dtype), up.to(self.down_proj.weight.dtype)
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, computed in fp32; pairs are taken from the two halves of the last axis."""
    wide = x.float()
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


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


def sinusoid(coordinates: Tensor, width: int) -> Tensor:
    """[..., P, 3] rounded coordinates -> [..., P, width]: x, y, z in turn, sin on even, cos on odd channels."""
    per_axis = width // 3
    even = torch.arange(per_axis, device=coordinates.device) % 2 == 0
    angles = coordinates.float()[..., None] / axis_divisors(per_axis, coordinates.device)
    encoded = torch.where(even, angles.sin(), angles.cos()).flatten(-2)
    return F.pad(encoded, (0, width - 3 * per_axis))


def axis_divisors(per_axis: int, device: torch.device | str = "cpu") -> Tensor:
    """[per_axis] divisors from coordinate to angle; channels 2i and 2i + 1 share one."""
    channel = torch.arange(per_axis, device=device)
    return _TEMPERATURE ** (2 * torch.div(channel, 2, rounding_mode="floor").float() / per_axis)


class PlanTensors(nn.Module):
    """The index arrays of an `ImagePlan` as tensors on one device.

    Attributes:
        order, token_inverse, pe_rows, windows, window_inverse, cos, sin: see `ImagePlan`.
        places, place_channels: see `ImagePlan`; None with the released point encoding.
        window_mask: [W, 1, 1, L] boolean attention mask, or None if every window is full.
    """

    order: Tensor
    token_inverse: Tensor
    pe_rows: Tensor
    windows: Tensor
    window_inverse: Tensor
    cos: Tensor
    sin: Tensor
    window_mask: Tensor | None
    places: Tensor | None
    place_channels: Tensor | None

    def __init__(self, plan: ImagePlan, device: torch.device | str = "cpu") -> None:
        super().__init__()
        for name in ("order", "token_inverse", "pe_rows", "windows", "window_inverse", "cos", "sin"):
            self.register_buffer(name, torch.as_tensor(getattr(plan, name), device=device), persistent=False)
        for name in ("places", "place_channels"):
            value = getattr(plan, name)
            self.register_buffer(
                name, None if value is None else torch.as_tensor(value, device=device), persistent=False
            )
        mask = torch.as_tensor(plan.window_mask, device=device)[:, None, None, :]
        self.register_buffer("window_mask", None if plan.window_mask.all() else mask, persistent=False)

    def encoding(self, coordinates: Tensor, width: int) -> Tensor:
        """Rounded coordinates [..., P, 3] in row-major order -> their encoding [..., P, width] in window order."""
        waves = sinusoid(coordinates, width)[..., self.pe_rows, :]
        if self.places is None or self.place_channels is None:
            return waves
        return torch.where(self.place_channels, self.places, waves)


class PatchEmbed(nn.Module):
    """Flattened patches [..., P, C*T*S*S] -> [..., P, hidden]: a convolution whose kernel is the whole patch."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        shape = (c.temporal_patch_size, c.patch_size, c.patch_size)
        self.proj = nn.Conv3d(c.in_channels, c.hidden_size, shape, stride=shape, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """[..., P, C*T*S*S] -> [..., P, hidden]."""
        return F.linear(patches, self.proj.weight.flatten(1))


class VisionAttention(nn.Module):
    """Multi-head attention with 2D rotary positions, over windows or the whole image."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        self.heads = c.num_heads
        self.qkv = nn.Linear(c.hidden_size, 3 * c.hidden_size)
        self.proj = nn.Linear(c.hidden_size, c.hidden_size)

    def forward(self, x: Tensor, plan: PlanTensors, windowed: bool) -> Tensor:
        """[B, P, hidden] in window order -> the same."""
        batch, patches, width = x.shape
        q, k, v = self.qkv(x).view(batch, patches, 3, self.heads, -1).unbind(2)
        cos, sin = plan.cos[:, None], plan.sin[:, None]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if not windowed:
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            return self.proj(out.reshape(batch, patches, width))
        # [B, P, heads, d] -> [B * windows, heads, L, d]: each window is an element of the batch
        count, length = plan.windows.shape
        q, k, v = (t[:, plan.windows].reshape(batch * count, length, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        mask = None if plan.window_mask is None else plan.window_mask.repeat(batch, 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        out = out.reshape(batch, count * length, width)[:, plan.window_inverse]
        return self.proj(out)


class VisionBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        self.norm1 = RMSNorm(c.hidden_size)
        self.norm2 = RMSNorm(c.hidden_size)
        self.attn = VisionAttention(c)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, bias=True)

    def forward(self, x: Tensor, plan: PlanTensors, windowed: bool) -> Tensor:
        """[B, P, hidden] in window order -> the same."""
        x = x + self.attn(self.norm1(x), plan, windowed)
        return x + self.mlp(self.norm2(x))


class PatchMerger(nn.Module):
    """Groups of merge x merge patches -> one image token."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        width = c.hidden_size * c.spatial_merge_size**2
        self.width = width
        self.ln_q = RMSNorm(c.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, c.out_hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, hidden] -> [B, P/4, out], both in window order."""
        return self.mlp(self.ln_q(x).reshape(x.shape[0], -1, self.width))


class VisionTower(nn.Module):
    """Patches and their 3D coordinates -> image tokens."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        self.config = c
        self.patch_embed = PatchEmbed(c)
        self.blocks = nn.ModuleList(VisionBlock(c) for _ in range(c.depth))
        self.merger = PatchMerger(c)

    def features(self, patches: Tensor, plan: PlanTensors) -> Tensor:
        """Patches [B, P, values] in merge-group order -> features [B, P, hidden] in window order, not yet encoded."""
        x = residual(self.patch_embed(patches)[:, plan.order])
        for index, block in enumerate(self.blocks):
            x = block(x, plan, windowed=index not in self.config.fullatt_block_indexes)
        return x

    def forward(self, patches: Tensor, coordinates: Tensor | None, plan: PlanTensors) -> Tensor:
        """Image tokens [B, P/4, out] in reading order.

        Args:
            patches: [B, P, values] normalised pixels in merge-group order.
            coordinates: [B, P, 3] rounded point coordinates in row-major patch order; None leaves the encoding out.
            plan: of that patch grid.
        """
        x = self.features(patches, plan)
        if coordinates is not None:
            x = x + plan.encoding(coordinates, x.shape[-1]).to(x.dtype)
        return self.merger(x)[:, plan.token_inverse]


class N3DNetwork(nn.Module):
    """The parts; backends and the trainer call `TextDecoder.forward` and `VisionTower.forward`."""

    def __init__(self, config: N3DConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision)
        self.model = TextDecoder(config.text)
        if not config.text.tie_word_embeddings:
            self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)

    @property
    def head_weight(self) -> Tensor:
        """[vocab, hidden]: the output head; the embedding table if the two are tied."""
        return self.model.embed_tokens.weight if self.config.text.tie_word_embeddings else self.lm_head.weight

    def type_of(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """The type of a parameter in a network that computes in `dtype`.

        In an fp16 network the down projection of the tower's last MLP is fp32: with the released weights its products
        exceed 65,504.
        """
        wide = f"visual.blocks.{self.config.vision.depth - 1}.mlp.down_proj."
        return torch.float32 if dtype == torch.float16 and name.startswith(wide) else dtype

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., hidden] -> [..., vocab]."""
        return F.linear(hidden, self.head_weight)
