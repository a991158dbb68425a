"""Weight-only integers: a matrix as signed integers with one scale for each block of rows of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CheckpointError


@dataclass(frozen=True)
class QuantisedMatrix:
    """A matrix [K, N] that multiplies activations [T, K] from the right.

    Attributes:
        values: int8 [K, N]; 4-bit values lie in -8..7.
        scales: float32 [K / block, N]; weight = value * scale.
        bits: 4 or 8.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    bits: Literal[4, 8]

    def dequantised(self) -> NDArray[np.float32]:
        """float32 [K, N], what the integers stand for."""
        block = self.values.shape[0] // self.scales.shape[0]
        return self.values.astype(np.float32) * np.repeat(self.scales, block, axis=0)


def quantise(matrix: NDArray[np.float32], bits: Literal[4, 8], block: int) -> QuantisedMatrix:
    """Rounds a matrix [K, N] to integers, symmetric around zero, with positive scales (as TensorRT wants it).

    The range has one step more below zero than above, and a block whose extreme is negative uses it.

    Raises:
        CheckpointError: if K is not a multiple of `block`.
    """
    rows, columns = matrix.shape
    if rows % block:
        raise CheckpointError(
            f"a weight has {rows} inputs: integer weights need a multiple of {block}; export fp16 instead"
        )
    limit = 2 ** (bits - 1)
    blocks = matrix.reshape(rows // block, block, columns)
    scales = np.maximum(blocks.max(axis=1) / (limit - 1), blocks.min(axis=1) / -limit).astype(np.float32)
    scales[scales <= 0] = 1.0  # a block of zeros
    values = np.clip(np.rint(blocks / scales[:, None]), -limit, limit - 1).astype(np.int8)
    return QuantisedMatrix(values.reshape(rows, columns), scales, bits)
