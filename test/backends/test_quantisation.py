"""Integer weights: bounds of the error, edge cases, and what cannot be quantised."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.backends.export.precision import quantise
from n3d_core.errors import CheckpointError


@pytest.mark.parametrize("bits", [4, 8])
def test_each_weight_is_off_by_half_a_step_at_most(bits: int) -> None:
    matrix = np.random.default_rng(0).standard_normal((128, 7)).astype(np.float32)
    made = quantise(matrix, bits, 64)
    step = np.repeat(made.scales, 64, axis=0)
    assert made.scales.shape == (2, 7)
    assert (np.abs(made.dequantised() - matrix) <= step * 0.5001).all()
    assert (made.scales > 0).all()
    assert made.values.min() >= -(2 ** (bits - 1))
    assert made.values.max() <= 2 ** (bits - 1) - 1


def test_extremes_of_both_signs_are_kept() -> None:
    column = np.linspace(-1.0, 0.5, 64, dtype=np.float32)
    made = quantise(np.stack([column, -column], axis=1), 4, 64)
    assert made.values[:, 0].min() == -8  # the longer, negative side has the further step
    assert made.values[:, 1].max() == 7
    np.testing.assert_allclose(made.dequantised()[[0, 0], [0, 1]], [-1.0, 1.0], rtol=1e-6)


def test_a_block_of_zeros_stays_zero() -> None:
    made = quantise(np.zeros((64, 3), dtype=np.float32), 4, 64)
    assert (made.dequantised() == 0).all()


def test_a_width_that_blocks_do_not_divide_is_named() -> None:
    with pytest.raises(CheckpointError, match="integer weights need a multiple of 64 inputs; got 100"):
        quantise(np.zeros((100, 3), dtype=np.float32), 4, 64)
