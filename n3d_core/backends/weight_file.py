"""The external data of a graph: written once, in order and in pieces, so that no large weight is in memory twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

_PAGE = 4096  # tensors begin on page borders, so that they can be memory-mapped
_PIECE = 1 << 22  # elements
_TILE = 256  # columns: a tile of a transposed matrix stays in the processor's cache while it is turned


class WeightFile:
    """A file that tensors are appended to.

    Args:
        path: of the file, which is created or emptied.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def append(self, tensor: TensorProto, pieces: Iterable[NDArray[Any]]) -> None:
        """Writes the bytes of C-ordered `pieces`, which together are the tensor, and has the tensor refer to them."""
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
        """Flushes to the disk and returns the sha256 of all tensors. May be called twice."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()


def converted(array: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """An array in C order and of another type, some rows at a time; it may itself be a transposed view."""
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
    """4-bit integers, an even number of them, two to a byte in C order; the first in the low half."""
    pairs = values.reshape(-1, 2).view(np.uint8)
    for start in range(0, len(pairs), _PIECE):
        low, high = pairs[start : start + _PIECE].T
        yield low & 0xF | high << 4
