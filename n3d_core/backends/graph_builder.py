"""Builds an ONNX graph node by node; large weights go straight to a file beside it, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from n3d_core.backends.precision import FloatName
from n3d_core.backends.quantisation import QuantisedMatrix
from n3d_core.backends.weight_file import WeightFile, converted, nibbles

ELEMENT_TYPES: dict[str, int] = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
_EMBEDDED = 1024  # bytes: smaller tensors stay in the graph, where shape inference sees them
_IR_VERSIONS = {19: 9, 21: 10, 24: 12}


class GraphBuilder:
    """Nodes and weights of one graph. Values are names; `op` returns those of a new node's outputs.

    Used as a context manager: on an exception the weight file is closed.
    """

    def __init__(self, name: str, opset: int, weights: Path) -> None:
        self.opset = opset
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._counts: dict[str, int] = {}
        self._file = WeightFile(weights)

    def __enter__(self) -> GraphBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declares an input; strings in `shape` are symbolic sizes."""
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declares the value `name`, which a node has, as an output."""
        self._outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        return self.split_op(kind, *inputs, names=(name or self._fresh(kind),), **attributes)[0]

    def split_op(
        self, kind: str, *inputs: str, names: Sequence[str] | None = None, outputs: int = 1, **attributes: Any
    ) -> tuple[str, ...]:
        """Adds a node with several outputs and returns their names."""
        results = tuple(names) if names is not None else tuple(self._fresh(kind) for _ in range(outputs))
        self._nodes.append(helper.make_node(kind, inputs, results, name=results[0], **attributes))
        return results

    def cast(self, value: str, source: str, target: str) -> str:
        """A value of type `source` as `target`; no node where the two are the same."""
        return value if source == target else self.op("Cast", value, to=ELEMENT_TYPES[target])

    def constant(self, value: NDArray[Any] | np.generic | Sequence[int] | float, dtype: str | None = None) -> str:
        """An unnamed constant; equal small ones are stored once."""
        array = np.asarray(value)
        if dtype is None:
            dtype = "int64" if array.dtype.kind == "i" else "bool" if array.dtype.kind == "b" else "fp32"
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(self._fresh("constant"), array, dtype)
        return self._constants[key]

    def weight(self, name: str, array: NDArray[Any], dtype: str) -> str:
        """A named tensor of one axis at least, converted to `dtype`."""
        array, target = np.atleast_1d(array), np.dtype(helper.tensor_dtype_to_np_dtype(ELEMENT_TYPES[dtype]))
        pieces, size = converted(array, target), array.size * target.itemsize
        return self._store(name, ELEMENT_TYPES[dtype], array.shape, pieces, size)

    def quantised(self, name: str, matrix: QuantisedMatrix, compute: FloatName) -> str:
        """A matrix of integers with a node that gives its values in the type `compute`, [K, N]."""
        values, rows = matrix.values, len(matrix.values)
        if matrix.bits == 4:
            self._store(name, TensorProto.INT4, values.shape, nibbles(values), values.size // 2)
        else:
            self._store(name, TensorProto.INT8, values.shape, [values], values.size)
        if len(matrix.scales) == 1:
            scales = self.weight(f"{name}.scales", matrix.scales[0], compute)
            return self.op("DequantizeLinear", name, scales, axis=1, name=f"{name}.values")
        scales = self.weight(f"{name}.scales", matrix.scales, compute)
        block = rows // len(matrix.scales)
        return self.op("DequantizeLinear", name, scales, axis=0, block_size=block, name=f"{name}.values")

    def _store(
        self, name: str, element_type: int, shape: Sequence[int], pieces: Iterable[NDArray[Any]], size: int
    ) -> str:
        """Keeps a tensor, whose bytes come in C-ordered pieces: in the graph if they are few, else in the file."""
        tensor = TensorProto(name=name, data_type=element_type, dims=shape)
        if size > _EMBEDDED:
            self._file.append(tensor, pieces)
        else:
            tensor.raw_data = b"".join(piece.tobytes() for piece in pieces)
        self._initializers.append(tensor)
        return name

    def _fresh(self, kind: str) -> str:
        number = self._counts[kind] = self._counts.get(kind, -1) + 1
        return f"{kind.lower()}.{number}"

    def save(self, path: Path, metadata: dict[str, str]) -> None:
        """Writes the graph beside its weights, with their sha256 in its metadata, and has `onnx.checker` read it."""
        digest = self._file.close()
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=_IR_VERSIONS[self.opset],
            producer_name="n3d_core",
        )
        helper.set_model_props(model, {**metadata, "weights_sha256": digest})
        path.write_bytes(model.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(path), full_check=True)
