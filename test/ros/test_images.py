"""Encodings, steps, byte order and units at the door."""

import array
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from n3d_core.errors import DepthError, ImageError
from n3d_core.messages.images import color_array, depth_array
from n3d_ros.frames.images import image_message

RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    height, width = pixels.shape[:2]
    if big_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = [row.tobytes() + b"\xee" * padding for row in pixels]
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=len(rows[0]),
        is_bigendian=int(big_endian),
        data=array.array("B", b"".join(rows)),
    )


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, np.full((5, 7), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], np.full((5, 7), 9, np.uint8)])),
    ],
)
def test_plain_colour_encodings_become_rgb_whatever_the_row_padding(encoding, stored, padding):
    np.testing.assert_array_equal(color_array(message(stored, encoding, padding)), RGB)


def test_plain_colour_is_a_view_of_the_message_and_no_copy():
    source = message(RGB[:, :, ::-1], "bgr8")
    image = color_array(source)
    source.data[2] = (int(RGB[0, 0, 0]) + 1) % 256
    assert image[0, 0, 0] == (int(RGB[0, 0, 0]) + 1) % 256


def test_mono_is_repeated_over_the_channels():
    grey = color_array(message(RGB[:, :, 0], "mono8"))
    assert grey.shape == (5, 7, 3)
    np.testing.assert_array_equal(grey[:, :, 2], RGB[:, :, 0])


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_integer_depth_is_millimetres_with_zero_invalid(encoding, big_endian):
    depth = depth_array(message(np.array([[0, 1, 1500]], np.uint16), encoding, 5, big_endian))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[np.nan, 0.001, 1.5]], rtol=1e-6)


@pytest.mark.parametrize("big_endian", [False, True])
def test_float_depth_is_metres_and_everything_but_finite_positive_is_nan(big_endian):
    raw = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.0, 2.5]], np.float32)
    depth = depth_array(message(raw, "32FC1", 2, big_endian))
    np.testing.assert_array_equal(depth, np.array([[np.nan, np.nan, np.nan, np.nan, np.nan, 2.5]], np.float32))


def test_depth_whose_flag_names_the_wrong_byte_order_is_read_in_that_of_smooth_surfaces():
    rows, columns = np.mgrid[:12, :16]
    raw = (1200 + 3 * columns + 7 * rows).astype(np.uint16)
    flagged = message(raw, "mono16")
    flagged.is_bigendian = 1
    for one in (flagged, message(raw, "mono16", 3, big_endian=True)):
        np.testing.assert_allclose(depth_array(one), raw / 1000, rtol=1e-6)


def test_written_images_read_back(frame):
    out = image_message(frame.color, "rgb8", Time(sec=3), "optical")
    assert (out.width, out.height, out.step, out.header.stamp.sec, out.header.frame_id) == (64, 48, 192, 3, "optical")
    np.testing.assert_array_equal(color_array(out), frame.color)
    np.testing.assert_array_equal(depth_array(image_message(frame.depth, "32FC1", Time(), "")), frame.depth)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": 20}, "step must be at least 21"),
        ({"encoding": "bayer_rggb12"}, "'bayer_rggb12' is not supported: .*bayer_rggb16"),  # half of it would be read
        ({"step": 2**32 - 1}, "header and data disagree"),
        ({"height": 0}, "must have 1 to"),
        ({"width": 2**31, "height": 2**31}, "must have 1 to"),
        ({"data": array.array("B")}, "0 bytes"),
    ],
)
def test_a_header_that_its_data_contradicts_is_an_error_that_names_both(change, words):
    broken = message(RGB, "rgb8")
    for name, value in change.items():
        setattr(broken, name, value)
    with pytest.raises(ImageError, match=words):
        color_array(broken)


@pytest.mark.parametrize("encoding", ["16uc1", "MONO16", "32fc1"])
def test_depth_encodings_are_read_in_any_case(encoding):
    raw = np.full((6, 8), 1500, np.uint16) if "32" not in encoding else np.full((6, 8), 1.5, np.float32)
    np.testing.assert_array_equal(depth_array(message(raw, encoding)), np.full((6, 8), 1.5, np.float32))


def test_unknown_encodings_are_named():
    with pytest.raises(DepthError, match=r"16UC1.*'8UC3'"):
        depth_array(message(RGB, "8UC3"))
    with pytest.raises(ImageError, match=r"depth encoding '16UC1'.*remappings"):
        color_array(message(RGB[:, :, 0].astype(np.uint16), "16UC1"))
    with pytest.raises(ImageError, match="nonsense"):
        color_array(message(RGB, "nonsense"))


def test_compressed_colour_is_decoded_to_rgb():
    _, png = cv2.imencode(".png", RGB[:, :, ::-1])
    np.testing.assert_array_equal(color_array(CompressedImage(format="png", data=png.tobytes())), RGB)
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    _, jpeg = cv2.imencode(".jpg", smooth[:, :, ::-1])
    decoded = color_array(CompressedImage(format="rgb8; jpeg compressed bgr8", data=jpeg.tobytes()))
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


def compressed_depth(raw: np.ndarray, encoding: str, a: float = 0.0, b: float = 0.0) -> CompressedImage:
    _, png = cv2.imencode(".png", raw)
    return CompressedImage(format=f"{encoding}; compressedDepth png", data=struct.pack("<iff", 0, a, b) + png.tobytes())


def test_compressed_depth_follows_compressed_depth_image_transport():
    raw = np.array([[0, 1500], [800, 65534]], np.uint16)
    np.testing.assert_allclose(depth_array(compressed_depth(raw, "16UC1")), [[np.nan, 1.5], [0.8, 65.534]], rtol=1e-6)
    # its quantisation of metres: value = A / z + B
    a, b = 1000.0, 20.0
    z = np.array([[0.5, 1.0], [2.0, 4.0]])
    quantised = (a / z + b).round().astype(np.uint16)
    np.testing.assert_allclose(depth_array(compressed_depth(quantised, "32FC1", a, b)), z, rtol=2e-3)


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("16UC1; compressedDepth", bytes(12)),  # of bags from before RVL
        ("16UC1;compressedDepth png", bytes(12)),
        ("16UC1; compressedDepth png", b""),
        ("16UC1; png compressed ", b""),  # compressed_image_transport's, on depth/image_raw/compressed
        ("png", b""),
    ],
)
def test_every_form_of_a_16_bit_png_is_depth(form, header):
    raw = np.array([[0, 1500], [800, 65534]], np.uint16)
    packed = CompressedImage(format=form, data=header + cv2.imencode(".png", raw)[1].tobytes())
    np.testing.assert_allclose(depth_array(packed), [[np.nan, 1.5], [0.8, 65.534]], rtol=1e-6)


@pytest.mark.parametrize(
    ("form", "data", "words"),
    [
        ("16UC1; compressedDepth rvl", b"\0" * 40, "RVL"),
        ("32FC1; compressedDepth png", cv2.imencode(".png", np.ones((2, 2), np.uint16))[1].tobytes(), "no 16-bit PNG"),
        ("jpeg", b"\xff\xd8", "lossy"),
        ("16UC1; compressedDepth png", b"\0" * 4, "no 16-bit PNG"),
        ("64FC1; compressedDepth png", compressed_depth(np.ones((2, 2), np.uint16), "").data.tobytes(), "64FC1"),
    ],
)
def test_compressed_depth_of_another_form_is_refused_by_name(form, data, words):
    with pytest.raises(DepthError, match=words):
        depth_array(CompressedImage(format=form, data=data))


def rvl(raw: np.ndarray) -> bytes:
    """As RvlCodec::CompressRVL of compressed_depth_image_transport writes it."""
    nibbles, previous, flat, at = [], 0, raw.ravel().astype(int).tolist(), 0

    def write(value):
        while True:
            nibble, value = value & 7, value >> 3
            nibbles.append(nibble | (8 if value else 0))
            if not value:
                return

    while at < len(flat):
        start = at
        while at < len(flat) and flat[at] == 0:
            at += 1
        write(at - start)
        start = at
        while at < len(flat) and flat[at] != 0:
            at += 1
        write(at - start)
        for value in flat[start:at]:
            delta, previous = value - previous, value
            write((delta << 1) ^ (delta >> 31))
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << (28 - 4 * k) for k, n in enumerate(nibbles[i : i + 8])) for i in range(0, len(nibbles), 8)]
    return struct.pack("<II", raw.shape[1], raw.shape[0]) + struct.pack(f"<{len(words)}I", *words)


@pytest.mark.parametrize("seed", range(4))
def test_rvl_depth_reads_back_and_a_cut_one_is_refused(seed):
    rng = np.random.default_rng(seed)
    raw = (rng.integers(0, 65535, (37, 53)) * (rng.random((37, 53)) < (0.0, 0.2, 0.9, 1.0)[seed])).astype(np.uint16)
    packed = struct.pack("<iff", 0, 0, 0) + rvl(raw)
    metres = depth_array(CompressedImage(format="16UC1; compressedDepth rvl", data=packed))
    np.testing.assert_allclose(metres, np.where(raw == 0, np.nan, raw / 1000), rtol=1e-6)
    with pytest.raises(DepthError, match="RVL"):
        depth_array(CompressedImage(format="16UC1; compressedDepth rvl", data=packed[: 20 if seed == 0 else -40]))


def test_depth_units_that_are_given_go_before_the_encoding():
    raw = np.array([[0, 1, 5000]], np.uint16)
    np.testing.assert_allclose(depth_array(message(raw, "16UC1"), "10000"), [[np.nan, 1e-4, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(depth_array(compressed_depth(raw, "16UC1"), "10000"), [[np.nan, 1e-4, 0.5]], rtol=1e-6)
    _, png = cv2.imencode(".png", raw)
    plain = CompressedImage(format="16UC1; png compressed ", data=png.tobytes())
    np.testing.assert_allclose(depth_array(plain), [[np.nan, 0.001, 5.0]], rtol=1e-6)


SMOOTH = np.repeat(np.repeat(np.array([[[200, 60, 30], [40, 180, 90]]], np.uint8), 16, 0), 16, 1)


@pytest.mark.parametrize(
    ("form", "pixels"),
    [
        ("jpeg", SMOOTH[..., ::-1]),
        ("bgr8; jpeg compressed bgr8", SMOOTH[..., ::-1]),
        ("rgb8; jpeg compressed bgr8", SMOOTH[..., ::-1]),
        ("rgb8; jpeg compressed rgb8", SMOOTH),  # an RGB image given to a coder that takes BGR
        ("rgb8; png compressed rgb8", SMOOTH),
        ("bayer_rggb8; png compressed bgr8", SMOOTH[..., ::-1]),
        ("rgb16; png compressed bgr16", SMOOTH[..., ::-1].astype(np.uint16) * 257),
    ],
)
def test_compressed_colour_is_read_in_the_order_that_its_format_names(form, pixels):
    _, data = cv2.imencode(".png" if "png" in form else ".jpg", pixels)
    seen = color_array(CompressedImage(format=form, data=data.tobytes()))
    assert np.abs(seen[4:12, 4:28].astype(int)[:, [0, -1]] - SMOOTH[4:12, 4:28][:, [0, -1]]).max() <= 6


def mosaic(pattern: str) -> np.ndarray:
    out = np.zeros(SMOOTH.shape[:2], np.uint8)
    for k, letter in enumerate(pattern):
        out[k // 2 :: 2, k % 2 :: 2] = SMOOTH[k // 2 :: 2, k % 2 :: 2, "rgb".index(letter)]
    return out


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_mosaics_are_coloured_raw_and_compressed(pattern):
    raw = mosaic(pattern)
    _, png = cv2.imencode(".png", raw)
    packed = CompressedImage(format=f"bayer_{pattern}8; png compressed ", data=png.tobytes())
    sixteen = message(raw.astype(np.uint16) * 257, f"bayer_{pattern}16", big_endian=True)
    for one in (message(raw, f"bayer_{pattern}8", padding=2), packed, sixteen):
        seen = color_array(one)
        assert np.abs(seen[4:12, [4, 28]].astype(int) - SMOOTH[4:12, [4, 28]]).max() <= 2


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", (1, 0)), ("yuv422", (1, 0)), ("yuyv", (0, 1))])
def test_yuv_is_coloured(encoding, order):
    to_yuv = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    yuv = (SMOOTH @ to_yuv.T + (16, 128, 128)).round().astype(np.uint8)  # BT.601
    chroma = yuv[:, :, 1].copy()
    chroma[:, 1::2] = yuv[:, 1::2, 2]
    packed = np.stack([(yuv[:, :, 0], chroma)[i] for i in order], axis=-1)
    seen = color_array(message(packed, encoding, padding=4))
    assert np.abs(seen[4:12, [4, 28]].astype(int) - SMOOTH[4:12, [4, 28]]).max() <= 3


def test_16_bit_colour_is_scaled_and_12_bit_colour_is_refused():
    wide = SMOOTH.astype(np.uint16) * 257
    np.testing.assert_array_equal(color_array(message(wide, "rgb16", big_endian=True)), SMOOTH)
    np.testing.assert_array_equal(color_array(message(wide[..., ::-1], "bgr16")), SMOOTH)
    with pytest.raises(ImageError, match="12-bit"):
        color_array(message(wide // 16, "rgb16"))


@pytest.mark.parametrize("form", ["h264", "rgb8; theora", "rgb8; H265"])
def test_video_is_named_as_such(form):
    with pytest.raises(ImageError, match=f"format '{form}': video is not supported: set the driver to raw"):
        color_array(CompressedImage(format=form, data=b"\0\0\0\1\x67"))


def test_a_depth_image_as_colour_is_refused_however_it_comes():
    depth = np.full((8, 8), 1500, np.uint16)
    _, png = cv2.imencode(".png", depth)
    for one in (
        message(depth, "mono16"),
        CompressedImage(format="png", data=png.tobytes()),
        CompressedImage(format="16UC1; png compressed ", data=png.tobytes()),
        compressed_depth(depth, "16UC1"),
    ):
        with pytest.raises(ImageError, match="depth image"):
            color_array(one)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_jpeg_that_was_cut_short_is_refused(share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    assert color_array(CompressedImage(format="jpeg", data=data + b"\0\0")).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="truncated"):
        color_array(CompressedImage(format="jpeg", data=data[: int(share * len(data))]))


class VendorBuffer:
    """As `rosidl_buffer.Buffer`: no buffer protocol; what is in CPU memory can be iterated."""

    def __init__(self, data, on_gpu=False):
        self._data, self._on_gpu = data, on_gpu

    def __len__(self):
        return len(self._data)

    def __getitem__(self, index):
        if self._on_gpu:
            raise RuntimeError("memory of device cuda:0")
        return self._data[index]


def test_image_data_of_a_vendors_buffer_is_read_or_refused_by_name():
    plain = message(RGB, "rgb8")
    fields = {name: getattr(plain, name) for name in ("header", "height", "width", "encoding", "step", "is_bigendian")}
    readable = SimpleNamespace(**fields, data=VendorBuffer(plain.data))
    np.testing.assert_array_equal(color_array(readable), RGB)
    away = SimpleNamespace(**fields, data=VendorBuffer(plain.data, on_gpu=True))
    with pytest.raises(ImageError, match=r"VendorBuffer, which cannot be read from the CPU.*cuda:0"):
        color_array(away)


def test_a_header_that_claims_gigapixels_is_refused_before_memory_is_taken():
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 60000, 60000)
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60000, 60000)
    for data in (png, jpeg):
        with pytest.raises(ImageError, match="60000x60000"):
            color_array(CompressedImage(format="x", data=data))


def test_a_png_chunk_that_claims_gigabytes_is_refused_before_memory_is_taken():
    png = bytearray(cv2.imencode(".png", np.ones((4, 4), np.uint8))[1].tobytes())
    length = png.index(b"IDAT") - 4
    png[length] = 0x70  # 1.8 GB, which OpenCV would take and clear before it finds that they are not there
    with pytest.raises(ImageError, match="at least 18"):
        color_array(CompressedImage(format="png", data=bytes(png)))
    whole = cv2.imencode(".png", np.ones((4, 4), np.uint8))[1].tobytes()
    np.testing.assert_array_equal(color_array(CompressedImage(format="png", data=whole + b"trailing bytes")), 1)
