"""The decoder as an ONNX graph with a preallocated KV cache; one graph serves prefill chunks and single steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.export.builder import GraphBuilder, NetworkWeights
from n3d_core.backends.export.dialect import Dialect, Heads, swish
from n3d_core.backends.export.precision import BLOCK, Precision, quantise


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
