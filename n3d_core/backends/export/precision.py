"""Precisions of exported graphs, and weight quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError, ConfigError

FloatName = Literal["fp32", "fp16", "bf16"]
BLOCK = 64  # weights per scale; divides all widths of the 3B, the 7B and n3d-tiny


@dataclass(frozen=True)
class Precision:
    """The types in an exported model.

    Attributes:
        name: as a user writes it: `fp32`, `fp16`, `bf16`, `int8`, `int4`.
        compute: type of matrix products, the KV cache and weights that are not quantised.
        weight_bits: 8 or 4 if the decoder's matrices (with the head) are integers with one scale per block, else None.
    """

    name: str
    compute: FloatName
    weight_bits: Literal[4, 8] | None = None

    @classmethod
    def named(cls, name: str, integer_compute: FloatName = "fp32") -> Precision:
        """The precision of a name; models with integer weights compute in `integer_compute` (fp16 on a GPU).

        Raises:
            ConfigError: if the name is unknown.
        """
        known = {
            "fp32": cls(name, "fp32"),
            "fp16": cls(name, "fp16"),
            "bf16": cls(name, "bf16"),
            "int8": cls(name, integer_compute, 8),
            "int4": cls(name, integer_compute, 4),
        }
        if name not in known:
            raise ConfigError(f"precision must be one of {', '.join(known)}; got {name!r}")
        return known[name]


_COLUMNS = 256  # rounded at a time, so that intermediate results stay in the processor's cache


@dataclass(frozen=True)
class QuantisedMatrix:
    """A matrix [K, N] that multiplies activations [T, K] from the right.

    Attributes:
        values: int8 [K, N]; 4-bit values are in -8..7.
        scales: float32 [K / block, N]; weight = value * scale.
        bits: 4 or 8.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    bits: Literal[4, 8]

    def dequantised(self) -> NDArray[np.float32]:
        """The dequantised weights, float32 [K, N]."""
        block = self.values.shape[0] // self.scales.shape[0]
        return self.values.astype(np.float32) * np.repeat(self.scales, block, axis=0)


def quantise(matrix: NDArray[np.float32], bits: Literal[4, 8], block: int) -> QuantisedMatrix:
    """Rounds a matrix [K, N] to integers, symmetric around zero, with positive scales (as TensorRT requires).

    The range has one more step below zero than above; a block whose extreme is negative uses it.

    Raises:
        CheckpointError: if K is not a multiple of `block`.
    """
    rows, columns = matrix.shape
    if rows % block:
        raise CheckpointError(f"integer weights need a multiple of {block} inputs; got {rows}: export fp16 instead")
    values = np.empty((rows, columns), np.int8)
    scales = np.empty((rows // block, columns), np.float32)
    for start in range(0, columns, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        integers, steps = _rounded(np.ascontiguousarray(matrix[:, part].T).reshape(-1, rows // block, block), bits)
        values[:, part], scales[:, part] = integers.reshape(-1, rows).T, steps.T
    return QuantisedMatrix(values, scales, bits)


def _rounded(blocks: NDArray[np.float32], bits: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers [columns, blocks, block] and the step [columns, blocks] of each block."""
    limit = 2 ** (bits - 1)
    steps = np.maximum(blocks.max(axis=2) / (limit - 1), blocks.min(axis=2) / -limit).astype(np.float32)
    steps[steps <= 0] = 1.0  # a block of zeros
    integers = blocks / steps[..., None]
    np.rint(integers, out=integers)
    return np.clip(integers, -limit, limit - 1, out=integers).astype(np.int8), steps
