"""Intrinsics and lenses at the door."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from n3d_core.errors import CameraError
from n3d_core.geometry.camera import Camera
from n3d_core.messages.assembly import is_rectified, read_camera_info
from n3d_ros.frames.images import camera_info_message

CAMERA = Camera(64, 48, 55.0, 56.0, 31.0, 24.5)


def info(**changes) -> CameraInfo:
    out = camera_info_message(CAMERA)
    for name, value in changes.items():
        setattr(out, name, value)
    return out


def test_a_pinhole_reads_back_as_it_was_written():
    lens = read_camera_info(info())
    assert lens.camera == CAMERA
    image = np.zeros((48, 64, 3), np.uint8)
    assert lens.rectify(image) is image


def test_binning_and_region_of_interest_are_applied_to_k():
    window = read_camera_info(info(roi=RegionOfInterest(x_offset=10, y_offset=4, width=40, height=20))).camera
    assert (window.width, window.height, window.cx, window.cy, window.fx) == (40, 20, 21.0, 20.5, 55.0)
    binned = read_camera_info(info(binning_x=2, binning_y=2)).camera
    assert (binned.width, binned.height, binned.fx, binned.cx) == (32, 24, 27.5, 15.25)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": [0.0] * 9}, "zero K"),
        ({"k": [float("nan"), 0, 1, 0, 1, 1, 0, 0, 1]}, "finite"),
        ({"width": 0}, "at least 1"),
        ({"distortion_model": "thin_prism", "d": [0.1] * 5}, r"thin_prism.*plumb_bob"),
        ({"d": [0.1, 0.2]}, r"plumb_bob needs 4, 5, 8, 12 or 14 finite coefficients; got \[0.1, 0.2\]"),
        ({"d": [0.1] * 5, "distortion_model": "fisheye"}, "fisheye needs 4 finite coefficients"),
        ({"d": [float("nan")] * 5}, "finite"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(changes, words):
    with pytest.raises(CameraError, match=words):
        read_camera_info(info(**changes))


@pytest.mark.parametrize(
    ("model", "coefficients", "read"),
    [
        ("equidistant", [0.1, 0.01, 0.0, 0.0, 0.0], ("equidistant", (0.1, 0.01, 0.0, 0.0))),  # a RealSense writes five
        ("Plumb_Bob", [0.1] + [0.0] * 4, ("plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0))),
        ("rational_polynomial", [0.1] * 8 + [0.0] * 8, ("rational_polynomial", (0.1,) * 8 + (0.0,) * 6)),
    ],
)
def test_what_drivers_write_besides_the_coefficients_is_left_out(model, coefficients, read):
    lens = read_camera_info(info(distortion_model=model, d=coefficients))
    assert (lens.model, lens.coefficients) == read


def test_refuse_refuses_distortion_and_rectified_reads_p():
    distorted = info(d=[0.1, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(CameraError, match="'refuse'"):
        read_camera_info(distorted, "refuse")
    distorted.p[0] = 50.0
    lens = read_camera_info(distorted, "rectified")
    assert (lens.model, lens.camera.fx) == ("", 50.0)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", [-0.3, 0.1, 0.001, -0.002, 0.0]),
        ("rational_polynomial", [-0.3, 0.1, 0.001, -0.002, 0.0, 0.01, 0.0, 0.0]),
        ("plumb_bob", [-0.3, 0.1, 0.001, -0.002, 0.0, 0.01, 0.0, 0.0]),  # of eight, as some drivers name them
        ("rational_polynomial", [-0.3, 0.1, 0.001, -0.002, 0.0]),
        ("equidistant", [-0.05, 0.01, 0.0, 0.0]),
        ("fisheye", [-0.05, 0.01, 0.0, 0.0]),
    ],
)
def test_rectification_moves_a_distorted_point_to_where_the_pinhole_sees_it(model, coefficients):
    lens = read_camera_info(info(distortion_model=model, d=coefficients))
    point = np.array([[[0.35, -0.25, 1.0]]])
    project = cv2.fisheye.projectPoints if model in ("equidistant", "fisheye") else cv2.projectPoints
    seen, _ = project(point, np.zeros(3), np.zeros(3), CAMERA.matrix, np.asarray(coefficients))
    image = np.zeros((48, 64), np.float32)
    u, v = seen.reshape(2)
    for dv in (0, 1):  # a spot at the distorted place
        for du in (0, 1):
            image[int(v) + dv, int(u) + du] = (1 - abs(v - int(v) - dv)) * (1 - abs(u - int(u) - du))
    flat = lens.rectify(image)
    rows, columns = np.mgrid[:48, :64]
    middle = [(flat * columns).sum() / flat.sum(), (flat * rows).sum() / flat.sum()]
    expected = CAMERA.project(point[0])[0]
    assert np.linalg.norm(seen.reshape(2) - expected) > 0.7  # the lens does move it
    np.testing.assert_allclose(middle, expected, atol=0.35)


def test_rectified_depth_is_never_a_mean_of_two_surfaces():
    lens = read_camera_info(info(d=[-0.3, 0.1, 0.0, 0.0, 0.0]))
    depth = np.where(np.arange(64) < 32, 1.0, 3.0).astype(np.float32) * np.ones((48, 1), np.float32)
    flat = lens.rectify(depth, nearest=True)
    assert set(np.unique(flat[np.isfinite(flat)])) == {1.0, 3.0}


K = [55.0, 0, 31.0, 0, 56.0, 24.5, 0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": np.reshape(K, (3, 3)).T.ravel()}, "column-major"),
        ({"k": [0.86, 0, 0.5, 0, 1.15, 0.5, 0, 0, 1]}, "fractions of the image"),
        ({"width": 640, "height": 480, "k": [3.6, 0, 2.4, 0, 3.6, 1.8, 0, 0, 1]}, "millimetres"),
        ({"roi": RegionOfInterest(x_offset=10, y_offset=0, width=64, height=48)}, "exceeds the image of 64x48"),
    ],
)
def test_what_contradicts_itself_is_refused(changes, words):
    with pytest.raises(CameraError, match=words):
        read_camera_info(info(**changes))


def test_numbers_that_are_odd_are_told():
    assert CAMERA.doubts == ()
    outside = read_camera_info(info(k=[55.0, 0, 131, 0, 56, 24, 0, 0, 1])).camera
    assert "(131, 24) is outside the image of 64x48" in outside.doubts[0]
    narrow = read_camera_info(info(k=[800.0, 0, 31.5, 0, 800, 23.5, 0, 0, 1])).camera
    assert "4.6 x 3.4 degrees" in narrow.doubts[0]


def test_a_camera_info_with_p_alone_is_enough_for_rectified_images_and_their_topics_name_tells():
    only_p = info(k=[0.0] * 9, d=[0.1, 0, 0, 0, 0])
    with pytest.raises(CameraError, match=r"zero K.*distortion:=rectified"):
        read_camera_info(only_p)
    assert read_camera_info(only_p, "rectified").camera == CAMERA
    moved = info(d=[0.1, 0, 0, 0, 0])
    moved.p[0] = 50.0
    for policy in ("rectify", "refuse"):  # an image_rect topic is what its name says
        lens = read_camera_info(moved, policy, rectified=True)
        assert (lens.model, lens.camera.fx) == ("", 50.0)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/cam/image_rect_color/compressed", True),
        ("/kinect2/qhd/image_color_rect", True),
        ("/zed/zed_node/rgb/color/rect/image", True),
        ("/cam/color/image_rect_raw", True),
        ("/cam/image_rectified", True),
        ("/cam/rgb/image_undistorted", True),
        ("/cam/color/image_raw", False),
        ("/direct/rectangle/image_raw", False),
    ],
)
def test_the_name_of_a_topic_tells_whether_its_images_are_rectified(topic, expected):
    assert is_rectified(topic) is expected
