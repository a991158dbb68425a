"""The network's compound operations in two forms: opset 24's own operators, and opset 19's primitives for old TensorRT.

Both take and return the same values, so one graph definition serves every TensorRT version.
q, k and v are [batch, heads, tokens, head_size].
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto

from n3d_core.backends.export.builder import GraphBuilder
from n3d_core.backends.export.precision import FloatName


class Heads(NamedTuple):
    """Sizes for attention: query heads, key-value heads, head size, batch (windows)."""

    query: int
    key_value: int
    size: int
    batch: int = 1


def swish(g: GraphBuilder, x: str) -> str:
    """x * sigmoid(x). Opset 24 has `Swish`, but ONNX Runtime and TensorRT fuse this form."""
    return g.op("Mul", x, g.op("Sigmoid", x))


class Dialect:
    """ONNX's own compound operators in opset 24.

    Attributes:
        opset: the graph's opset.
        int8_blocks: whether 8-bit weights may have one scale per block; otherwise one per column.
    """

    opset = 24
    int8_blocks = True

    def rms_norm(self, g: GraphBuilder, x: str, weight: str, eps: float) -> str:
        """Root-mean-square norm of fp32 values over the last axis."""
        return g.op("RMSNormalization", x, weight, axis=-1, epsilon=eps, stash_type=1)

    def gelu(self, g: GraphBuilder, x: str, dtype: FloatName) -> str:
        """Exact GELU (by erf)."""
        return g.op("Gelu", x, approximate="none")

    def rotate(self, g: GraphBuilder, x: str, cos: str, sin: str) -> str:
        """Rotary embedding of [B, H, T, d] by cos, sin [B, T, d/2]; pairs are taken from the two halves of d."""
        return g.op("RotaryEmbedding", x, cos, sin, interleaved=0)

    def write_cache(
        self, g: GraphBuilder, cache: str, chunk: str, start: str, name: str, shape: tuple[int, int, int]
    ) -> str:
        """Writes a chunk [1, H, T, d] to a cache [1, H, S, d] at token `start` [1]; `shape` is (1, H, d)."""
        return g.op("TensorScatter", cache, chunk, start, axis=-2, mode="linear", name=name)

    def attention(
        self, g: GraphBuilder, q: str, k: str, v: str, mask: str | None, head: Heads, dtype: FloatName
    ) -> str:
        """softmax(q kᵀ / √d) v; `mask` [.., T, S] is True where a query may attend."""
        return g.op("Attention", q, k, v, *([mask] if mask else []), scale=head.size**-0.5, is_causal=0)


class Opset19(Dialect):
    """Primitives that every TensorRT 10 supports: JetPack 6 ships 10.3, whose parser lacks the operators above."""

    int8_blocks = False

    def __init__(self, opset: int = 19) -> None:
        self.opset = opset  # the primitives are the same in later opsets

    def rms_norm(self, g: GraphBuilder, x: str, weight: str, eps: float) -> str:
        mean = g.op("ReduceMean", g.op("Mul", x, x), g.constant([-1]), keepdims=1)
        deviation = g.op("Sqrt", g.op("Add", mean, g.constant(np.float32(eps))))
        return g.op("Mul", g.op("Div", x, deviation), weight)

    def gelu(self, g: GraphBuilder, x: str, dtype: FloatName) -> str:
        erf = g.op("Erf", g.op("Mul", x, g.constant(0.5**0.5, dtype)))
        return g.op("Mul", g.op("Mul", x, g.constant(0.5, dtype)), g.op("Add", erf, g.constant(1.0, dtype)))

    def rotate(self, g: GraphBuilder, x: str, cos: str, sin: str) -> str:
        first, second = g.split_op("Split", x, outputs=2, axis=-1, num_outputs=2)
        cos, sin = (g.op("Unsqueeze", t, g.constant([1])) for t in (cos, sin))
        left = g.op("Sub", g.op("Mul", first, cos), g.op("Mul", second, sin))
        right = g.op("Add", g.op("Mul", second, cos), g.op("Mul", first, sin))
        return g.op("Concat", left, right, axis=-1)

    def write_cache(
        self, g: GraphBuilder, cache: str, chunk: str, start: str, name: str, shape: tuple[int, int, int]
    ) -> str:
        batch, heads, size = shape
        tokens = g.op("Squeeze", g.op("Shape", chunk, start=2, end=3), g.constant([0]))
        count = g.op("Range", g.constant(np.int64(0)), tokens, g.constant(np.int64(1)))
        rows = g.op("Reshape", g.op("Add", count, start), g.constant([1, 1, -1, 1]))
        index = g.op("Expand", rows, g.constant([batch, heads, 1, size]))
        return g.op("ScatterElements", cache, index, chunk, axis=2, name=name)

    def attention(
        self, g: GraphBuilder, q: str, k: str, v: str, mask: str | None, head: Heads, dtype: FloatName
    ) -> str:
        # The query heads of one key-value head are stacked as rows, so that keys are not repeated.
        grouped = g.constant([head.batch, head.key_value, -1, head.size])
        scaled = g.op("Mul", q, g.constant(head.size**-0.5, dtype))
        keys = g.op("Transpose", k, perm=[0, 1, 3, 2])
        scores = g.op("MatMul", g.op("Reshape", scaled, grouped), keys)
        tokens = g.op("Shape", q, start=2, end=3)
        width = g.op("Shape", k, start=2, end=3)
        full = g.op("Concat", g.constant([head.batch, head.query]), tokens, width, axis=0)
        scores = g.cast(g.op("Reshape", scores, full), dtype, "fp32")
        if mask:
            scores = g.op("Where", mask, scores, g.constant(np.float32(-1e30)))
        share = g.cast(g.op("Softmax", scores, axis=-1), "fp32", dtype)
        rows = g.op("Concat", g.constant([head.batch, head.key_value, -1]), width, axis=0)
        mixed = g.op("MatMul", g.op("Reshape", share, rows), v)
        result = g.op("Concat", g.constant([head.batch, head.query]), tokens, g.constant([head.size]), axis=0)
        return g.op("Reshape", mixed, result)


# What TensorRT 10.3 (JetPack 6) parses, restricted to what the exporter writes. Source: docs/operators.md of the
# onnx-tensorrt parser for TensorRT 10 (opsets 9 to 20; INT4 weights with the block-wise `DequantizeLinear` of 21).
FLOATS = frozenset({"FLOAT", "FLOAT16", "BFLOAT16"})
NUMBERS = FLOATS | {"INT32", "INT64"}
ANY = NUMBERS | {"BOOL"}

# Operator -> types of its values. CONSTANT lists the axis and shape inputs that must be constants.
OPERATORS: dict[str, frozenset[str]] = {
    "Add": NUMBERS,
    "Cast": ANY,
    "Concat": ANY,
    "Cos": FLOATS,
    "DequantizeLinear": FLOATS | {"INT8", "INT4"},
    "Div": NUMBERS,
    "Erf": FLOATS,
    "Expand": ANY,
    "Gather": ANY,
    "Identity": ANY,
    "MatMul": FLOATS,
    "Mul": NUMBERS,
    "Range": NUMBERS,
    "ReduceMean": NUMBERS,
    "Reshape": ANY,
    "ScatterElements": NUMBERS,
    "Shape": ANY,
    "Sigmoid": FLOATS,
    "Sin": FLOATS,
    "Slice": ANY,
    "Softmax": FLOATS,
    "Split": ANY,
    "Sqrt": FLOATS,
    "Squeeze": ANY,
    "Sub": NUMBERS,
    "Transpose": ANY,
    "Unsqueeze": ANY,
    "Where": ANY,
}
CONSTANT = {"ReduceMean": 1, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1}  # operator -> input that must be an initializer
_LAST_OPSET = 20
_INT4_OPSET = 21


def refusals(path: Path) -> list[str]:
    """Why TensorRT 10.3 would reject a graph, one line per kind of node; empty if it accepts it."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False))
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.output, *graph.value_info]}
    constants = {t.name: t.data_type for t in graph.initializer}
    types |= constants
    found = set(_opset_refusals(model, set(constants.values())))
    for node in graph.node:
        if node.op_type not in OPERATORS:
            found.add(f"operator {node.op_type} is not supported")
            continue
        names = {TensorProto.DataType.Name(types[v]) for v in [*node.input, *node.output] if types.get(v)}
        for name in sorted(names - OPERATORS[node.op_type]):
            found.add(f"operator {node.op_type} is not supported for {name}")
        untyped = [v for v in [*node.input, *node.output] if v and not types.get(v)]
        found.update(f"operator {node.op_type}: the type of {v} is unknown" for v in untyped)
        place = CONSTANT.get(node.op_type)
        if place is not None and len(node.input) > place and node.input[place] not in constants:
            found.add(f"operator {node.op_type} needs constant axes")
    return sorted(found)


def _opset_refusals(model: onnx.ModelProto, types: set[int]) -> list[str]:
    last = _INT4_OPSET if TensorProto.INT4 in types else _LAST_OPSET
    return [
        f"opset {o.version} of domain {o.domain or 'ai.onnx'!r} is not supported: use at most {last} of ai.onnx"
        for o in model.opset_import
        if o.domain not in ("", "ai.onnx") or o.version > last
    ]
