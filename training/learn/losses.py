"""Loss of the language: cross-entropy, with targets softened over neighbouring bins for bin tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.language.structured import BINS
from n3d_core.language.tokenizer import Tokenizer

FRACTIONS = BINS
"""Offset of the hundredths of a text's numbers among target bins: `.00` is this, `.99` is 99 more."""

DEPTHS = 2 * BINS
"""Offset of the bins of z among target bins: they have their own sigma."""

FRACTION_SIGMA = 1.5  # hundredths


def fraction_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of the tokens after the decimal point for 0 to 99 hundredths: `.0`, `.01` … `.09`, `.1`, `.11` … `.99`."""
    return [tokenizer.encode(f"0.{f'{v:02d}'.rstrip('0') or '0'}")[-1] for v in range(100)]


class BinSoftener(nn.Module):
    """A Gaussian over neighbouring bins, since being one bin off is nearly right.

    Args:
        ids: ids of the bin tokens, in order.
        sigma: in bins; 0 for none.
    """

    ids: Tensor
    kernel: Tensor
    entropy: Tensor

    def __init__(self, ids: list[int], sigma: float) -> None:
        super().__init__()
        value = torch.arange(len(ids), dtype=torch.float32)
        if sigma > 0:
            kernel = torch.softmax(-((value[:, None] - value[None, :]) ** 2) / (2 * sigma**2), dim=1)
        else:
            kernel = torch.eye(len(ids))
        self.register_buffer("ids", torch.tensor(ids), persistent=False)
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("entropy", -(kernel * kernel.clamp(min=1e-12).log()).sum(dim=1), persistent=False)

    def forward(self, logits: Tensor, bins: Tensor) -> Tensor:
        """Kullback-Leibler divergence [N] of logits [N, V] from the softened bins [N]; 0 for an exact match."""
        log_probability = F.log_softmax(logits.float(), dim=-1)[:, self.ids]
        return -(self.kernel[bins] * log_probability).sum(-1) - self.entropy[bins]


class NumberSofteners(nn.Module):
    """The softeners for the numbers of a model's language.

    Args:
        number_ids, fraction_ids: ids of the tokens for bins, and for hundredths after a decimal point.
        sigma: of the bins; 0 disables both.
        sigma_z: of the bins of z; an object is some dozens of them deep.
    """

    def __init__(self, number_ids: list[int], fraction_ids: list[int], sigma: float, sigma_z: float) -> None:
        super().__init__()
        self.bins = BinSoftener(number_ids, sigma)
        self.depths = BinSoftener(number_ids, sigma_z)
        self.fractions = BinSoftener(fraction_ids, FRACTION_SIGMA if sigma > 0 else 0.0)


def language_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    bins: Tensor,
    softeners: NumberSofteners | None,
    total: float | Tensor | None = None,
) -> Tensor:
    """Weighted loss of the predicted positions [N], divided by the sum of the weights.

    Args:
        logits: [N, V].
        targets, weights: [N] ids and their weights.
        bins: [N] bin values, from `FRACTIONS` on hundredths of a text, from `DEPTHS` on bins of z; negative where the
            token is none of these.
        softeners: of bins and hundredths; None if both are ordinary tokens.
        total: sum of the weights of the whole step, of which these positions are a part; None for their own.
    """
    if softeners is None:
        loss = F.cross_entropy(logits.float(), targets, reduction="none")
    else:
        plain, is_depth = bins < 0, bins >= DEPTHS
        is_fraction = (bins >= FRACTIONS) & ~is_depth
        is_bin = ~plain & ~is_fraction & ~is_depth
        loss = torch.empty(len(targets), device=logits.device)
        loss[plain] = F.cross_entropy(logits[plain].float(), targets[plain], reduction="none")
        loss[is_bin] = softeners.bins(logits[is_bin], bins[is_bin])
        loss[is_depth] = softeners.depths(logits[is_depth], bins[is_depth] - DEPTHS)
        loss[is_fraction] = softeners.fractions(logits[is_fraction], bins[is_fraction] - FRACTIONS)
    return (loss * weights).sum() / (weights.sum().clamp(min=1e-6) if total is None else total)
