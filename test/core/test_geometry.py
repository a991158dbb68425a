"""Camera, points and boxes against brute force."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from n3d_core.errors import CameraError, DepthError
from n3d_core.geometry.boxes import Box3D, iou_3d, pairwise_iou_3d
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.camera_file import read_pinhole
from n3d_core.geometry.points import normalise, to_model_frame

CAMERAS = st.builds(
    Camera,
    st.integers(2, 64),
    st.integers(2, 64),
    st.floats(5, 500),
    st.floats(5, 500),
    st.floats(-5, 70),
    st.floats(-5, 70),
)
CORNER, EXTENT = st.tuples(*[st.integers(-6, 6)] * 3), st.tuples(*[st.integers(0, 7)] * 3)


def box_of(corner: tuple[int, ...], extent: tuple[int, ...]) -> Box3D:
    x, y, z = (c + e / 2 for c, e in zip(corner, extent, strict=True))
    return Box3D("box", (x, y, z), (extent[0], extent[1], extent[2]))


def cells(corner: tuple[int, ...], extent: tuple[int, ...]) -> set[tuple[int, ...]]:
    return set(itertools.product(*(range(c, c + e) for c, e in zip(corner, extent, strict=True))))


@given(CORNER, EXTENT, CORNER, EXTENT)
def test_iou_counts_cells(corner_a, extent_a, corner_b, extent_b) -> None:  # type: ignore[no-untyped-def]
    a, b = cells(corner_a, extent_a), cells(corner_b, extent_b)
    expected = len(a & b) / len(a | b) if a | b else 0.0
    first, second = box_of(corner_a, extent_a), box_of(corner_b, extent_b)
    assert iou_3d(first, second) == pytest.approx(expected, abs=1e-12)
    assert iou_3d(second, first) == iou_3d(first, second)
    assert pairwise_iou_3d([first, second], [second])[:, 0].tolist() == [iou_3d(first, second), iou_3d(second, second)]


@given(CAMERAS, st.data())
def test_projecting_back_projected_depth_gives_the_pixels(camera: Camera, data: st.DataObject) -> None:
    depth = np.full((camera.height, camera.width), data.draw(st.floats(0.1, 100)), dtype=np.float32)
    depth += np.random.default_rng(0).random(depth.shape, dtype=np.float32)
    pixels = camera.project(camera.back_project(depth))
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    assert np.abs(pixels - np.stack([u, v], axis=-1)).max() < 1e-2


@given(CAMERAS, st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.2, 50)))
def test_fractions_of_the_image_and_pixels_agree(camera: Camera, point: tuple[float, float, float]) -> None:
    pixel = camera.project(np.array(point))
    u, v, w = camera.fractions @ np.array(point)
    assert [u / w * camera.width - 0.5, v / w * camera.height - 0.5] == pytest.approx(pixel.tolist(), abs=1e-6)


@given(CAMERAS)
def test_intrinsics_in_fractions_are_read_back(camera: Camera) -> None:
    again = Camera.from_fractions(camera.fractions, camera.width, camera.height)
    assert np.array(again.matrix) == pytest.approx(camera.matrix, rel=1e-12, abs=1e-9)


@given(CAMERAS, st.integers(1, 200), st.integers(1, 200))
def test_a_resized_camera_sees_the_same_fractions(camera: Camera, width: int, height: int) -> None:
    assert camera.resized(width, height).fractions == pytest.approx(camera.fractions, rel=1e-9, abs=1e-12)


@given(CAMERAS.filter(lambda camera: max(camera.fields_of_view) < 110))  # files of wider ones are questioned
@settings(max_examples=20)
def test_a_camera_survives_its_yaml(tmp_path_factory: pytest.TempPathFactory, camera: Camera) -> None:
    path: Path = tmp_path_factory.mktemp("camera") / "camera.yaml"
    camera.to_yaml(path)
    assert read_pinhole(path).camera == camera


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("image_width: .inf", "OverflowError"),
        ("image_width: wide", "ValueError"),
        (f"image_width: {'9' * 5000}", "not a camera file|not YAML"),
        (f"image_width: {'[' * 5000}", "not a camera file|not YAML"),
        ("image_width: 0", "at least 1 pixel"),
        ("camera_matrix: {data: [1, 2]}", "expected 4 numbers .* or a 3x3 matrix; got 2"),
        ("camera_matrix: {data: [.nan, 0, 1, 0, 1, 1, 0, 0, 1]}", "are invalid"),
        ("distortion_coefficients: {data: [0.1, 0, 0, 0, 0]}", "rectify the images first"),
        ("distortion_coefficients: {data: [.nan]}", "rectify the images first"),
        ("distortion_coefficients: 3", "TypeError"),
        ("units_per_metre: 0", "must be a positive number; got 0"),
        ("units_per_metre: true", "must be a positive number; got True"),
        ("units_per_metre: -5", "must be a positive number; got -5"),
    ],
)
def test_an_unusable_camera_file_is_named_with_what_is_wrong(tmp_path: Path, change: str, reason: str) -> None:
    path = tmp_path / "camera.yaml"
    Camera.from_fov(60, 640, 480).to_yaml(path)
    key = change.split(":")[0]
    data = yaml.safe_load(path.read_text())
    data.pop(key, None)
    path.write_text(f"{yaml.safe_dump(data)}{change}\n")
    with pytest.raises(CameraError, match=reason) as caught:
        read_pinhole(path)
    assert str(path) in str(caught.value)


def test_points_behind_the_camera_have_no_pixel() -> None:
    camera = Camera.from_fov(60, 640, 480)
    assert np.isnan(camera.project(np.array([[0.1, 0.1, 0.0], [0.1, 0.1, -1.0]]))).all()
    assert Box3D("behind", (0.0, 0.0, -3.0), (1.0, 1.0, 1.0)).image_box(camera) is None


@pytest.mark.parametrize(
    "change", [{"width": 0}, {"fx": 0.0}, {"fy": -3.0}, {"cx": float("nan")}, {"fx": float("inf")}]
)
def test_unusable_intrinsics_are_refused(change: dict[str, float]) -> None:
    usable = {"width": 640, "height": 480, "fx": 500.0, "fy": 500.0, "cx": 319.5, "cy": 239.5}
    with pytest.raises(CameraError):
        Camera(**(usable | change))  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
@settings(max_examples=40)
def test_a_normalised_cloud_begins_at_zero_and_has_mean_distance_one(seed: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    points = (generator.standard_normal((40, 300, 3)) * spread).astype(np.float32)
    valid = generator.random((40, 300)) > 0.3
    points[~valid] = np.nan
    cloud, normalisation = normalise(points, valid)
    inside = cloud[valid].astype(np.float64)
    assert inside.min(axis=0) == pytest.approx([0, 0, 0], abs=1e-6)
    assert np.linalg.norm(inside, axis=1).mean() == pytest.approx(1, rel=1e-5)
    back = inside / normalisation.scale + normalisation.shift
    assert np.abs(back - points[valid]).max() < 1e-5 * spread * 10
    assert normalisation.min_z == points[valid][:, 2].min()


def test_the_mean_is_added_up_in_the_order_of_the_released_data() -> None:
    values = np.full((1, 3 * 8192, 3), 0.1, dtype=np.float32)
    values[0, 0] = 0
    values[0, 8192:] = np.float32(1e-3)
    distances = np.linalg.norm(values[0], axis=1)
    total = np.float32(0)
    for chunk in np.split(distances, 3):
        total = np.float32(total + chunk.sum(dtype=np.float32))
    expected = 1.0 / float(np.float32(float(total) / distances.size))
    assert normalise(values, np.ones((1, 3 * 8192), bool))[1].scale == expected


def test_clouds_without_shape_are_refused() -> None:
    points = np.ones((4, 4, 3), dtype=np.float32)
    with pytest.raises(DepthError, match="no valid point"):
        normalise(points, np.zeros((4, 4), bool))
    with pytest.raises(DepthError, match="coincide"):
        normalise(points, np.ones((4, 4), bool))


def test_the_models_frame_is_left_and_up() -> None:
    point = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    assert to_model_frame(point).tolist() == [-1, -2, 3]
    assert to_model_frame(to_model_frame(point)).tolist() == point.tolist()


@given(CORNER, EXTENT)
def test_corners_span_the_box(corner: tuple[int, ...], extent: tuple[int, ...]) -> None:
    assume(all(extent))
    box = box_of(corner, extent)
    corners = box.corners()
    assert len({tuple(c) for c in corners.tolist()}) == 8
    assert corners.min(axis=0).tolist() == list(corner)
    assert (corners.max(axis=0) - corners.min(axis=0)).tolist() == list(extent)
    assert box.volume == np.prod(extent)
