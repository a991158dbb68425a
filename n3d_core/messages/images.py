"""Image messages -> NumPy. Encodings, row steps, byte order, compression and units are handled only here.

REP 118: `16UC1` (and `mono16`) depth is integer millimetres, 0 invalid; `32FC1` is metres along z, NaN or Inf invalid.
A message is any object with the fields of `sensor_msgs/Image` or `sensor_msgs/CompressedImage`.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.files import DepthUnit
from n3d_core.errors import DepthError, ImageError
from n3d_core.geometry.frame import MAX_PIXELS
from n3d_core.geometry.image_file import Refusal, decode_image, rgb_of

# encoding -> channels, and their order
_CHANNELS = {"rgb": (3, "rgb"), "bgr": (3, "bgr"), "rgba": (4, "rgb"), "bgra": (4, "bgr"), "mono": (1, "bgr")}
_COLOR = {f"{name}{bits}": (*kind, f"u{bits // 8}") for name, kind in _CHANNELS.items() for bits in (8, 16)}
_COLOR |= {"8uc1": (1, "bgr", "u1"), "8uc3": (3, "bgr", "u1"), "8uc4": (4, "bgr", "u1")}
_YUV = {
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
}
_PATTERNS = {  # OpenCV names a Bayer pattern by its second row and column
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
_BAYER = {f"{name}{bits}": code for name, code in _PATTERNS.items() for bits in (8, 16)}
_DEPTH = {"16uc1": "u2", "mono16": "u2", "32fc1": "f4"}
_VIDEO = ("h264", "h265", "hevc", "theora", "vp8", "vp9", "av1")
_CONFIG = struct.Struct("<iff")  # compressed_depth_image_transport's ConfigHeader: format, depthParam[2]
_READABLE = ", ".join([*(name for name in _COLOR if name != "mono16"), *_YUV, "nv12, nv21", *_BAYER])


def is_compressed(message: Any) -> bool:
    """Whether it is a `sensor_msgs/CompressedImage`."""
    return hasattr(message, "format")


def color_array(message: Any) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a colour message; a view of the message's memory for plain 8-bit encodings.

    Raises:
        ImageError: if the header and the data disagree, or the encoding is not supported.
    """
    if is_compressed(message):
        return decode_color(bytes(_memory(message, ImageError)), message.format)
    encoding = message.encoding.lower()
    what = f"{message.encoding} image"
    if encoding in _COLOR:
        channels, order, kind = _COLOR[encoding]
        pixels = _pixels(message, kind, channels, ImageError)
        return rgb_of(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), what, order)
    if encoding in _YUV:
        return _converted(_pixels(message, "u1", 2, ImageError), _YUV[encoding], what)
    if encoding in ("nv12", "nv21"):
        code = cv2.COLOR_YUV2RGB_NV12 if encoding == "nv12" else cv2.COLOR_YUV2RGB_NV21
        if message.height % 2 or message.width % 2:
            raise ImageError(f"{what}: width and height must be even; got {message.width}x{message.height}")
        return _converted(_pixels(message, "u1", 1, ImageError, rows=1.5), code, what)
    if encoding in _BAYER:
        kind = "u2" if encoding.endswith("16") else "u1"
        pixels = _pixels(message, kind, 1, ImageError)[:, :, 0]
        return _demosaiced(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), encoding)
    if encoding in _DEPTH:
        raise ImageError(f"colour image has the depth encoding {message.encoding!r}: check the topic remappings")
    raise ImageError(f"colour encoding {message.encoding!r} is not supported: set the driver to one of {_READABLE}")


def depth_array(message: Any, depth_unit: str = "") -> NDArray[np.float32]:
    """Depth float32 [H, W] in metres along the optical z axis, NaN where there is no measurement.

    Args:
        depth_unit: as in `DepthUnit.parse`; empty: the encoding's own (REP 118).

    Raises:
        DepthError: if the header and the data disagree, or the encoding is not a depth encoding of REP 118.
    """
    unit = DepthUnit.parse(depth_unit) if depth_unit else None
    if is_compressed(message):
        return decode_depth(bytes(_memory(message, DepthError)), message.format, unit)
    encoding = message.encoding.lower()
    if encoding not in _DEPTH:
        raise DepthError(
            f"depth encoding must be 16UC1 or mono16 (millimetres) or 32FC1 (metres); got {message.encoding!r}: check "
            "the driver's settings and the topic remappings"
        )
    raw = _pixels(message, _DEPTH[encoding], 1, DepthError)[:, :, 0]
    if message.is_bigendian and raw.dtype.itemsize == 2 and _roughness(raw.view("<u2")) < _roughness(raw):
        raw = raw.view("<u2")  # some drivers set the flag on data that they have not swapped
    return (unit or DepthUnit.of(raw)).to_metres(raw.astype(raw.dtype.newbyteorder("="), copy=False))


def _roughness(depth: NDArray[Any]) -> float:
    """Mean step between neighbours in a row: in the wrong byte order, smooth surfaces jump by thousands."""
    return float(np.abs(np.diff(depth.astype(np.int32), axis=1)).mean()) if depth.shape[1] > 1 else 0.0


def _pixels(message: Any, dtype: str, channels: int, error: Refusal, rows: float = 1) -> NDArray[Any]:
    """The pixels [H * rows, W, C] as a view of the message's data; padding at the end of rows is skipped."""
    data = _memory(message, error)
    height, width, step = int(message.height), int(message.width), int(message.step)
    what = f"{message.encoding} image {width}x{height} with step {step} and {len(data)} bytes"
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise error(f"{what}: must have 1 to {MAX_PIXELS} pixels")
    pixel = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    if step < width * channels * pixel.itemsize:
        raise error(f"{what}: step must be at least {width * channels * pixel.itemsize} bytes")
    height = int(height * rows)
    needed = step * (height - 1) + width * channels * pixel.itemsize
    if len(data) < needed:
        raise error(f"{what}: {needed} bytes are needed; the publisher's header and data disagree")
    strides = (step, channels * pixel.itemsize, pixel.itemsize)
    return np.ndarray((height, width, channels), pixel, buffer=data, strides=strides)


def _memory(message: Any, error: Refusal) -> memoryview:
    """The message's bytes. Since Lyrical they may be in a vendor's buffer instead of an `array.array`."""
    data = message.data
    try:
        return memoryview(data).cast("B")
    except TypeError:
        pass
    try:
        if hasattr(data, "__dlpack__"):
            return np.ascontiguousarray(np.from_dlpack(data)).data.cast("B")
        return memoryview(data.tobytes() if hasattr(data, "tobytes") else bytes(data))
    except Exception as problem:  # a vendor's back end may raise anything
        kind = f"{type(data).__module__}.{type(data).__qualname__}"
        raise error(
            f"image data is a {kind}, which cannot be read from the CPU ({problem}): set the driver to publish images "
            "in CPU memory"
        ) from problem


def _demosaiced(mosaic: NDArray[Any], encoding: str) -> NDArray[np.uint8]:
    if min(mosaic.shape) < 2:
        raise ImageError(f"{encoding} image {mosaic.shape[1]}x{mosaic.shape[0]}: Bayer needs at least 2x2 pixels")
    return rgb_of(_converted(mosaic, _BAYER[encoding]), f"{encoding} image", "rgb")


def _converted(pixels: NDArray[Any], code: int, what: str = "image") -> NDArray[Any]:
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    except cv2.error as error:  # a size that its encoding cannot have
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ImageError(f"{what} of {size}: OpenCV cannot convert it ({error.err})") from error


def decode_color(data: bytes, form: str) -> NDArray[np.uint8]:
    """RGB of a compressed message; `form` is `jpeg`, `png`, or compressed_image_transport's
    "ENCODING; jpeg compressed STORED", where STORED gives the order of the channels in the file."""
    what = f"compressed colour image, format {form!r}"
    encoding, _, rest = (part.strip().lower() for part in form.partition(";"))
    if "compresseddepth" in form.lower() or encoding in _DEPTH:
        raise ImageError(f"{what}: this is a depth image; check the topic remappings")
    if any(name in form.lower() for name in _VIDEO):
        raise ImageError(f"{what}: video is not supported: set the driver to raw images, JPEG or PNG")
    image = decode_image(data, what)
    if image.ndim == 2 and encoding in _BAYER:
        return _demosaiced(image, encoding)
    return rgb_of(image, what, "rgb" if "compressed rgb" in rest else "bgr")


def decode_depth(data: bytes, form: str, unit: DepthUnit | None = None) -> NDArray[np.float32]:
    """Reads "16UC1; compressedDepth png" or "… rvl", of "32FC1; compressedDepth …" (quantised inverse depth,
    z = A / (value - B), 0 invalid), and of a plain 16-bit PNG."""
    what = f"compressed depth of {len(data)} bytes, format {form!r}"
    encoding, _, rest = (part.strip() for part in form.lower().partition(";"))
    packed = "compresseddepth" in form.lower()
    if not packed and "png" not in form.lower():
        raise DepthError(
            f"{what}: must be '16UC1; compressedDepth png' or 'rvl', or a 16-bit PNG (lossy depth is not supported)"
        )
    if packed and encoding not in _DEPTH:
        raise DepthError(f"{what}: the encoding must be 16UC1 or 32FC1; got {encoding!r}")
    bare = data.startswith(b"\x89PNG") and encoding != "32fc1"  # some publishers leave the header out
    body = data[_CONFIG.size :] if packed and not bare else data
    image = _decoded_rvl(body, what) if "rvl" in rest else _decoded_png(body, what, packed)
    if encoding != "32fc1" or not packed:
        return (unit or DepthUnit.of(image)).to_metres(image)
    _, a, b = _CONFIG.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(a) / (image.astype(np.float32) - np.float32(b))
        return np.where((image > 0) & np.isfinite(metres) & (metres > 0), metres, np.float32(np.nan))


def _decoded_png(data: bytes, what: str, packed: bool) -> NDArray[np.uint16]:
    wanted = "no 16-bit PNG after the 12-byte header" if packed else "no 16-bit PNG"
    if not data.startswith(b"\x89PNG"):
        raise DepthError(f"{what}: {wanted}")
    image = decode_image(data, what, DepthError)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DepthError(f"{what}: {wanted}")
    return image


def _decoded_rvl(data: bytes, what: str) -> NDArray[np.uint16]:
    """Wilson's RVL, as compressed_depth_image_transport writes it: columns and rows, then runs of zeros and
    differences, in nibbles of three bits plus a continuation bit."""
    if len(data) < 8:
        raise DepthError(f"{what}: no RVL data after the 12-byte header")
    width, height = struct.unpack_from("<II", data)
    if not 0 < width * height <= MAX_PIXELS:
        raise DepthError(f"{what}: its RVL data claims {width}x{height} pixels; 1 to {MAX_PIXELS} are supported")
    words = np.frombuffer(data, "<u4", offset=8, count=(len(data) - 8) // 4)
    nibbles = ((words[:, None] >> np.arange(28, -4, -4, dtype=np.uint32)) & 15).reshape(-1)
    ends = np.flatnonzero(nibbles < 8)  # of each value
    if not len(ends):
        raise DepthError(f"{what}: its RVL data is truncated")
    nibbles, starts = nibbles[: ends[-1] + 1], np.concatenate([[0], ends[:-1] + 1])
    place = np.minimum(np.arange(len(nibbles)) - np.repeat(starts, ends - starts + 1), 10)
    values = np.add.reduceat((nibbles & 7).astype(np.int64) << (3 * place), starts)
    flat = np.zeros(width * height, np.int64)
    at, pixel, measured = 0, 0, []
    while pixel < len(flat):
        if at + 1 >= len(values):
            raise DepthError(f"{what}: its RVL data is truncated")
        zeros, nonzeros = int(values[at]), int(values[at + 1])
        pixel, at = pixel + zeros, at + 2
        if pixel + nonzeros > len(flat) or at + nonzeros > len(values) or zeros + nonzeros == 0:
            raise DepthError(f"{what}: its RVL runs do not fit {width}x{height} pixels")
        flat[pixel : pixel + nonzeros] = 1
        measured.append(values[at : at + nonzeros])
        pixel, at = pixel + nonzeros, at + nonzeros
    steps = np.concatenate(measured) if measured else np.zeros(0, np.int64)
    flat[flat > 0] = np.cumsum((steps >> 1) ^ -(steps & 1))
    return flat.astype(np.uint16).reshape(height, width)
