"""The range limit and the flying-pixel filter: what no camera measured goes, surfaces stay."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from n3d_core.depth import DepthLimits, clean_depth
from n3d_core.errors import ConfigError, DepthError
from n3d_core.geometry import Box3D, Camera
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.language.structured import BoxCode, BoxCodec

CAMERA = Camera.from_fov(60.0, 160, 120)
ROWS, COLUMNS = np.mgrid[:120, :160]


def table_scene() -> NDArray[np.float32]:
    """A plane that recedes from 0.8 to 1.9 m, and a block 0.2 m before it."""
    depth = (0.8 + 1.1 * (1 - ROWS / 119)).astype(np.float32)
    depth[50:80, 60:90] = 0.9
    return depth


def decoded(depth: NDArray[np.float32], codes: list[BoxCode]) -> list[Box3D]:
    """What the same bins mean in metres, under this depth image's own normalisation."""
    points = to_model_frame(CAMERA.back_project(depth))
    codec = BoxCodec(normalise(points, np.isfinite(depth))[1], CAMERA)
    return [codec.decode(code) for code in codes]


def drift(a: list[Box3D], b: list[Box3D]) -> float:
    """The largest relative movement of a centre or change of an extent."""
    moves = [
        np.linalg.norm(np.subtract(p.center, q.center)) / np.linalg.norm(p.center) for p, q in zip(a, b, strict=True)
    ]
    grows = [np.abs(np.subtract(q.size, p.size) / p.size).max() for p, q in zip(a, b, strict=True)]
    return float(max(moves + grows))


CODES = [
    BoxCode("box", u, v, z, 500, s, s, s)
    for u in (100, 500, 900)
    for v in (200, 800)
    for z in (50, 600)
    for s in (80, 400)
]


@pytest.mark.parametrize("metres", [65.0, 19.0, 8.0, 0.06])
@pytest.mark.parametrize("pixel", [(0, 0), (60, 80), (119, 5), (65, 60)])
def test_one_wrong_pixel_moves_no_box_by_more_than_one_percent(metres: float, pixel: tuple[int, int]) -> None:
    scene = table_scene()
    before = decoded(clean_depth(scene)[0], CODES)
    scene[pixel] = metres
    after = decoded(clean_depth(scene)[0], CODES)
    assert drift(before, after) < 0.01


def test_without_the_filter_one_pixel_at_65_m_moves_boxes_by_more_than_a_tenth() -> None:
    scene = table_scene()
    before = decoded(scene, CODES)
    scene[115, 155] = 65.0
    assert drift(before, decoded(scene, CODES)) > 0.1


def test_smeared_edges_go_and_the_surfaces_beside_them_stay() -> None:
    scene = np.full((40, 60), 2.0, np.float32)
    scene[:, 30:] = 1.0
    scene[:, 29:31] = [1.65, 1.3]  # two pixels between two surfaces
    cleaned, report = clean_depth(scene)
    assert np.isnan(cleaned[:, 29:31]).all()
    assert np.isfinite(np.delete(cleaned, [29, 30], axis=1)).all()
    assert report.flying == pytest.approx(2 / 60)


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("turned", [False, True])
def test_slopes_of_up_to_three_pixels_are_edges_and_longer_ones_surfaces(length: int, turned: bool) -> None:
    scene = np.full((24, 32), 1.0, np.float32)
    slope = 1.0 * 1.2 ** np.arange(1, length + 2)
    scene[:, 10 : 11 + length] = slope  # `length` pixels between two jumps, then the far surface
    scene[:, 11 + length :] = slope[-1]
    cleaned, _ = clean_depth(scene.T if turned else scene)
    gone = np.isnan(cleaned.T if turned else cleaned)
    assert gone[:, 10 : 10 + length].all() == (length <= 3)
    assert gone.sum() == (24 * length if length <= 3 else 0)


def test_a_thin_object_before_a_wall_stays() -> None:
    scene = np.full((120, 160), 3.0, np.float32)
    scene[20:100, 80] = 1.0  # a pole, one pixel wide
    cleaned, _ = clean_depth(scene)
    np.testing.assert_array_equal(cleaned[:, 80], scene[:, 80])


def test_a_floor_at_a_grazing_angle_stays() -> None:
    camera = Camera.from_fov(60.0, 160, 120)
    below = np.maximum(ROWS - camera.cy - 6, 0.3)  # its farthest rows differ by more than `jump`
    scene = np.minimum(1.2 * camera.fy / below, 30.0).astype(np.float32)
    cleaned, report = clean_depth(scene, DepthLimits(far=15.0))
    steps = np.abs(np.diff(np.log(scene[:, 0])))
    kept = np.isfinite(cleaned[:, 0])
    assert (steps[kept[1:]] > 0.06).sum() >= 4  # steep rows are among those that stay
    assert report.flying == 0.0


def test_what_is_out_of_range_is_counted_and_dropped() -> None:
    scene = table_scene()
    scene[:30] = 25.0
    scene[110:] = 0.01
    scene[60, 0] = np.nan
    scene[61, 0] = np.inf
    cleaned, report = clean_depth(scene)
    assert report.too_far == pytest.approx(30 / 120)
    assert report.too_near == pytest.approx(10 / 120)
    assert report.measured == pytest.approx(1 - 2 / scene.size)
    assert report.valid == pytest.approx(np.isfinite(cleaned).mean())
    assert np.nanmin(cleaned) >= 0.05
    assert np.nanmax(cleaned) <= 20
    assert any("25% of the depth pixels are farther than 20 m" in warning for warning in report.warnings)


def test_sparse_depth_is_left_alone_with_a_warning() -> None:
    scene = np.full((120, 160), np.nan, np.float32)
    scene[::4, ::4] = 2.0  # a lidar's points in an image
    cleaned, report = clean_depth(scene)
    np.testing.assert_array_equal(cleaned, scene)
    assert any("flying-pixel filter, which was skipped" in warning for warning in report.warnings)
    assert any("only 6% of the depth pixels are valid" in warning for warning in report.warnings)


def test_the_input_is_not_changed_and_invalid_pixels_stay_invalid() -> None:
    scene = table_scene()
    scene[::7, ::5] = np.nan
    copy = scene.copy()
    cleaned, report = clean_depth(scene)
    np.testing.assert_array_equal(scene, copy)
    assert np.isnan(cleaned[np.isnan(scene)]).all()
    assert report.flying == 0.0
    assert report.warnings == ()


def test_nothing_left_is_an_error_that_names_the_likely_unit() -> None:
    with pytest.raises(DepthError, match=r"millimetres read as metres: 1\.33 m"):
        clean_depth(table_scene() * 1000)
    with pytest.raises(DepthError, match="no valid pixel"):
        clean_depth(np.full((4, 4), np.nan, np.float32))


@pytest.mark.parametrize(
    "values", [{"near": 0.0}, {"near": 1e-9}, {"near": 3.0, "far": 2.0}, {"far": 1e7}, {"jump": 1.0}, {"speck": 0.5}]
)
def test_limits_check_themselves(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must"):
        DepthLimits(**values)
