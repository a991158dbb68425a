"""Picture files and compressed images -> NumPy; what is no whole picture, or no picture at all, is refused.

EXIF orientation is ignored: depth, intrinsics and annotations belong to the pixels as the sensor stored them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError, ImageError
from n3d_core.geometry.frame import MAX_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_CHUNK = struct.Struct(">I4s")  # length and type of a PNG chunk
_LEAST_OF_16_BITS = 1 << 14  # a 16-bit picture that never gets this bright holds 10, 12 or 14 bits

Refusal = type[ImageError] | type[DepthError]


def read_color(path: str | Path, upright: bool = False) -> NDArray[np.uint8]:
    """A picture file as RGB [H, W, 3].

    Args:
        upright: turn it as its EXIF orientation says. Only for pictures without depth, intrinsics or annotations.

    Raises:
        ImageError: if it cannot be read, is cut short, or is a depth image.
    """
    return color_of(read_bytes(path), str(path), upright)


def read_bytes(path: str | Path) -> bytes:
    """All of a picture file.

    Raises:
        ImageError: if it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read as an image ({error.strerror}); is it there, and whole?") from error


def color_of(data: bytes, what: str, upright: bool = False) -> NDArray[np.uint8]:
    """The bytes of a picture file as RGB [H, W, 3]; `what` names it in errors.

    Raises:
        ImageError: as `read_color`.
    """
    image = decode_image(data, what)
    if upright and image.dtype == np.uint8:
        image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return np.ascontiguousarray(rgb_of(image, what))


def decode_image(data: bytes, what: str, error: Refusal = ImageError) -> NDArray[Any]:
    """The bytes of a picture file as they are stored: [H, W] or [H, W, C] (BGR, BGRA), 8 or 16 bits or floats.

    Raises:
        ImageError, or `error`: if they are no picture, not a whole one, or claim too large a size.
    """
    _check_claims(data, what, error)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:  # a header that claims an absurd size
        image = None
    if image is None:
        raise error(f"{what}: {len(data)} bytes that cannot be read as an image (PNG, JPEG …); is it whole?")
    return np.asarray(image)


def rgb_of(image: NDArray[Any], what: str, order: str = "bgr") -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of stored pixels [H, W], [H, W, 3] or [H, W, 4], whose channels come in `order`.

    Raises:
        ImageError: of 16-bit grey (a depth image), of colour whose 16 bits are not used, and of other types.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels not in (1, 3, 4) or image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{what}: {image.dtype} {list(image.shape)}; a colour image must be 8-bit RGB")
    if image.dtype == np.uint16:
        if channels == 1:
            raise ImageError(
                f"{what}: a 16-bit grey image was given as colour: it looks like a depth image; check which is which"
            )
        largest = int(image.max())
        if largest < _LEAST_OF_16_BITS:
            raise ImageError(
                f"{what}: 16-bit colour whose largest value is {largest} of 65535 (12-bit data?) would be read as a "
                "dark picture: scale it to 16 bits, or give 8 bits"
            )
        image = (image >> 8).astype(np.uint8)
    if channels == 1:
        return np.broadcast_to(image.reshape(*image.shape[:2], 1), (*image.shape[:2], 3))
    return image[:, :, ::-1][:, :, -3:] if order == "bgr" else image[:, :, :3]


def _check_claims(data: bytes, what: str, error: Refusal) -> None:
    """A few bytes can claim gigapixels, and a decoder paints what is missing of a picture grey without a word."""
    width, height, body = _header(data)
    if width * height > MAX_PIXELS:
        raise error(f"{what} claims {width}x{height} pixels: at most {MAX_PIXELS} are read")
    if body and data.find(b"\xff\xd9", body) < 0:
        raise error(f"{what}: a JPEG of {len(data)} bytes that ends before its picture does: it was cut short")
    position, kind = len(_PNG), b""
    while data.startswith(_PNG) and kind != b"IEND":
        length, kind = _CHUNK.unpack_from(data, position) if position + _CHUNK.size <= len(data) else (0, b"")
        position += _CHUNK.size + length + 4  # a checksum ends it
        if position > len(data):
            raise error(f"{what}: a PNG of {len(data)} bytes that claims at least {position}: it was cut short")


def _header(data: bytes) -> tuple[int, int, int]:
    """Width and height that a PNG or JPEG claims, and where a JPEG's picture begins; 0 for what is not told."""
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return int(width), int(height), 0
    width = height = 0
    position = 2
    while data.startswith(_JPEG) and position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xFF:  # padding
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and position + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 5)  # start of frame
        if marker == 0xDA:  # start of scan
            return int(width), int(height), position
        position += 2 + max(length, 2)
    return int(width), int(height), len(data) if data.startswith(_JPEG) else 0
