"""Exports the decoder and the vision tower (for one image size) as ONNX graphs, and keeps them in a store."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.export.builder import GraphBuilder, NetworkWeights
from n3d_core.backends.export.dialect import Dialect, Heads, Opset19, refusals, swish
from n3d_core.backends.export.precision import BLOCK, FloatName, Precision, quantise
from n3d_core.backends.sequence import EmbeddingTable
from n3d_core.backends.store import Store, model_digest
from n3d_core.network.checkpoint import load_network
from n3d_core.network.config import N3DConfig
from n3d_core.network.model import axis_divisors
from n3d_core.network.plan import ImagePlan


class DecoderGraph:
    """Writes the decoder's nodes. Sizes: T tokens of a chunk, S slots of the cache, R rows of logits.

    Inputs: `embeddings` [1, T, hidden], `cos` and `sin` [1, T, d/2] (M-RoPE tables) fp32; `mask` [1, 1, T, S] bool,
    True where a token may attend; `write_indices` [1] int64, the number of cached tokens; `rows` [R] int64, the chunk's
    tokens that need logits; `past_key.i`, `past_value.i` [1, kv_heads, S, d] of each layer.
    Outputs: `logits` [R, vocab] fp32; `present_key.i`, `present_value.i`, intended to share memory with the past.

    Embeddings are looked up on the host, which also inserts image tokens, so the table needs no memory on the device.
    The residual stream, norms and rotation are fp32 in every precision.

    With a `capacity`, S is that number (TensorRT updates a cache in place only if its length is static), and attention
    reads the first N slots, where N is the mask's last axis: buckets are slices of one buffer.
    """

    def __init__(
        self,
        g: GraphBuilder,
        dialect: Dialect,
        weights: NetworkWeights,
        precision: Precision,
        capacity: int | None = None,
    ) -> None:
        self.g, self.dialect, self.weights, self.precision, self.capacity = g, dialect, weights, precision, capacity
        self.config = weights.config.text
        self.compute = precision.compute
        kv, size = self.config.num_key_value_heads, self.config.head_size
        self.heads = Heads(self.config.num_attention_heads, kv, size)

    def build(self) -> None:
        """Adds all nodes, inputs and outputs."""
        g, c, size = self.g, self.config, self.config.head_size
        embeddings = g.input("embeddings", "fp32", [1, "T", c.hidden_size])
        for table in ("cos", "sin"):
            g.input(table, "fp32", [1, "T", size // 2])
        g.input("mask", "bool", [1, 1, "T", "N" if self.capacity else "S"])
        g.input("write_indices", "int64", [1])
        g.input("rows", "int64", ["R"])
        if self.capacity:
            g.op("Shape", "mask", start=3, end=4, name="visible")
        x = g.op("Reshape", embeddings, g.constant([-1, c.hidden_size]))
        for index in range(c.num_hidden_layers):
            x = self._layer(x, index)
        logits = self._linear(self._norm(x, "model.norm"), "lm_head")
        g.op("Identity", g.cast(logits, self.compute, "fp32"), name="logits")
        g.output("logits", "fp32", ["R", c.vocab_size])
        for index in range(c.num_hidden_layers):
            for part in ("key", "value"):
                g.output(f"present_{part}.{index}", self.compute, self._cache_shape())

    def _layer(self, x: str, index: int) -> str:
        g, name = self.g, f"model.layers.{index}"
        mixed = self._attention(self._norm(x, f"{name}.input_layernorm"), f"{name}.self_attn", index)
        if index == self.config.num_hidden_layers - 1:  # from here on only the requested rows matter
            x, mixed = (g.op("Gather", value, "rows", axis=0) for value in (x, mixed))
        mixed = self._linear(mixed, f"{name}.self_attn.o_proj")
        x = g.op("Add", x, g.cast(mixed, self.compute, "fp32"))
        hidden = self._norm(x, f"{name}.post_attention_layernorm")
        gate, up = (self._linear(hidden, f"{name}.mlp.{part}_proj") for part in ("gate", "up"))
        product = g.op("Mul", swish(g, gate), up)
        down = self._linear(product, f"{name}.mlp.down_proj")
        return g.op("Add", x, g.cast(down, self.compute, "fp32"))

    def _attention(self, x: str, name: str, index: int) -> str:
        """[T, hidden] -> [T, hidden] before the output projection."""
        g, query, kv, size = self.g, self.heads.query, self.heads.key_value, self.heads.size
        qkv = g.op(
            "Reshape", self._joined(x, name, ("q_proj", "k_proj", "v_proj")), g.constant([1, -1, query + 2 * kv, size])
        )
        qkv = g.op("Transpose", qkv, perm=[0, 2, 1, 3])
        turning, values = g.split_op("Split", qkv, g.constant([query + kv, kv]), outputs=2, axis=1)
        turned = self.dialect.rotate(g, g.cast(turning, self.compute, "fp32"), "cos", "sin")
        turned = g.cast(turned, "fp32", self.compute)
        queries, keys = g.split_op("Split", turned, g.constant([query, kv]), outputs=2, axis=1)
        keys, values = (self._cached(part, chunk, index) for part, chunk in (("key", keys), ("value", values)))
        out = self.dialect.attention(g, queries, keys, values, "mask", self.heads, self.compute)
        return g.op("Reshape", g.op("Transpose", out, perm=[0, 2, 1, 3]), g.constant([-1, query * size]))

    def _cached(self, part: str, chunk: str, index: int) -> str:
        """The slots of the layer's cache that attention reads, with the chunk written at `write_indices`."""
        g = self.g
        past = g.input(f"past_{part}.{index}", self.compute, self._cache_shape())
        shape = (1, self.heads.key_value, self.heads.size)
        present = self.dialect.write_cache(g, past, chunk, "write_indices", f"present_{part}.{index}", shape)
        return g.op("Slice", present, g.constant([0]), "visible", g.constant([2])) if self.capacity else present

    def _cache_shape(self) -> list[int | str]:
        return [1, self.heads.key_value, self.capacity or "S", self.heads.size]

    def _norm(self, x: str, name: str) -> str:
        weight = self.g.weight(f"{name}.weight", self.weights.tensor(f"{name}.weight"), "fp32")
        return self.g.cast(self.dialect.rms_norm(self.g, x, weight, self.config.rms_norm_eps), "fp32", self.compute)

    def _joined(self, x: str, name: str, parts: tuple[str, ...]) -> str:
        """Several projections of the same values as one concatenated product."""
        weight = np.concatenate([self.weights.tensor(f"{name}.{part}.weight") for part in parts])
        bias = np.concatenate([self.weights.tensor(f"{name}.{part}.bias") for part in parts])
        return self._product(x, f"{name}.qkv", weight, bias)

    def _linear(self, x: str, name: str) -> str:
        return self._product(x, name, self.weights.tensor(f"{name}.weight"))

    def _product(self, x: str, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """x [T, K] times weight [N, K] transposed, plus bias."""
        if self.precision.weight_bits is None:
            matrix = self.g.weight(f"{name}.weight", weight.T, self.compute)
        else:
            bits = self.precision.weight_bits
            block = BLOCK if bits == 4 or self.dialect.int8_blocks else weight.shape[1]
            quantised = quantise(weight.T, bits, block)
            matrix = self.g.quantised(f"{name}.weight", quantised, self.compute)
        product = self.g.op("MatMul", x, matrix)
        return product if bias is None else self.g.op("Add", product, self.g.weight(f"{name}.bias", bias, self.compute))


_EPS = 1e-6  # of the tower's norms


class VisionGraph:
    """Writes the tower's nodes: `patches` [1, P, values] and `coordinates` [1, P, 3] -> `tokens` [1, P/4, hidden].

    Inputs, outputs, the residual stream and the norms are fp32 in every precision, as is the last block's MLP from the
    gate on, whose products exceed fp16's 65,504. Other matrix products run in the type `compute`.
    """

    def __init__(
        self, g: GraphBuilder, dialect: Dialect, weights: NetworkWeights, plan: ImagePlan, compute: FloatName
    ) -> None:
        self.g, self.dialect, self.weights, self.plan, self.compute = g, dialect, weights, plan, compute
        self.config = weights.config.vision
        self.head_size = self.config.hidden_size // self.config.num_heads

    def build(self) -> None:
        """Adds all nodes, inputs and outputs."""
        g, c, plan = self.g, self.config, self.plan
        patches = g.input("patches", "fp32", [1, plan.patches, c.patch_values])
        coordinates = g.input("coordinates", "fp32", [1, plan.patches, 3])
        rows = g.op("Reshape", patches, g.constant([plan.patches, c.patch_values]))
        kernel = self.weights.tensor("visual.patch_embed.proj.weight").reshape(c.hidden_size, -1)
        kernel_name = g.weight("visual.patch_embed.proj.weight", kernel.T, self.compute)
        x = g.op("MatMul", g.cast(rows, "fp32", self.compute), kernel_name)
        x = g.cast(self._rows(x, plan.order), self.compute, "fp32")
        for index in range(c.depth):
            x = self._block(x, index)
        x = g.op("Add", x, self._encoding(coordinates))
        tokens = self._merger(x)
        g.op("Reshape", tokens, g.constant([1, plan.tokens, c.out_hidden_size]), name="tokens")
        g.output("tokens", "fp32", [1, plan.tokens, c.out_hidden_size])

    def _block(self, x: str, index: int) -> str:
        g, name = self.g, f"visual.blocks.{index}"
        mixed = self._attention(self._norm(x, f"{name}.norm1"), f"{name}.attn", index)
        x = g.op("Add", x, g.cast(mixed, self.compute, "fp32"))
        hidden = self._norm(x, f"{name}.norm2")
        gate, up = (self._linear(hidden, f"{name}.mlp.{part}_proj", self.compute) for part in ("gate", "up"))
        wide: FloatName = "fp32" if index == self.config.depth - 1 else self.compute
        gate, up = g.cast(gate, self.compute, wide), g.cast(up, self.compute, wide)
        product = g.op("Mul", swish(g, gate), up)
        return g.op("Add", x, g.cast(self._linear(product, f"{name}.mlp.down_proj", wide), wide, "fp32"))

    def _attention(self, x: str, name: str, index: int) -> str:
        """[P, hidden] -> [P, hidden]; a window is an element of the batch."""
        g, plan, heads, size = self.g, self.plan, self.config.num_heads, self.head_size
        windowed = index not in self.config.fullatt_block_indexes
        batch, length = plan.windows.shape if windowed else (1, plan.patches)
        slots = plan.windows.reshape(-1) if windowed else np.arange(plan.patches)
        qkv = self._rows(self._linear(x, f"{name}.qkv", self.compute), slots)
        qkv = g.op("Transpose", g.op("Reshape", qkv, g.constant([batch, length, 3 * heads, size])), perm=[0, 2, 1, 3])
        turning, values = g.split_op("Split", qkv, g.constant([2 * heads, heads]), outputs=2, axis=1)
        tables = (t[slots, : size // 2].reshape(batch, length, -1) for t in (plan.cos, plan.sin))
        cos, sin = (g.constant(t) for t in tables)
        turned = self.dialect.rotate(g, g.cast(turning, self.compute, "fp32"), cos, sin)
        queries, keys = g.split_op("Split", g.cast(turned, "fp32", self.compute), outputs=2, axis=1, num_outputs=2)
        mask = None
        if windowed and not plan.window_mask.all():  # the operator needs a mask row per query
            mask = g.constant(np.repeat(plan.window_mask[:, None, None, :], length, axis=2))
        out = self.dialect.attention(g, queries, keys, values, mask, Heads(heads, heads, size, batch), self.compute)
        out = g.op("Reshape", g.op("Transpose", out, perm=[0, 2, 1, 3]), g.constant([batch * length, heads * size]))
        return self._linear(
            self._rows(out, plan.window_inverse, batch * length) if windowed else out, f"{name}.proj", self.compute
        )

    def _encoding(self, coordinates: str) -> str:
        """The 3D positional encoding [P, hidden] of rounded coordinates [1, P, 3] (see `network.model.sinusoid`)."""
        g, plan, width = self.g, self.plan, self.config.hidden_size
        per_axis = width // 3
        rows = self._rows(g.op("Reshape", coordinates, g.constant([plan.patches, 3])), plan.pe_rows)
        divisors = axis_divisors(per_axis).numpy()[::2]  # a sine and the cosine that follows share theirs
        angles = g.op("Div", g.op("Unsqueeze", rows, g.constant([2])), g.constant(divisors))
        pair = [g.op("Unsqueeze", g.op(wave, angles), g.constant([3])) for wave in ("Sin", "Cos")]
        waves = g.op("Reshape", g.op("Concat", *pair, axis=3), g.constant([plan.patches, 3, 2 * len(divisors)]))
        if per_axis % 2:
            waves = g.op("Slice", waves, g.constant([0]), g.constant([per_axis]), g.constant([2]))
        encoding = g.op("Reshape", waves, g.constant([plan.patches, 3 * per_axis]))
        spare = np.zeros((plan.patches, width - 3 * per_axis), dtype=np.float32)
        encoding = g.op("Concat", encoding, g.constant(spare), axis=1) if spare.size else encoding
        if plan.places is None or plan.place_channels is None:
            return encoding
        return g.op("Where", g.constant(plan.place_channels), g.constant(plan.places), encoding)

    def _merger(self, x: str) -> str:
        """[P, hidden] in window order -> image tokens [P/4, out] in reading order."""
        g, c = self.g, self.config
        grouped = g.constant([self.plan.tokens, c.hidden_size * c.spatial_merge_size**2])
        hidden = self._linear(
            g.op("Reshape", self._norm(x, "visual.merger.ln_q"), grouped), "visual.merger.mlp.0", self.compute
        )
        tokens = self._linear(self.dialect.gelu(g, hidden, self.compute), "visual.merger.mlp.2", self.compute)
        return g.cast(self._rows(tokens, self.plan.token_inverse), self.compute, "fp32")

    def _norm(self, x: str, name: str) -> str:
        weight = self.g.weight(f"{name}.weight", self.weights.tensor(f"{name}.weight"), "fp32")
        return self.g.cast(self.dialect.rms_norm(self.g, x, weight, _EPS), "fp32", self.compute)

    def _linear(self, x: str, name: str, dtype: FloatName) -> str:
        weight = self.g.weight(f"{name}.weight", self.weights.tensor(f"{name}.weight").T, dtype)
        bias = self.g.weight(f"{name}.bias", self.weights.tensor(f"{name}.bias"), dtype)
        return self.g.op("Add", self.g.op("MatMul", x, weight), bias)

    def _rows(self, x: str, index: NDArray[np.int64], rows: int | None = None) -> str:
        """Gathers from the `rows` (P) rows of [rows, ...]; adds no node if the order does not change."""
        if np.array_equal(index, np.arange(self.plan.patches if rows is None else rows)):
            return x
        return self.g.op("Gather", x, self.g.constant(index), axis=0)


log = logging.getLogger("n3d.export")

GRAPH_VERSION = 1  # incremented when the exporter's graphs change


@dataclass(frozen=True)
class Graph:
    """An exported graph on disk: `path`, and its weights in a `.data` file of the same name next to it."""

    path: Path

    @property
    def sha256(self) -> str:
        """sha256 of the graph file. Its metadata contain the weights' sha256, so it covers both graph and weights."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def weight_bytes(self) -> int:
        """Size of the weights."""
        return self.path.with_suffix(".data").stat().st_size


def export_vision(
    weights: NetworkWeights, plan: ImagePlan, folder: Path, precision: Precision, lowered: bool = False
) -> Graph:
    """Writes `vision.onnx` for the patch grid of `plan`. Integer precisions leave the tower in their computing type."""
    dialect = _dialect(precision, lowered, bits=None)
    with GraphBuilder("n3d_vision", dialect.opset, folder / "vision.data") as g:
        VisionGraph(g, dialect, weights, plan, precision.compute).build()
        metadata = {"graph": "vision", "precision": precision.compute, "patch_grid": f"{plan.grid_h}x{plan.grid_w}"}
        g.save(folder / "vision.onnx", metadata)
    return Graph(folder / "vision.onnx")


def export_decoder(
    weights: NetworkWeights, folder: Path, precision: Precision, lowered: bool = False, capacity: int | None = None
) -> Graph:
    """Writes `decoder.onnx`, with a cache of symbolic length, or of `capacity` tokens (see `DecoderGraph`)."""
    dialect = _dialect(precision, lowered, bits=precision.weight_bits)
    with GraphBuilder("n3d_decoder", dialect.opset, folder / "decoder.data") as g:
        DecoderGraph(g, dialect, weights, precision, capacity).build()
        g.save(folder / "decoder.onnx", {"graph": "decoder", "precision": precision.name, "compute": precision.compute})
    return Graph(folder / "decoder.onnx")


def _dialect(precision: Precision, lowered: bool, bits: int | None) -> Dialect:
    if not lowered:
        return Dialect()
    return Opset19(opset=21 if bits == 4 else 19)  # 4-bit weights came with opset 21


class GraphStore:
    """Graphs of one checkpoint in one precision, exported on first use and kept in a store.

    Args:
        folder: the checkpoint folder.
        precision: the graphs' precision.
        lowered: whether to use opset 19's primitives.
        capacity: length of the decoder's cache; None leaves it symbolic.
        store: where to keep them; None is the user's cache.
    """

    def __init__(
        self,
        folder: Path,
        precision: Precision,
        lowered: bool = False,
        capacity: int | None = None,
        store: Store | None = None,
    ) -> None:
        self.folder, self.precision, self.lowered, self.capacity = folder, precision, lowered, capacity
        self.store = store or Store()
        self.config = N3DConfig.from_file(folder / "config.json")

    @cached_property
    def table(self) -> EmbeddingTable:
        """The embedding table in the checkpoint's file."""
        return EmbeddingTable.of_checkpoint(self.folder)

    @cached_property
    def weights_sha256(self) -> str:
        """Identifies the checkpoint."""
        return model_digest(self.folder)

    def vision(self, plan: ImagePlan) -> Graph:
        """The tower's graph for a patch grid. Integer precisions leave the tower in their computing type."""

        def build(folder: Path) -> dict[str, Any]:
            log.info("exporting the vision tower for %dx%d patches", plan.grid_w, plan.grid_h)
            return _noted(export_vision(self._weights(), plan, folder, self.precision, self.lowered))

        key = self.vision_key(plan)
        return Graph(self.store.get(f"vision-{self.precision.compute}", key, build).folder / "vision.onnx")

    def decoder(self) -> Graph:
        """The decoder's graph."""

        def build(folder: Path) -> dict[str, Any]:
            log.info("exporting the decoder in %s", self.precision.name)
            return _noted(export_decoder(self._weights(), folder, self.precision, self.lowered, self.capacity))

        key = self.decoder_key(self.capacity)
        return Graph(self.store.get(f"decoder-{self.precision.name}", key, build).folder / "decoder.onnx")

    def vision_key(self, plan: ImagePlan) -> dict[str, Any]:
        """Everything that the tower's graph depends on."""
        return self._key("vision", self.precision.compute) | {"patch_grid": [plan.grid_h, plan.grid_w]}

    def decoder_key(self, capacity: int | None) -> dict[str, Any]:
        """Everything that the decoder's graph depends on."""
        return self._key("decoder", self.precision.name) | {"capacity": capacity}

    def _key(self, graph: str, precision: str) -> dict[str, Any]:
        return {
            "graph": graph,
            "weights": self.weights_sha256,
            "precision": precision,
            "compute": self.precision.compute,
            "lowered": self.lowered,
            "graph_version": GRAPH_VERSION,
        }

    def _weights(self) -> NetworkWeights:
        return NetworkWeights(load_network(self.folder, dtype=None))


def _noted(graph: Graph) -> dict[str, Any]:
    return {"graph_sha256": graph.sha256, "tensorrt_10_3": not refusals(graph.path)}
