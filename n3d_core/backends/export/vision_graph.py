"""The vision tower as an ONNX graph for one image size, with window order, rotary tables and masks as constants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from n3d_core.backends.export.builder import GraphBuilder, NetworkWeights
from n3d_core.backends.export.dialect import Dialect, Heads, swish
from n3d_core.backends.export.precision import FloatName
from n3d_core.network.model import axis_divisors
from n3d_core.network.plan import ImagePlan

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
