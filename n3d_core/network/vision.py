"""The vision tower: Qwen2.5-VL's, with the 3D positional encoding added before the merger.

Blocks attend within windows (each window alone, not through a dense mask) except at the indexes of the config, where
they attend to the whole image. Parameter names are those of the released checkpoint under `visual.`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.network.config import VisionConfig
from n3d_core.network.layers import MLP, RMSNorm, residual, rotate
from n3d_core.network.plan import ImagePlan
from n3d_core.network.point_encoding import sinusoid


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
