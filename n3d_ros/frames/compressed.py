"""Compressed image payloads -> NumPy: JPEG and PNG colour, and the depth PNGs of `compressed_depth_image_transport`."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.files import DepthUnit
from n3d_core.errors import DepthError, ImageError
from n3d_core.geometry.frame import MAX_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")  # length and type of a PNG chunk
_CONFIG = struct.Struct("<iff")  # compressed_depth_image_transport's ConfigHeader: format, depthParam[2]


def decode_color(data: bytes, form: str) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a JPEG or PNG.

    Raises:
        ImageError: if the data is no image of a sensible size.
    """
    _check_claims(data, ImageError)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ImageError(f"compressed colour image of {len(data)} bytes, format {form!r}: no JPEG or PNG could be read")
    return image[:, :, ::-1]


def decode_depth(data: bytes, form: str) -> NDArray[np.float32]:
    """Depth float32 [H, W] in metres, NaN invalid, of a `compressedDepth` message (12-byte header and a 16-bit PNG).

    A `16UC1` payload is millimetres; a `32FC1` one is quantised inverse depth: z = A / (value - B), 0 invalid.

    Raises:
        DepthError: if the payload is not such an image.
    """
    if "compressedDepth" not in form or "rvl" in form.lower():
        raise DepthError(
            f"compressed depth of format {form!r}: '16UC1; compressedDepth png' or '32FC1; compressedDepth png' is "
            "wanted (lossy or RVL depth is not read; set the publisher's compressedDepth.format to png)"
        )
    encoding = form.split(";")[0].strip()
    png = data[_CONFIG.size :]
    _check_claims(png, DepthError)
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED) if png else None
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise DepthError(
            f"compressed depth of {len(data)} bytes, format {form!r}: no 16-bit PNG after the 12-byte header"
        )
    if encoding in ("16UC1", "mono16"):
        return DepthUnit.of(image).to_metres(image)
    if encoding != "32FC1":
        raise DepthError(f"compressed depth has the encoding {encoding!r}: 16UC1 or 32FC1 is wanted")
    _, a, b = _CONFIG.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(a) / (image.astype(np.float32) - np.float32(b))
        return np.where((image > 0) & np.isfinite(metres) & (metres > 0), metres, np.float32(np.nan))


def _check_claims(data: bytes, error: type[ImageError] | type[DepthError]) -> None:
    """A few bytes can claim gigapixels, or a PNG chunk of gigabytes, and the decoder takes memory for them unread."""
    width, height = _claimed_size(data)
    if width * height > MAX_PIXELS:
        raise error(f"compressed image claims {width}x{height}: at most {MAX_PIXELS} pixels are read")
    position, kind = len(_PNG), b""
    while data.startswith(_PNG) and position + _CHUNK.size <= len(data) and kind != b"IEND":
        length, kind = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size + length + 4  # a checksum ends it
        if position > len(data):
            raise error(f"compressed image of {len(data)} bytes is a PNG that claims at least {position}: it is broken")


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Width and height in a PNG's or JPEG's header; (0, 0) where there is none."""
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return int(width), int(height)
    position = 2
    while data.startswith(b"\xff\xd8") and position + 9 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, position + 5)
            return int(width), int(height)
        position += 2 + max(length, 2)
    return 0, 0
