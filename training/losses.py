"""Loss of the language: cross-entropy, with targets softened over neighbouring bins where the token is a bin."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.language.structured import BINS


class BinSoftener(nn.Module):
    """A Gaussian over neighbouring bins: being one bin off is nearly right, and the model should be told so."""

    ids: Tensor
    kernel: Tensor
    entropy: Tensor

    def __init__(self, number_ids: list[int], sigma: float) -> None:
        super().__init__()
        value = torch.arange(BINS, dtype=torch.float32)
        if sigma > 0:
            kernel = torch.softmax(-((value[:, None] - value[None, :]) ** 2) / (2 * sigma**2), dim=1)
        else:
            kernel = torch.eye(BINS)
        self.register_buffer("ids", torch.tensor(number_ids), persistent=False)
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("entropy", -(kernel * kernel.clamp(min=1e-12).log()).sum(dim=1), persistent=False)

    def forward(self, logits: Tensor, bins: Tensor) -> Tensor:
        """Kullback-Leibler divergence [N] of logits [N, V] from the softened bins [N]; 0 when they are met exactly."""
        log_probability = F.log_softmax(logits.float(), dim=-1)[:, self.ids]
        return -(self.kernel[bins] * log_probability).sum(-1) - self.entropy[bins]


def language_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, bins: Tensor, softener: BinSoftener | None
) -> Tensor:
    """Weighted mean loss of the positions [N] that are to be predicted.

    Args:
        logits: [N, V].
        targets, weights: [N] ids and their weights.
        bins: [N] bin values, negative where the token is not a bin.
        softener: None where bins are ordinary tokens.
    """
    if softener is None:
        loss = F.cross_entropy(logits.float(), targets, reduction="none")
        return (loss * weights).sum() / weights.sum().clamp(min=1e-6)
    is_bin = bins >= 0
    loss = torch.empty(len(targets), device=logits.device)
    loss[~is_bin] = F.cross_entropy(logits[~is_bin].float(), targets[~is_bin], reduction="none")
    loss[is_bin] = softener(logits[is_bin], bins[is_bin])
    return (loss * weights).sum() / weights.sum().clamp(min=1e-6)
