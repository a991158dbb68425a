"""Raw depth values become metres by their unit, and invalid ones become NaN."""

from __future__ import annotations

import numpy as np
import pytest

from n3d_core.depth import DepthUnit
from n3d_core.errors import DepthError


@pytest.mark.parametrize(
    ("unit", "raw", "metres"),
    [("mm", 1500, 1.5), ("tum", 7500, 1.5), ("10000", 15000, 1.5), ("m", 3, 3.0), ("256", 384, 1.5)],
)
def test_a_unit_says_how_many_raw_values_make_a_metre(unit: str, raw: int, metres: float) -> None:
    depth = DepthUnit.parse(unit).to_metres(np.full((2, 3), raw, np.uint16))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, metres, rtol=1e-7)


@pytest.mark.parametrize("millimetres", [1, 7, 1234, 8191, 8192, 9870, 65534])
def test_sun_values_are_rotated_back_by_three_bits(millimetres: int) -> None:
    stored = ((millimetres << 3) | (millimetres >> 13)) & 0xFFFF
    depth = DepthUnit.parse("sun").to_metres(np.full((1, 1), stored, np.uint16))
    assert depth[0, 0] == np.float32(millimetres / 1000)


def test_zero_negative_infinite_nan_and_overflow_are_invalid() -> None:
    floats = np.array([[0.0, -1.0, np.inf, np.nan, 2.0]], np.float32)
    np.testing.assert_array_equal(np.isnan(DepthUnit.parse("m").to_metres(floats)), [[1, 1, 1, 1, 0]])
    integers = np.array([[0, 65535, 1]], np.uint16)
    np.testing.assert_array_equal(np.isnan(DepthUnit.parse("mm").to_metres(integers)), [[1, 1, 0]])


def test_the_type_decides_where_no_unit_is_given() -> None:
    assert DepthUnit.of(np.zeros((1, 1), np.uint16)).name == "mm"
    assert DepthUnit.of(np.zeros((1, 1), np.float64)).name == "m"
    with pytest.raises(DepthError, match="8 bits hold 256 distances"):
        DepthUnit.of(np.zeros((1, 1), np.uint8))


@pytest.mark.parametrize("text", ["cm", "0", "-5", "nan", "inf", ""])
def test_an_unknown_unit_is_an_error_that_lists_the_known_ones(text: str) -> None:
    with pytest.raises(DepthError, match="mm, m, tum, sun"):
        DepthUnit.parse(text)


def test_arrays_that_are_no_depth_image_are_refused() -> None:
    unit = DepthUnit.parse("mm")
    with pytest.raises(DepthError, match=r"one channel \[H, W\]"):
        unit.to_metres(np.zeros((2, 2, 3), np.uint16))
    with pytest.raises(DepthError, match="integers or floats"):
        unit.to_metres(np.zeros((2, 2), np.complex64))
    with pytest.raises(DepthError, match="16-bit"):
        DepthUnit.parse("sun").to_metres(np.ones((2, 2), np.float32))
