"""What is drawn lies where the box projects to, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from n3d_core.display.draw import EDGES, caption, class_color, draw_boxes, enlarged, save_picture
from n3d_core.errors import ImageError
from n3d_core.geometry import Box3D, Camera
from n3d_core.geometry.boxes import OrientedBox, quaternion_of

CAMERA = Camera.from_fov(60.0, 640, 480)
GREY = np.full((480, 640, 3), 90, np.uint8)
MUG = Box3D("red mug", (0.1, 0.05, 1.0), (0.2, 0.3, 0.2), score=0.87)


def painted(picture: np.ndarray) -> np.ndarray:
    return (picture != GREY).any(axis=2)


def test_every_edge_that_faces_the_camera_is_drawn_in_the_colour_of_the_label() -> None:
    picture = draw_boxes(GREY, CAMERA, [MUG])
    paint = np.array(class_color(MUG.label)) * 255
    corners = MUG.corners()
    front = [i for i in range(8) if corners[i, 2] < MUG.center[2]]
    edges = [(a, b) for a, b in EDGES if a in front and b in front]
    assert len(edges) == 4
    for a, b in edges:
        for share in (0.25, 0.5, 0.75):
            u, v = CAMERA.project(corners[a] * (1 - share) + corners[b] * share).round().astype(int)
            window = picture[v - 1 : v + 2, u - 1 : u + 2].reshape(-1, 3).astype(float)
            assert np.abs(window - paint).max(axis=1).min() < 40


def test_edges_behind_the_box_are_fainter() -> None:
    box = Box3D("red mug", (0.0, 0.0, 1.0), (0.3, 0.3, 0.4))  # only its front is turned to the camera
    picture = draw_boxes(GREY, CAMERA, [box]).astype(float)
    full = np.abs(np.array(class_color(box.label)) * 255 - 90).max()
    for z, low, high in ((0.8, 0.8, 1.01), (1.2, 0.3, 0.6)):
        u, v = CAMERA.project(np.array([0.15, 0.05, z])).round().astype(int)  # on an upright edge
        strongest = np.abs(picture[v - 1 : v + 2, u - 1 : u + 2] - 90).max()
        assert low * full <= strongest <= high * full


def test_only_the_hull_of_the_box_and_its_label_are_painted() -> None:
    left, top, right, bottom = MUG.image_box(CAMERA) or (0, 0, 0, 0)
    mask = painted(draw_boxes(GREY, CAMERA, [MUG]))
    rows, columns = np.nonzero(mask)
    assert rows.max() <= bottom + 5
    assert columns.min() >= left - 5
    assert columns.max() <= max(right, left + 200) + 5
    assert rows.min() >= top - 45
    assert not painted(draw_boxes(GREY, CAMERA, [])).any()


def test_the_input_is_left_alone_and_the_output_is_of_its_form() -> None:
    color = GREY.copy()
    picture = draw_boxes(color[:, ::-1], CAMERA, [MUG], truth=[MUG])  # a view with negative strides
    assert (color == GREY).all()
    assert picture.shape == GREY.shape
    assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    "box",
    [
        Box3D("behind", (0, 0, -2.0), (1, 1, 1)),
        Box3D("aside", (50.0, 0, 1.0), (0.1, 0.1, 0.1)),
        Box3D("around", (0, 0, 0.0), (3, 3, 3)),
        Box3D("flat", (0, 0, 1.0), (0, 0, 0)),
        Box3D("vast", (0, 0, 1e5), (1e9, 1e9, 1e3)),
        Box3D("grazing", (0, 0.4, 0.011), (0.2, 0.2, 0.02)),
        Box3D("x" * 500, (0, 0, 2.0), (0.5, 0.5, 0.5)),
        Box3D("Tasse 杯 🫖", (0, 0, 2.0), (0.5, 0.5, 0.5)),
        Box3D("", (0, 0, 2.0), (0.5, 0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("size", [(480, 640), (24, 32), (8, 300)])
def test_odd_boxes_and_small_images_are_drawn_without_failing(box: Box3D, size: tuple[int, int]) -> None:
    color = np.zeros((*size, 3), np.uint8)
    camera = Camera.from_fov(60.0, size[1], size[0])
    assert draw_boxes(color, camera, [box], truth=[box]).shape == color.shape


def test_a_box_behind_the_camera_paints_nothing() -> None:
    assert not painted(draw_boxes(GREY, CAMERA, [Box3D("behind", (0, 0, -2.0), (1, 1, 1))])).any()


def test_an_oriented_box_without_rotation_looks_like_the_axis_aligned_one() -> None:
    np.testing.assert_array_equal(draw_boxes(GREY, CAMERA, [OrientedBox.of(MUG)]), draw_boxes(GREY, CAMERA, [MUG]))
    quarter = quaternion_of(np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]))  # about y; the box is as wide as long
    turned = OrientedBox("red mug", MUG.center, MUG.size, MUG.score, quaternion=quarter)
    np.testing.assert_array_equal(painted(draw_boxes(GREY, CAMERA, [turned])), painted(draw_boxes(GREY, CAMERA, [MUG])))


def test_truth_is_white_and_dashed() -> None:
    picture = draw_boxes(GREY, CAMERA, [], truth=[MUG])
    corners = CAMERA.project(MUG.corners())
    line = np.linspace(corners[0], corners[2], 200).round().astype(int)  # an upright edge
    bright = np.array([picture[v - 1 : v + 2, u - 1 : u + 2].max() > 200 for u, v in line])
    assert 0.3 < bright.mean() < 0.9
    assert np.count_nonzero(np.diff(bright.astype(int))) >= 6


def test_labels_do_not_hide_each_other_where_there_is_room() -> None:
    boxes = [Box3D(f"object {i}", (-0.3 + 0.2 * i, 0.0, 2.0), (0.12, 0.2, 0.1)) for i in range(4)]
    alone = sum(painted(draw_boxes(GREY, CAMERA, [box])).sum() for box in boxes)
    together = painted(draw_boxes(GREY, CAMERA, boxes)).sum()
    assert together > 0.93 * alone


def test_colours_are_the_same_in_every_process_and_captions_in_metres() -> None:
    assert class_color("red mug") == pytest.approx(class_color("red mug"))
    assert class_color("red mug") != class_color("blue can")
    assert caption(MUG) == "red mug 0.87  0.20 x 0.30 x 0.20 m"


def test_small_images_are_enlarged_with_their_camera() -> None:
    small = Camera.from_fov(60.0, 256, 192)
    color, camera = enlarged(np.zeros((192, 256, 3), np.uint8), small, 960)
    assert color.shape == (768, 1024, 3)
    point = np.array([0.1, 0.2, 1.5])
    np.testing.assert_allclose(camera.project(point) + 0.5, (small.project(point) + 0.5) * 4)
    assert enlarged(GREY, CAMERA, 640)[1] is CAMERA


def test_pictures_are_written_whole_and_unknown_endings_refused(tmp_path: Path) -> None:
    picture = draw_boxes(GREY, CAMERA, [MUG])
    save_picture(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1], picture)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ImageError, match=r"use \.png or \.jpg"):
        save_picture(tmp_path / "a.xyz", picture)
    with pytest.raises(ImageError, match="cannot be written"):
        save_picture(tmp_path / "nowhere" / "a.png", picture)
