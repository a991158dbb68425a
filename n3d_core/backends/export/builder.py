"""Builds an ONNX graph node by node; large weights are written directly to a separate file, one at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from n3d_core.backends.export.precision import FloatName, QuantisedMatrix
from n3d_core.errors import EngineError
from n3d_core.network.model import N3DNetwork

_PAGE = 4096  # tensors are page-aligned, so that they can be memory-mapped
_PIECE = 1 << 22  # elements
_TILE = 256  # columns: a tile of a matrix stays in the processor's cache while it is transposed


class NetworkWeights:
    """A network's tensors as fp32 arrays, one at a time, by the released checkpoint's names.

    The network may be memory-mapped (`load_network(folder, dtype=None)`).
    """

    def __init__(self, network: N3DNetwork) -> None:
        self.config = network.config
        self._parameters = dict(network.named_parameters())

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor. The head of a tied model is its embedding table."""
        if name == "lm_head.weight" and self.config.text.tie_word_embeddings:
            name = "model.embed_tokens.weight"
        return self._parameters[name].detach().float().cpu().numpy()


class WeightFile:
    """A file that tensors are appended to.

    Args:
        path: the file to create or overwrite.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def append(self, tensor: TensorProto, pieces: Iterable[NDArray[Any]]) -> None:
        """Writes a tensor's bytes, given as C-ordered `pieces`, and makes the tensor refer to them."""
        self._file.write(b"\0" * (-self._file.tell() % _PAGE))
        offset = self._file.tell()
        for piece in pieces:
            data = piece.reshape(-1).view(np.uint8).data
            self._file.write(data)
            self._hash.update(data)
        tensor.data_location = TensorProto.EXTERNAL
        length = self._file.tell() - offset
        for key, value in (("location", self.path.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))

    def close(self) -> str:
        """Flushes to disk and returns the sha256 of all tensors. May be called twice."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()


def converted(array: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yields an array (possibly a transposed view) in C order and another type, some rows at a time."""
    if array.ndim < 2:
        yield np.ascontiguousarray(array, dtype)
        return
    rows = max(1, _PIECE // max(1, array[0].size))
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        turned = np.empty(piece.shape, dtype)
        for left in range(0, piece.shape[-1], _TILE):
            turned[..., left : left + _TILE] = piece[..., left : left + _TILE]
        yield turned


def nibbles(values: NDArray[np.int8]) -> Iterator[NDArray[np.uint8]]:
    """Packs an even number of 4-bit integers in C order, two per byte, the first in the low half."""
    pairs = values.reshape(-1, 2).view(np.uint8)
    for start in range(0, len(pairs), _PIECE):
        low, high = pairs[start : start + _PIECE].T
        yield low & 0xF | high << 4


ELEMENT_TYPES: dict[str, int] = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
_EMBEDDED = 1024  # bytes: smaller tensors stay in the graph for shape inference
_IR_VERSIONS = {19: 9, 21: 10, 24: 12}


class GraphBuilder:
    """Nodes and weights of one graph. Values are represented by their names; `op` returns a new node's output name.

    Use it as a context manager: the weight file is closed on an exception.
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
        """Declares the value `name` of a node as an output."""
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
        """Casts a value of type `source` to `target`; adds no node if the types are equal."""
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
        """Adds a named tensor with at least one axis, converted to `dtype`."""
        array, target = np.atleast_1d(array), np.dtype(helper.tensor_dtype_to_np_dtype(ELEMENT_TYPES[dtype]))
        pieces, size = converted(array, target), array.size * target.itemsize
        return self._store(name, ELEMENT_TYPES[dtype], array.shape, pieces, size)

    def quantised(self, name: str, matrix: QuantisedMatrix, compute: FloatName) -> str:
        """Adds an integer matrix [K, N] and a node that dequantises it to the type `compute`."""
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
        """Stores a tensor given as C-ordered pieces: in the graph if it is small, else in the file."""
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
        """Writes the graph next to its weights, with their sha256 in its metadata, and runs `onnx.checker` on it."""
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
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except Exception as error:  # onnx's own exceptions derive directly from Exception
            said = " ".join(str(error).split())[:500]
            raise EngineError(
                f"{path.name}: onnx {onnx.__version__} rejects the exported graph ({said}); use onnx 1.19 or newer: "
                "pip install -U 'n3d-ros[export]'"
            ) from error
