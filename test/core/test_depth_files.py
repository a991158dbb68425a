"""Depth files of every kind give the same metres; files that are no depth give an error that names them."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from n3d_core.depth.files import is_point_map, read_depth, read_point_map
from n3d_core.errors import DepthError, ImageError
from n3d_core.geometry.image_file import read_color
from n3d_core.messages.images import color_array

METRES = np.array([[0.5, 1.25, np.nan], [2.0, 3.5, 4.0]], np.float32)


@pytest.mark.parametrize("ending", ["png", "tiff", "pgm"])
def test_sixteen_bit_images_are_millimetres(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"depth.{ending}"
    cv2.imwrite(str(path), np.nan_to_num(METRES * 1000).astype(np.uint16))
    np.testing.assert_array_equal(read_depth(path), METRES)


def test_numpy_floats_are_metres_and_integers_follow_their_unit(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", METRES)
    np.save(tmp_path / "b.npy", np.nan_to_num(METRES * 5000).astype(np.uint16))
    np.savez(tmp_path / "c.npz", color=np.zeros(3), depth=METRES)
    np.testing.assert_array_equal(read_depth(tmp_path / "a.npy"), METRES)
    np.testing.assert_array_equal(read_depth(tmp_path / "b.npy", "tum"), METRES)
    np.testing.assert_array_equal(read_depth(tmp_path / "c.npz"), METRES)


def test_exr_is_read_when_opencv_is_allowed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenCV reads the switch once a process, so that another one has to write and read the file
    program = (
        "import cv2, numpy as np, sys; from n3d_core.depth.files import read_depth\n"
        "d = np.arange(1, 7, dtype=np.float32).reshape(2, 3); cv2.imwrite(sys.argv[1], np.dstack([d] * 3))\n"
        "assert (read_depth(sys.argv[1]) == d).all()"
    )
    monkeypatch.setenv("OPENCV_IO_ENABLE_OPENEXR", "1")
    path = tmp_path / "depth.exr"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, cwd=Path(__file__).parents[2])
    monkeypatch.delenv("OPENCV_IO_ENABLE_OPENEXR")
    with pytest.raises(DepthError, match="OPENCV_IO_ENABLE_OPENEXR=1"):
        read_depth(path)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of 16 bits whose header states a size that its data has not."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def npy_that_claims(height: int, width: int) -> bytes:
    """A NumPy file of floats whose header states a shape that its data has not."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (height, width)})
    return file.getvalue() + bytes(64)


def test_files_that_are_no_depth_are_named_in_the_error(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "text.png").write_text("no image")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "bomb.png").write_bytes(png_that_claims(60_000, 60_000))
    (tmp_path / "bomb.npy").write_bytes(npy_that_claims(1 << 40, 1 << 20))
    np.savez_compressed(tmp_path / "flipped.npz", depth=np.random.default_rng(0).random((40, 40)))
    content = bytearray((tmp_path / "flipped.npz").read_bytes())
    content[200:240] = b"\xff" * 40
    (tmp_path / "flipped.npz").write_bytes(content)
    for name, reason in {
        "picture.png": "not a coloured picture",
        "text.png": "cannot be read as an image",
        "missing.png": "no such file",
        "objects.npy": "cannot be read as a NumPy array",
        "two.npz": "must be named 'depth'; got",
        "broken.npz": "cannot be read as a NumPy array",
        "bomb.png": "claims 60000x60000 pixels",
        "bomb.npy": "cannot be read as a NumPy array",
        "flipped.npz": "cannot be read as a NumPy array",
    }.items():
        with pytest.raises(DepthError, match=reason) as caught:
            read_depth(tmp_path / name)
        assert name in str(caught.value)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, pcd=np.zeros((100, 100, 4)), intr=np.eye(3))
    monkeypatch.setattr("n3d_core.depth.files._MOST_BYTES", 10_000)
    for read in (read_depth, read_point_map):
        with pytest.raises(DepthError, match=r"bomb.npz: pcd.npy unpacks to 320128 bytes; the limit is 10000"):
            read(path)
    assert not is_point_map(path)


@pytest.mark.parametrize("name", ["bomb.tif", "bomb.bmp", "bomb.gif", "bomb.webp"])
def test_other_formats_that_claim_too_many_pixels_are_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (90, 80)).save(tmp_path / name)
    monkeypatch.setattr("n3d_core.geometry.image_file.MAX_PIXELS", 7_000)
    with pytest.raises(DepthError, match="claims 90x80 pixels; the limit is 7000"):
        read_depth(tmp_path / name)
    with pytest.raises(ImageError, match="claims 90x80 pixels"):
        read_color(tmp_path / name)


@pytest.mark.parametrize("name", ["depth.png", "depth.tiff", "depth.pgm"])
def test_a_depth_image_that_is_given_as_colour_is_refused(tmp_path: Path, name: str) -> None:
    """It would become saturated white."""
    depth = np.random.default_rng(0).integers(500, 5000, (6, 8), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / name), depth)
    for upright in (False, True):
        with pytest.raises(ImageError, match=rf"{name}: a 16-bit grey image given as colour looks like a depth image"):
            read_color(tmp_path / name, upright)
    message = SimpleNamespace(data=(tmp_path / name).read_bytes(), format=name.rpartition(".")[2])
    with pytest.raises(ImageError, match="looks like a depth image"):
        color_array(message)
    raw = SimpleNamespace(encoding="mono16", height=6, width=8, step=16, is_bigendian=0, data=depth.tobytes())
    with pytest.raises(ImageError, match="looks like a depth image"):
        color_array(raw)


def test_a_png_whose_checksum_is_wrong_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 5000, (60, 80), dtype=np.uint16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DepthError, match=r"depth.png: the PNG is damaged: a checksum is wrong"):
        read_depth(path)


def test_big_endian_depth_is_16_bits_too(tmp_path: Path) -> None:
    raw = np.array([[1000, 65535]], np.uint16)
    np.save(tmp_path / "big.npy", raw.astype(">u2"))
    np.testing.assert_array_equal(read_depth(tmp_path / "big.npy"), np.array([[1, np.nan]], np.float32))
    np.save(tmp_path / "sun.npy", ((raw << 3) | (raw >> 13)).astype(">u2"))
    np.testing.assert_array_equal(read_depth(tmp_path / "sun.npy", "sun")[0, :1], [1.0])


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), np.full((4, 4), 1500, np.uint16))
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(path.read_bytes()))
    writer.start()
    np.testing.assert_allclose(read_depth(tmp_path / "pipe"), 1.5)
    writer.join()


def test_eight_bit_depth_needs_a_named_unit(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), np.full((2, 2), 50, np.uint8))
    with pytest.raises(DepthError, match="8 bits"):
        read_depth(path)
    np.testing.assert_allclose(read_depth(path, "25"), 2.0)


def test_a_point_map_gives_depth_and_a_camera_that_projects_its_points_onto_their_pixels(tmp_path: Path) -> None:
    height, width = 6, 8
    fx, fy = 0.9, 1.2  # fractions of width and height
    v, u = np.mgrid[:height, :width]
    z = 1.0 + 0.1 * u + 0.05 * v
    x_left = -((u + 0.5) / width - 0.5) / fx * z
    y_up = -((v + 0.5) / height - 0.5) / fy * z
    mask = np.ones_like(z)
    mask[0, 0] = 0
    path = tmp_path / "map.npz"
    np.savez(path, pcd=np.dstack([x_left, y_up, z, mask]), intr=np.array([[fx, 0, 0.5], [0, fy, 0.5], [0, 0, 1]]))
    assert is_point_map(path)
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:-40])
    assert not is_point_map(tmp_path / "cut.npz")
    assert not is_point_map(tmp_path / "missing.npz")
    depth, camera = read_point_map(path)
    assert np.isnan(depth[0, 0])
    np.testing.assert_allclose(depth[mask > 0], z[mask > 0], rtol=1e-6)
    pixels = camera.project(np.dstack([-x_left, -y_up, z]))
    np.testing.assert_allclose(pixels, np.dstack([u, v]), atol=1e-9)
