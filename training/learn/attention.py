"""Attention of packed sequences: the mask, and the fast kernels."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from training.data.packing import IGNORE

Kernel = Literal["dense", "fp32", "repeated", "flex"]
"""Attention kernels.

In order: torch's choice for a dense mask; the same in fp32; the same with keys and values repeated for every query
head; FlexAttention, which skips masked blocks."""


def packed_mask(segments: Tensor) -> Tensor:
    """[B, 1, T, T], True where a token may attend: backwards, to the prefix and its own segment.

    Args:
        segments: [B, T] number of each token's segment, 0 for the prefix, `IGNORE` for padding, which attends to
            itself.
    """
    place = torch.arange(segments.shape[1], device=segments.device)
    query, key = segments[:, :, None], segments[:, None, :]
    return _sees(query, key, place[:, None], place[None, :])[:, None]


def _sees(query: Tensor, key: Tensor, query_place: Tensor, key_place: Tensor) -> Tensor:
    """Whether tokens of segments `query` at `query_place` see those of `key` at `key_place`."""
    shared = (query == key) & (query != IGNORE) | (key == 0) & (query != IGNORE)
    return shared & (key_place <= query_place) | (key_place == query_place)


class PackedAttention(TorchFunctionMode):
    """Within it, scaled dot-product attention runs in the kernel that is fast for packed sequences.

    torch's fused CPU kernel is twice as fast in fp32 as in bf16 (torch 2.13). On a GPU no fused kernel supports a mask
    with grouped queries: torch falls back to one that materialises all T x T scores. FlexAttention supports both;
    without it, repeating the keys for every query head lets the memory-efficient kernel run.
    """

    def __init__(self, kernel: Kernel, segments: Tensor) -> None:
        super().__init__()
        self.kernel = kernel
        self.mask = segments if kernel == "flex" else packed_mask(segments)
        self.blocks = _block_mask(segments) if kernel == "flex" else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        if self.kernel == "fp32":
            with torch.autocast("cpu", enabled=False):
                return func(*(a.float() for a in args), **kwargs)
        mask = kwargs.get("attn_mask")
        if self.kernel == "flex" and mask is not None and mask.ndim == 2:  # the segments, in place of a mask
            return _flex()(*args, block_mask=self.blocks, enable_gqa=kwargs.get("enable_gqa", False))
        if kwargs.pop("enable_gqa", False):
            query, key, value = args
            groups = query.shape[1] // key.shape[1]
            args = (query, key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1))
        return func(*args, **kwargs)


def fastest_kernel(device: torch.device, bf16: bool) -> Kernel:
    """The kernel for a device; FlexAttention if it works and agrees with the dense mask."""
    if device.type == "cpu":
        return "fp32" if bf16 else "dense"
    dtype = torch.bfloat16 if bf16 else torch.float32
    return "flex" if importlib.util.find_spec("triton") and _flex_agrees(device, dtype) else "repeated"


def _block_mask(segments: Tensor) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return _sees(segments[batch, query], segments[batch, key], query, key)

    batch, length = segments.shape
    return create_block_mask(sees, batch, None, length, length, device=str(segments.device))


@lru_cache(maxsize=1)
def _flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Tensor] = torch.compile(flex_attention)
    return compiled


def _flex_agrees(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether FlexAttention runs here, forwards and backwards, and agrees with the dense mask."""
    lengths = torch.tensor([60, 90, 70, 80])
    segments = torch.repeat_interleave(torch.tensor([0, 1, 2, IGNORE]), lengths)[None].to(device)
    generator = torch.Generator(device).manual_seed(0)
    shapes = ((1, 4, 300, 64), (1, 2, 300, 64), (1, 2, 300, 64))
    found = []
    try:
        for kernel in ("repeated", "flex"):
            inputs = [torch.randn(s, generator=generator.manual_seed(i), device=device, dtype=dtype)
                      .requires_grad_() for i, s in enumerate(shapes)]  # fmt: skip
            with PackedAttention(kernel, segments) as attention:
                out = F.scaled_dot_product_attention(*inputs, attn_mask=attention.mask, enable_gqa=True)
            out.float().square().sum().backward()
            found.append([out.detach(), *(i.grad for i in inputs)])
        agrees = all(torch.allclose(a, b, atol=0.05, rtol=0.05) for a, b in zip(*found, strict=True))
        reason = "disagrees with a dense mask"
    except Exception as error:
        agrees, reason = False, f"does not run ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
    if not agrees:
        print(f"FlexAttention {reason}: using a dense mask", file=sys.stderr, flush=True)
    return agrees
