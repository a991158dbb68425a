"""The ONNX operators of TensorRT 10.3 (JetPack 6) that the lowered graphs need, and a check against them.

Source: docs/operators.md of the onnx-tensorrt parser for TensorRT 10 (opsets 9 to 20; INT4 weights with the block-wise
`DequantizeLinear` of opset 21), restricted to what the exporter writes.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

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
