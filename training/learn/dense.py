"""The auxiliary heads: which object is under each patch, and which one each word of a reply refers to.

The language loss teaches objects slowly, one token at a time; these heads supervise all patches at once. They are used
only in training and dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from n3d_core.language.structured import BINS, BoxCode
from training.learn.losses import BinSoftener

WORD_SCALE = 8.0  # embeddings are small: scales their products with a state to the size of logits
MOST_MEASURED = 16  # patches per image whose numbers are read
PLACED, MEASURED = 2, 6  # u and v from the patch to the centre; the centre's u, v and z, and three sizes


@dataclass(frozen=True)
class DenseTargets:
    """For each patch in merge-group reading order [P]: class and colour (0: background) and box values [P, 8].

    Attributes:
        coverage: [objects, tokens] how each object's pixels are distributed over the image tokens.
    """

    classes: NDArray[np.int64]
    colors: NDArray[np.int64]
    boxes: NDArray[np.float32]
    coverage: NDArray[np.float32]


def dense_targets(
    instances: NDArray[np.uint8],
    codes: list[BoxCode],
    classes: list[int],
    colors: list[int],
    grid: tuple[int, int],
    merge: int,
) -> DenseTargets:
    """The object that covers most of each patch, if it covers at least a sixth.

    Args:
        instances: [H, W] index of the object plus one, 0 for none.
        codes, classes, colors: of the objects; class and colour numbers begin at 1.
        grid: height and width of the patch grid.
        merge: patches along one side of a token.
    """
    grid_h, grid_w = grid
    side_h, side_w = (max(1, round(s / g)) for s, g in zip(instances.shape, grid, strict=True))
    if instances.shape != (grid_h * side_h, grid_w * side_w):
        instances = cv2.resize(instances, (grid_w * side_w, grid_h * side_h), interpolation=cv2.INTER_NEAREST)
    tiles = instances.reshape(grid_h, side_h, grid_w, side_w).transpose(0, 2, 1, 3).reshape(grid_h * grid_w, -1)
    share = (
        np.stack([(tiles == i + 1).mean(axis=1) for i in range(len(codes))], axis=1)
        if codes
        else np.zeros((len(tiles), 1))
    )
    best, covered = share.argmax(axis=1), share.max(axis=1) >= 1 / 6
    table = np.array([[c.u, c.v, c.z, c.sx, c.sy, c.sz] for c in codes] or [[0] * MEASURED], dtype=np.float32) / BINS
    row, col = np.divmod(np.arange(grid_h * grid_w), grid_w)
    own = np.stack([(col + 0.5) / grid_w, (row + 0.5) / grid_h], axis=1)
    boxes = np.concatenate([(table[best, :2] - own) * 4, table[best]], axis=1)
    order = _merge_group_order(grid_h, grid_w, merge)
    numbers = [np.where(covered, np.array(n or [0])[best], 0)[order] for n in (classes, colors)]
    pixels = share.T[: len(codes), order].reshape(len(codes), -1, merge**2).sum(axis=2)
    coverage = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1e-6)
    return DenseTargets(
        numbers[0].astype(np.int64),
        numbers[1].astype(np.int64),
        boxes[order].astype(np.float32),
        coverage.astype(np.float32),
    )


def nothing_dense(tokens: int) -> DenseTargets:
    """Empty targets, for a model without auxiliary heads."""
    nothing = np.zeros(0, np.int64)
    return DenseTargets(nothing, nothing, np.zeros((0, 8), np.float32), np.zeros((0, tokens), np.float32))


class DenseHead(nn.Module):
    """Linear maps, so that the states themselves must contain what they read.

    Classes and colours are read from the tower's tokens, in the embedding space of the words that name them, so that a
    word of a question finds its tokens. Image position (the tower has relative positions only), depth and size in units
    of the cloud depend on other tokens (the start of the image, the nearest point, the far side): they are read inside
    the decoder, early enough for later layers to use them.
    """

    def __init__(self, width: int, patches: int) -> None:
        super().__init__()
        self.patches = patches
        self.name = _small_linear(width, patches * width)
        self.tint = _small_linear(width, patches * width)
        self.empty = _small_linear(width, patches)
        self.place = _small_linear(width, patches * PLACED)
        self.measure = _small_linear(width, patches * MEASURED * width)

    def forward(
        self,
        tokens: Tensor,
        inside: Tensor,
        words: tuple[Tensor, Tensor, Tensor],
        classes: Tensor,
        colors: Tensor,
        boxes: Tensor,
        softener: BinSoftener,
        totals: Mapping[str, float],
    ) -> dict[str, Tensor]:
        """Losses and accuracies against the targets [B, P] and [B, P, 8].

        Args:
            tokens, inside: image tokens [B, tokens, width] of the tower and inside the decoder.
            words: embeddings of the words for the classes [C, width], colours [K, width] and bins [BINS, width].
            softener: of the bins.
            totals: `patches`, `known` and `measured` of the whole step, see `Batch.totals`.
        """
        named = self._patches(self.name, tokens) @ words[0].T * WORD_SCALE
        class_logits = torch.cat([self._patches(self.empty, tokens), named], dim=-1)
        color_logits = self._patches(self.tint, tokens) @ words[1].T * WORD_SCALE
        known, count = classes > 0, totals["known"]
        class_loss = F.cross_entropy(class_logits.flatten(0, 1), classes.flatten(), reduction="none")
        color_loss = F.cross_entropy(color_logits[known], colors[known] - 1, reduction="sum") / count
        places = self._patches(self.place, tokens)[known]
        box_loss = F.smooth_l1_loss(places, boxes[known][:, :PLACED], reduction="sum", beta=0.05) / count
        measure_loss = self._measured(inside, words[2], classes, boxes, softener) / totals["measured"]
        class_loss = 2 * (class_loss * patch_weights(classes).flatten()).sum() / totals["patches"]
        loss = class_loss + 0.5 * color_loss + 2 * box_loss + 0.5 * measure_loss
        right = (class_logits[known].argmax(-1) == classes[known]).sum() / count
        return {"loss": loss, "class_accuracy": right.detach(), "measure": measure_loss.detach()}

    def _measured(
        self, inside: Tensor, numbers: Tensor, classes: Tensor, boxes: Tensor, softener: BinSoftener
    ) -> Tensor:
        """Sum over some patches of the divergence of their predicted numbers, as words, from the true ones."""
        rows, patches = torch.nonzero(measured_patches(classes), as_tuple=True)
        states = F.rms_norm(inside, inside.shape[-1:])[rows, patches // self.patches]
        said = self.measure(states).view(len(rows), self.patches, MEASURED, states.shape[-1])
        said = said[torch.arange(len(rows), device=rows.device), patches % self.patches]
        log_probability = F.log_softmax(said @ numbers.T * WORD_SCALE, dim=-1)
        bins = (boxes[rows, patches][:, PLACED:] * BINS).round().long().clamp(0, BINS - 1)
        return (-(softener.kernel[bins] * log_probability).sum(-1) - softener.entropy[bins]).sum() / MEASURED

    def _patches(self, read: nn.Linear, tokens: Tensor) -> Tensor:
        """[B, tokens, width] -> [B, P, values]: the prediction of each patch of each token."""
        return read(tokens).unflatten(-1, (self.patches, -1)).flatten(1, 2)


def patch_weights(classes: Tensor) -> Tensor:
    """Weight of each patch [B, P] in the loss of the classes: background counts less."""
    return torch.where(classes > 0, 1.0, 0.25)


def measured_patches(classes: Tensor) -> Tensor:
    """[B, P] which patches are measured: up to `MOST_MEASURED` per image, spread over its known ones.

    The choice does not depend on the rest of the batch.
    """
    known = classes > 0
    stride = (-(-known.sum(dim=1, keepdim=True) // MOST_MEASURED)).clamp(min=1)
    return known & ((known.cumsum(dim=1) - 1) % stride == 0)


class PointerHead(nn.Module):
    """Predicts which image tokens show the object that a word of the reply refers to, or nowhere at its end.

    It is read inside the decoder, so later layers know where to fetch the numbers.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = _small_linear(width, width)
        self.key = _small_linear(width, width)
        self.nowhere = nn.Parameter(torch.zeros(width))

    def forward(
        self, inside: Tensor, pads: Tensor, pointed: Tensor, shares: Tensor, totals: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Loss and accuracy.

        Args:
            inside: [B, T, width] states inside the decoder.
            pads: [B, T] which of them are image tokens.
            pointed: [N, 2] row and position of the states that point, by row.
            shares: [N, tokens + 1] where each should point; the last entry is nowhere.
            totals: `pointed` of the whole step.
        """
        states = F.rms_norm(inside, inside.shape[-1:])
        keys = self.key(states[pads]).unflatten(0, (len(pads), -1))
        keys = torch.cat([keys, self.nowhere.expand(len(keys), 1, -1)], dim=1)
        rows, places = pointed.unbind(1)
        logits = by_row(self.query(states[rows, places]), keys, rows) * keys.shape[-1] ** -0.5
        loss = -(shares * F.log_softmax(logits, dim=-1)).sum() / totals["pointed"]
        hit = shares.gather(1, logits.argmax(-1, keepdim=True)) > 0
        return {"pointer": loss, "pointed": (hit.sum() / totals["pointed"]).detach()}


def by_row(queries: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """Products [N, ..., K] of queries [N, ..., width], ordered by row [N], with the keys [B, K, width] of their row.

    Works row by row, so that keys are not copied for each query.
    """
    counts = torch.bincount(rows, minlength=len(keys)).tolist()
    return torch.cat([q @ k.T for q, k in zip(queries.split(counts), keys, strict=True)])


def _small_linear(width: int, out: int) -> nn.Linear:
    layer = nn.Linear(width, out)
    nn.init.normal_(layer.weight, std=width**-0.5 / 2)
    nn.init.zeros_(layer.bias)
    return layer


def _merge_group_order(grid_h: int, grid_w: int, merge: int) -> NDArray[np.int64]:
    index = np.arange(grid_h * grid_w).reshape(grid_h // merge, merge, grid_w // merge, merge)
    return index.transpose(0, 2, 1, 3).reshape(-1)
