"""Image files and compressed images -> NumPy; truncated and invalid images are rejected.

EXIF orientation is ignored: depth, intrinsics and annotations belong to the pixels as the sensor stored them.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from n3d_core.errors import DepthError, ImageError, reading
from n3d_core.geometry.frame import MAX_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_CHUNK = struct.Struct(">I4s")  # length and type of a PNG chunk
_LEAST_OF_16_BITS = 1 << 14  # a 16-bit image whose maximum is lower holds 10, 12 or 14 bits

Refusal = type[ImageError] | type[DepthError]


def is_file_or_pipe(path: str | Path) -> bool:
    """Whether something can be read at a path: not a folder, a device, or nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


def read_color(path: str | Path, upright: bool = False) -> NDArray[np.uint8]:
    """Reads an image file as RGB [H, W, 3].

    Args:
        upright: apply the EXIF orientation. Only for images without depth, intrinsics or annotations.

    Raises:
        ImageError: if it cannot be read, is truncated, or is a depth image.
    """
    return color_of(read_bytes(path), str(path), upright)


def read_bytes(path: str | Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: if it cannot be read.
    """
    with reading(path, "an image", ImageError):
        return Path(path).read_bytes()


def color_of(data: bytes, what: str, upright: bool = False) -> NDArray[np.uint8]:
    """Decodes an image file's bytes to RGB [H, W, 3]; `what` names the image in errors.

    Raises:
        ImageError: as `read_color`.
    """
    image = decode_image(data, what)
    if upright and image.dtype == np.uint8:
        image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return np.ascontiguousarray(rgb_of(image, what))


def decode_image(data: bytes, what: str, error: Refusal = ImageError) -> NDArray[Any]:
    """Decodes an image file's bytes as stored: [H, W] or [H, W, C] (BGR, BGRA), 8 or 16 bits or floats.

    Raises:
        ImageError, or `error`: if they are not an image, are truncated, or claim too large a size.
    """
    _check_claims(data, what, error)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:  # a header that claims an absurd size
        image = None
    if image is None:
        raise error(f"{what}: {len(data)} bytes that cannot be read as an image (PNG, JPEG …); is the file complete?")
    return np.asarray(image)


def rgb_of(image: NDArray[Any], what: str, order: str = "bgr") -> NDArray[np.uint8]:
    """Converts stored pixels [H, W], [H, W, 3] or [H, W, 4] with channels in `order` to RGB uint8 [H, W, 3].

    Raises:
        ImageError: for 16-bit grey (a depth image), 16-bit colour that uses fewer bits, and other types.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels not in (1, 3, 4) or image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{what}: {image.dtype} {list(image.shape)}; a colour image must be 8-bit RGB")
    if image.dtype == np.uint16:
        if channels == 1:
            raise ImageError(
                f"{what}: a 16-bit grey image given as colour looks like a depth image; check which is which"
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
    """A few bytes can claim gigapixels, and decoders silently paint missing parts of an image grey."""
    width, height, body = _header(data)
    if not (width and height) and not data.startswith((_PNG, _JPEG)):
        width, height = _claimed(data)
    if width * height > MAX_PIXELS:
        raise error(f"{what} claims {width}x{height} pixels; the limit is {MAX_PIXELS}")
    if body and data.find(b"\xff\xd9", body) < 0:
        raise error(f"{what}: the JPEG is truncated: {len(data)} bytes without an end marker")
    position, kind, view = len(_PNG), b"", memoryview(data)
    while data.startswith(_PNG) and kind != b"IEND":
        length, kind = _CHUNK.unpack_from(data, position) if position + _CHUNK.size <= len(data) else (0, b"")
        position += _CHUNK.size + length + 4  # a checksum ends it
        if position > len(data):
            raise error(f"{what}: the PNG is truncated: {len(data)} bytes, at least {position} expected")
        checked, stated = view[position - length - 8 : position - 4], view[position - 4 : position]
        if zlib.crc32(checked) != int.from_bytes(stated, "big"):
            raise error(f"{what}: the PNG is damaged: a checksum is wrong; copy or record the file again")


def _claimed(data: bytes) -> tuple[int, int]:
    """Width and height in the header of a TIFF, BMP, WebP or other image file; 0 if unknown. Nothing is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return image.size
    except Image.DecompressionBombError:
        return MAX_PIXELS, 2
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError, struct.error):  # OpenCV may know the format
        return 0, 0


def _header(data: bytes) -> tuple[int, int, int]:
    """Width and height in a PNG's or JPEG's header, and where a JPEG's scan begins; 0 if unknown."""
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
