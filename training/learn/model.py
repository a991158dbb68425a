"""The network as it is trained: packed sequences, number embeddings made of Fourier features, the auxiliary head."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from n3d_core.errors import ConfigError
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import N3DNetwork, PlanTensors, mrope_tables, rotate
from n3d_core.network.plan import image_plan
from training.data.packing import IGNORE, Packed
from training.data.sequences import TrainingSample
from training.learn.attention import Kernel, PackedAttention
from training.learn.dense import DenseHead, PointerHead, by_row, measured_patches, patch_weights
from training.learn.losses import NumberSofteners, language_loss

GUIDED_HEADS = 2  # heads that share the first keys
WordIds = tuple[list[list[int]], list[list[int]]]


@dataclass(frozen=True)
class Batch:
    """Samples of one image size, padded to the longest sequence.

    Attributes:
        grid: height and width of the patches of an image.
        segments: [B, T] number of each token's segment, 0 for the prefix, `IGNORE` for padding.
    """

    grid: tuple[int, int]
    patches: Tensor
    coordinates: Tensor
    ids: Tensor
    cos: Tensor
    sin: Tensor
    segments: Tensor
    targets: Tensor
    weights: Tensor
    bins: Tensor
    classes: Tensor
    colors: Tensor
    boxes: Tensor
    pointed: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grid"}
        return Batch(self.grid, **{name: value.to(device, non_blocking=True) for name, value in tensors.items()})

    def totals(self) -> dict[str, float]:
        """Denominators of the losses and accuracies, so that the parts of a step add up to the overall mean."""
        predicted = self.targets >= 0
        counts = {
            "language": self.weights[predicted].sum(),
            "decisions": certain(self.bins[predicted], self.weights[predicted]).sum(),
            "patches": patch_weights(self.classes).sum(),
            "known": (self.classes > 0).sum(),
            "measured": measured_patches(self.classes).sum(),
            "pointed": torch.tensor(len(self.pointed)),
            "fetched": fetched(self.shares).sum(),
        }
        return {name: float(count) for name, count in counts.items()}


def certain(bins: Tensor, weights: Tensor) -> Tensor:
    """Which words are choices with one right answer: neither numbers nor forced by the grammar."""
    return (bins < 0) & (weights >= 1)


def fetched(shares: Tensor) -> Tensor:
    """[N] which pointing positions point at something visible."""
    return shares[:, -1] < 0.5


def step_totals(totals: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The totals of a step from those of its parts; a zero total becomes one, to avoid division by zero."""
    return {name: sum(t[name] for t in totals) or 1.0 for name in totals[0]}


def collate(samples: list[TrainingSample], config: N3DConfig, pad: int, length: int = 0, step: int = 1) -> Batch:
    """Stacks samples, padded to the longest or to `length`, and to a multiple of `step`.

    Padding tokens are masked and predict nothing.
    """
    length = -(-max(length, *(len(s.packed.ids) for s in samples)) // step) * step

    def padded(values: np.ndarray, fill: float) -> np.ndarray:
        return np.concatenate([values, np.full(length - len(values), fill, dtype=values.dtype)])

    def stack(name: str, fill: float) -> Tensor:
        return torch.from_numpy(np.stack([padded(getattr(s.packed, name), fill) for s in samples]))

    tables = [mrope_tables(config.text, _padded_positions(s.packed, length)) for s in samples]
    return Batch(
        grid=samples[0].grid,
        patches=torch.from_numpy(np.stack([s.patches for s in samples])),
        coordinates=torch.from_numpy(np.stack([s.coordinates for s in samples])),
        ids=stack("ids", pad),
        cos=torch.from_numpy(np.stack([t[0] for t in tables]))[:, None],
        sin=torch.from_numpy(np.stack([t[1] for t in tables]))[:, None],
        segments=stack("segment", IGNORE),
        targets=stack("targets", IGNORE),
        weights=stack("weights", 0.0),
        bins=stack("bins", IGNORE),
        classes=torch.from_numpy(np.stack([s.dense.classes for s in samples])),
        colors=torch.from_numpy(np.stack([s.dense.colors for s in samples])),
        boxes=torch.from_numpy(np.stack([s.dense.boxes for s in samples])),
        pointed=torch.cat(
            [F.pad(torch.from_numpy(s.pointed)[:, None], (1, 0), value=i) for i, s in enumerate(samples)]
        ),
        shares=torch.cat([torch.from_numpy(s.shares) for s in samples]),
    )


def _padded_positions(packed: Packed, length: int) -> np.ndarray:
    return np.pad(packed.positions, ((0, 0), (0, length - packed.positions.shape[1])))


class TrainingModel(nn.Module):
    """Wraps the network with the parts that only training needs.

    Args:
        network: the network, which is kept after training.
        number_ids: ids of the tokens 0..999; empty for digit tokenizers, whose bins are ordinary tokens.
        fraction_ids: ids of the tokens for hundredths after a decimal point; empty if they are ordinary tokens.
        sigma: of bins, and of those of z.
        words: ids of the tokens that name each class and each colour, for the auxiliary heads; None for none.
        auxiliary: weight of their losses.

    Raises:
        ConfigError: if auxiliary heads are requested with a digit tokenizer: they measure in bins.
    """

    def __init__(
        self,
        network: N3DNetwork,
        number_ids: list[int],
        fraction_ids: list[int],
        sigma: tuple[float, float],
        words: WordIds | None,
        auxiliary: float = 1.0,
    ) -> None:
        super().__init__()
        if words and not number_ids:
            raise ConfigError(
                "loss.dense: the auxiliary heads measure in bins and need 0 to 999 as single tokens, but this "
                "tokenizer spells numbers by digits; set loss.dense to 0"
            )
        self.network = network
        self._plans: dict[tuple[int, int], PlanTensors] = {}
        width = network.config.text.hidden_size
        self.register_buffer("number_ids", torch.tensor(number_ids), persistent=False)
        self.softeners: NumberSofteners | None = None
        if number_ids:
            self.register_buffer("features", _fourier(len(number_ids), 32), persistent=False)
            self.number_map = nn.Parameter(torch.zeros(self.features.shape[1], width))
            nn.init.normal_(self.number_map, std=0.02 / math.sqrt(self.features.shape[1]) * 4)
            self.softeners = NumberSofteners(number_ids, fraction_ids, *sigma)
        merge = network.config.vision.spatial_merge_size
        self.words = words
        self.dense = DenseHead(width, merge * merge) if words else None
        self.pointer = PointerHead(width) if words else None
        self.auxiliary = auxiliary
        self.kernel: Kernel = "dense"
        self._attention: PackedAttention | None = None

    def embedding_table(self) -> Tensor:
        """[vocab, hidden]: rows of numbers are their own values plus a linear map of their Fourier features."""
        table = self.network.model.embed_tokens.weight
        if self.softeners is None:
            return table
        return table.index_add(0, self.number_ids, (self.features @ self.number_map).to(table.dtype))

    def checkpoint_blocks(self) -> None:
        """Recomputes the activations of each transformer block in the backward pass."""
        for block in (*self.network.visual.blocks, *self.network.model.layers):
            block.forward = partial(self._recomputed, block.forward)  # type: ignore[method-assign]

    def _recomputed(self, forward: Callable[..., Tensor], *inputs: Any, **settings: Any) -> Tensor:
        attention = self._attention  # the backward pass runs outside of it and must use the same types
        if attention is not None:
            settings["context_fn"] = lambda: (nullcontext(), attention)
        return checkpoint(forward, *inputs, use_reentrant=False, **settings)

    def compile_blocks(self) -> None:
        """Compiles the transformer blocks; blocks of one kind share their code."""
        for block in (*self.network.visual.blocks, *self.network.model.layers):
            block.compile()

    @property
    def open_blocks(self) -> list[nn.Module]:
        """Blocks whose parameters are also used outside their own forward pass, so they cannot be sharded alone."""
        layers = self.network.model.layers
        return [layers[len(layers) // 2]] if self.words is not None else []

    def forward(self, batch: Batch, totals: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """Losses of a batch: `loss` is minimised, the others are its parts and accuracies.

        Args:
            totals: of the whole step (`step_totals`), over which the batch's sums are divided; None for its own.
        """
        attention = PackedAttention(self.kernel, batch.segments)
        self._attention = attention if self.kernel != "dense" else None
        with self._attention or nullcontext():
            return self._losses(batch, totals or step_totals([batch.totals()]), attention.mask)

    def _losses(self, batch: Batch, totals: Mapping[str, float], mask: Tensor) -> dict[str, Tensor]:
        network = self.network
        image = network.visual(batch.patches, batch.coordinates, self._plan(batch))
        table = self.embedding_table()
        embeddings = F.embedding(batch.ids, table)
        pads = batch.ids == network.config.image_token_id
        embeddings = embeddings.masked_scatter(pads[..., None], image.to(embeddings.dtype))
        hidden, middle = network.model.with_middle(embeddings, batch.cos, batch.sin, mask)
        predicted = batch.targets >= 0
        head = table if network.config.text.tie_word_embeddings else network.lm_head.weight
        logits = F.linear(hidden[predicted], head)
        targets, bins, weights = batch.targets[predicted], batch.bins[predicted], batch.weights[predicted]
        text = language_loss(logits, targets, weights, bins, self.softeners, totals["language"])
        right = (logits.detach().argmax(-1) == targets)[certain(bins, weights)].sum() / totals["decisions"]
        out = {"loss": text, "language": text.detach(), "decisions": right}
        if self.dense and self.pointer and self.words and self.softeners:
            seen = middle[pads].unflatten(0, image.shape[:2])
            names = (_mean_rows(table, self.words[0]), _mean_rows(table, self.words[1]), table[self.number_ids])
            labels = (batch.classes, batch.colors, batch.boxes)
            dense = self.dense(image, seen, names, *labels, self.softeners.bins, totals)
            pointer = self.pointer(middle, pads, batch.pointed, batch.shares, totals)
            fetch = self._fetching(middle, pads, batch) / totals["fetched"]
            out |= {k: v.detach() for k, v in (dense | pointer).items() if k != "loss"}
            out["loss"] = text + self.auxiliary * (dense["loss"] + pointer["pointer"] + fetch)
            out |= {"dense": dense["loss"].detach(), "fetch": fetch.detach()}
        return out

    def _plan(self, batch: Batch) -> PlanTensors:
        if batch.grid not in self._plans:
            plan = image_plan(self.network.config, *batch.grid)
            self._plans[batch.grid] = PlanTensors(plan, batch.patches.device)
        return self._plans[batch.grid]

    def _fetching(self, middle: Tensor, pads: Tensor, batch: Batch) -> Tensor:
        """Loss of the attention of the first heads after the middle: its divergence from the object's tokens.

        These heads then carry the tokens' information, including numbers, to the word that refers to the object.
        """
        layers = self.network.model.layers
        layer = layers[len(layers) // 2]
        states = layer.input_layernorm(middle)
        queries, keys = (
            p(states).unflatten(-1, (-1, layer.self_attn.head_size))[:, :, :heads]
            for p, heads in ((layer.self_attn.q_proj, GUIDED_HEADS), (layer.self_attn.k_proj, 1))
        )
        cos, sin = batch.cos.transpose(1, 2), batch.sin.transpose(1, 2)
        queries, keys = rotate(queries, cos, sin), rotate(keys, cos, sin)[:, :, 0]
        some = fetched(batch.shares)
        rows, places = batch.pointed[some].unbind(1)
        prefix = int((batch.segments[0] == 0).sum())  # the same in every row
        asking = queries[rows, places]
        logits = torch.cat(
            [by_row(asking, keys[:, :prefix], rows), _own_segment(asking, keys, batch.segments, rows, places)], dim=-1
        )
        found = F.log_softmax(logits * layer.self_attn.head_size**-0.5, dim=-1)
        image = torch.nonzero(pads[0]).squeeze(1)
        return -(batch.shares[some][:, None, :-1] * found[:, :, image]).sum() / GUIDED_HEADS


def _own_segment(queries: Tensor, keys: Tensor, segments: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """Products [N, heads, L] of queries [N, heads, width] with the keys [B, T, width] of their own segment up to
    themselves, backwards; -inf before the segment begins."""
    place = torch.arange(segments.shape[1], device=rows.device)
    starts = torch.where(segments != segments.roll(1, dims=1), place, 0).cummax(dim=1).values
    length = places - starts[rows, places] + 1
    back = torch.arange(int(length.max()) if len(rows) else 0, device=rows.device)
    own = keys[rows[:, None], (places[:, None] - back).clamp(0)]
    return (queries @ own.mT).masked_fill((back >= length[:, None])[:, None], -torch.inf)


def _mean_rows(table: Tensor, ids: list[list[int]]) -> Tensor:
    """[len(ids), width]: the mean of the rows of each list."""
    return torch.stack([table[i].mean(dim=0) for i in ids])


def _fourier(values: int, frequencies: int) -> Tensor:
    """[values, 2 * frequencies + 1] features of v / values: a line, and waves of 1 to `values / 4` periods."""
    x = torch.arange(values, dtype=torch.float32) / values
    rates = torch.logspace(0, math.log10(values / 4), frequencies)
    angles = 2 * math.pi * x[:, None] * rates
    return torch.cat([x[:, None] * 2 - 1, angles.sin(), angles.cos()], dim=1)
