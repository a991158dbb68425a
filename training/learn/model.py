"""The network as it is trained: packed sequences, number embeddings made of Fourier features, the auxiliary head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from n3d_core.errors import ConfigError
from n3d_core.network.config import N3DConfig
from n3d_core.network.decoder import mrope_tables
from n3d_core.network.layers import rotate
from n3d_core.network.model import N3DNetwork
from n3d_core.network.plan import image_plan
from n3d_core.network.vision import PlanTensors
from training.data.packing import IGNORE, Packed, attention_mask
from training.data.sequences import Sample
from training.learn.dense import DenseHead, PointerHead
from training.learn.lora import merged
from training.learn.losses import NumberSofteners, language_loss

GUIDED_HEADS = 2  # that share the first keys
WordIds = tuple[list[list[int]], list[list[int]]]


@dataclass(frozen=True)
class Batch:
    """Samples of one image size, padded to the longest sequence. `grid` is the height and width of their patches."""

    grid: tuple[int, int]
    patches: Tensor
    coordinates: Tensor
    ids: Tensor
    cos: Tensor
    sin: Tensor
    mask: Tensor
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


def collate(samples: list[Sample], config: N3DConfig, pad: int, length: int = 0) -> Batch:
    """Stacks samples, padded to the longest or to `length`; padding tokens are seen by none and predict nothing."""
    length = max(length, *(len(s.packed.ids) for s in samples))

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
        mask=torch.from_numpy(np.stack([attention_mask(padded(s.packed.segment, IGNORE)) for s in samples]))[:, None],
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
    """Wraps the network with what only training needs.

    Args:
        network: what is trained and kept.
        number_ids: ids of the tokens 0..999; empty where numbers are spelled by digits: bins are ordinary tokens then.
        fraction_ids: ids of the tokens that stand for hundredths behind a point; empty where they are ordinary tokens.
        sigma: of bins, and of those of z.
        words: ids of the tokens that name each class and each colour, for the auxiliary heads; None for none.
        auxiliary: weight of their losses.

    Raises:
        ConfigError: if auxiliary heads are asked for where numbers are spelled by digits: they measure in bins.
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

    def embedding_table(self) -> Tensor:
        """[vocab, hidden]: the rows of numbers are their own values plus a linear map of their Fourier features."""
        table = self.network.model.embed_tokens.weight
        if self.softeners is None:
            return table
        return table.index_add(0, self.number_ids, (self.features @ self.number_map).to(table.dtype))

    @torch.no_grad()
    def baked(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of this model, by name, in released form: adapters and number map folded in, the rest dropped."""
        inside = {k.removeprefix("network."): v for k, v in parameters.items() if k.startswith("network.")}
        state = merged(self.network, inside)
        if self.softeners is not None:
            table = state["model.embed_tokens.weight"]
            rows = (self.features.cpu() @ parameters["number_map"]).to(table.dtype)
            state["model.embed_tokens.weight"] = table.index_add(0, self.number_ids.cpu(), rows)
        return state

    def checkpoint_blocks(self) -> None:
        """Activations of each transformer block are computed again in the backward pass."""
        for block in (*self.network.visual.blocks, *self.network.model.layers):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]

    def compile_blocks(self) -> None:
        """The transformer blocks run compiled: blocks of one kind share their code."""
        for block in (*self.network.visual.blocks, *self.network.model.layers):
            block.compile()

    @property
    def open_blocks(self) -> list[nn.Module]:
        """Blocks whose parameters are used outside of their own forward pass too: they cannot be sharded alone."""
        layers = self.network.model.layers
        return [layers[len(layers) // 2]] if self.words is not None else []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch: `loss` is what is minimised, the others are parts of it and accuracies."""
        network = self.network
        image = network.visual(batch.patches, batch.coordinates, self._plan(batch))
        table = self.embedding_table()
        embeddings = F.embedding(batch.ids, table)
        pads = batch.ids == network.config.image_token_id
        embeddings = embeddings.masked_scatter(pads[..., None], image.to(embeddings.dtype))
        hidden, middle = network.model.with_middle(embeddings, batch.cos, batch.sin, batch.mask)
        predicted = batch.targets >= 0
        head = table if network.config.text.tie_word_embeddings else network.lm_head.weight
        logits = F.linear(hidden[predicted], head)
        targets, bins = batch.targets[predicted], batch.bins[predicted]
        text = language_loss(logits, targets, batch.weights[predicted], bins, self.softeners)
        with torch.no_grad():
            guess = logits.argmax(-1)
            is_bin = bins >= 0
            words = (guess == targets)[~is_bin & (batch.weights[predicted] >= 1)].float().mean()
        out = {"loss": text, "language": text.detach(), "decisions": words}
        if self.dense and self.pointer and self.words and self.softeners:
            seen = middle[pads].unflatten(0, image.shape[:2])
            names = (_mean_rows(table, self.words[0]), _mean_rows(table, self.words[1]), table[self.number_ids])
            dense = self.dense(image, seen, names, batch.classes, batch.colors, batch.boxes, self.softeners.bins)
            pointer = self.pointer(middle, pads, batch.pointed, batch.shares)
            fetch = self._fetching(middle, pads, batch)
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
        """Divergence of what the first heads behind the middle attend to from the tokens that show the object.

        Those heads then carry what the tokens know, the numbers among it, to the word that is about them.
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
        some = batch.shares[:, -1] < 0.5
        rows, places = batch.pointed[some].unbind(1)
        logits = torch.einsum("nhd,ntd->nht", queries[rows, places], keys[rows]) * layer.self_attn.head_size**-0.5
        logits = logits.masked_fill(~batch.mask[rows, :, places], -torch.inf)
        image = torch.nonzero(pads[0]).squeeze(1)  # the prefix is the same in every row
        found = F.log_softmax(logits, dim=-1)[:, :, image]
        return -(batch.shares[some][:, None, :-1] * found).sum(-1).mean()


def _mean_rows(table: Tensor, ids: list[list[int]]) -> Tensor:
    """[len(ids), width]: the mean of the rows of each list."""
    return torch.stack([table[i].mean(dim=0) for i in ids])


def _fourier(values: int, frequencies: int) -> Tensor:
    """[values, 2 * frequencies + 1] features of v / values: a line, and waves from one to `values / 4` periods."""
    x = torch.arange(values, dtype=torch.float32) / values
    rates = torch.logspace(0, math.log10(values / 4), frequencies)
    angles = 2 * math.pi * x[:, None] * rates
    return torch.cat([x[:, None] * 2 - 1, angles.sin(), angles.cos()], dim=1)
