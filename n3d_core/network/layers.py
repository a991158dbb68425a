"""Layers shared by the vision tower and the decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
