"""Between metres and bins: nothing drifts, and what does not fit is flagged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.points import Normalisation
from n3d_core.language.structured import ANGLE_ZERO, BINS, SIZE_MAX, Z_MAX, BoxCode, BoxCodec, saturated_fields

BIN = st.integers(0, BINS - 1)
CODE = st.builds(BoxCode, st.just("mug"), BIN, BIN, BIN, st.just(ANGLE_ZERO), BIN, BIN, BIN)
CAMERAS = st.builds(
    Camera,
    st.integers(16, 4000),
    st.integers(16, 4000),
    st.floats(50, 5000),
    st.floats(50, 5000),
    st.floats(0, 4000),
    st.floats(0, 4000),
)
NORMALISATIONS = st.builds(
    Normalisation, st.tuples(st.floats(-50, 0), st.floats(-50, 0), st.floats(0.05, 50)), st.floats(0.01, 10)
)
CODECS = st.builds(BoxCodec, NORMALISATIONS, CAMERAS)


@given(CODECS, CODE)
def test_decoding_and_encoding_again_gives_the_same_bins(codec: BoxCodec, code: BoxCode) -> None:
    assert codec.encode(codec.decode(code)) == code


@given(CODECS, st.tuples(*[st.floats(0.0005, 0.9985)] * 6))
def test_encoding_moves_a_box_by_less_than_a_bin(codec: BoxCodec, at: tuple[float, ...]) -> None:
    camera, scale = codec.camera, codec.normalisation.scale
    z = codec.normalisation.min_z + at[2] * Z_MAX / scale
    x = (at[0] * camera.width - 0.5 - camera.cx) / camera.fx * z
    y = (at[1] * camera.height - 0.5 - camera.cy) / camera.fy * z
    width, height, length = (f * SIZE_MAX / scale for f in at[3:])
    box = Box3D("mug", (x, y, z), (width, height, length))
    code = codec.encode(box)
    assert abs(code.u / BINS - at[0]) <= 0.5 / BINS + 1e-9
    assert abs(code.v / BINS - at[1]) <= 0.5 / BINS + 1e-9
    near = codec.decode(code)
    assert -1e-9 <= z - near.center[2] <= Z_MAX / scale / BINS * (1 + 1e-6)
    for true, read in zip(box.size, near.size, strict=True):
        assert -1e-9 <= true - read <= SIZE_MAX / scale / BINS * (1 + 1e-6)


def test_decoding_takes_the_left_edge_of_a_bin() -> None:
    codec = BoxCodec(Normalisation((0.0, 0.0, 1.5), 0.25), Camera(1000, 1000, 500.0, 500.0, 499.5, 499.5))
    box = codec.decode(BoxCode("mug", 700, 400, 250, 500, 100, 200, 300), score=0.7)
    z = 1.5 + 0.25 * 2 / 0.25
    assert box.center == pytest.approx((0.4 * z, -0.2 * z, z))
    assert box.size == pytest.approx((0.25, 0.5, 0.75))
    assert (box.score, box.saturated) == (0.7, ())


def test_the_released_sample_decodes_to_the_published_metres() -> None:
    codec = BoxCodec(
        Normalisation((-25.828125, -22.578125, 9.859375), 0.02397536905444797), Camera.from_fov(56.9, 640, 426)
    )
    box = codec.decode(BoxCode("hotair ballon", 132, 435, 126, 500, 86, 98, 63))
    assert box.center[2] == 20.370162109375002
    assert box.size == (2.241884155273437, 2.5547052001953126, 1.6423104858398438)


@given(CODECS, CODE)
def test_the_jacobian_is_that_of_decoding(codec: BoxCodec, code: BoxCode) -> None:
    jacobian = codec.center_jacobian(code)
    centre = np.array(codec.decode(code).center)
    for column, field in enumerate(("u", "v", "z")):
        step = np.array(codec.decode(BoxCode(**{**code.__dict__, field: getattr(code, field) + 1})).center) - centre
        bilinear = 0.0 if column < 2 else 1e-9
        assert step == pytest.approx(jacobian[:, column], rel=1e-6, abs=bilinear + 1e-9 * abs(centre).max())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -5.0])
def test_numbers_that_do_not_fit_are_clipped(value: float) -> None:
    codec = BoxCodec(Normalisation((0.0, 0.0, 0.5), 1.0), Camera.from_fov(60, 640, 480))
    code = codec.encode(Box3D("mug", (0.0, 0.0, 1.0), (value, value, value)))
    assert code.sx in (0, BINS - 1)


def test_saturated_bins_are_flagged() -> None:
    code = BoxCode("wall", 500, 999, 400, 500, 999, 10, 998)
    assert saturated_fields(code) == ("v", "width")
    codec = BoxCodec(Normalisation((0.0, 0.0, 0.5), 1.0), Camera.from_fov(60, 640, 480))
    assert codec.decode(code).saturated == ("v", "width")
    beyond = codec.encode(Box3D("mug", (-2.0, 0.1, 0.4), (0.0001, 0.1, 0.1)))  # left of the image, before all points
    assert (beyond.u, beyond.z, beyond.sx) == (0, 0, 0)
    assert saturated_fields(beyond) == ("u", "z")
