"""The image size that a model is compiled for, and what becomes of images of another one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from n3d_core.errors import ConfigError, ImageError
from n3d_core.geometry.frame import Frame
from n3d_core.network.config import N3DConfig

OnOtherSize = Literal["recompile", "resize", "error"]


@dataclass(frozen=True)
class ImageSize:
    """Width and height in pixels of the camera whose images a tower is compiled for.

    Attributes:
        on_other: what happens to an image that gives another patch grid (its sides are in another ratio): `recompile`
            compiles a tower for it too, which takes seconds to minutes; `resize` scales image, depth and intrinsics to
            this size, which bends the picture and not the boxes; `error` refuses it.

    Raises:
        ConfigError: if a side is not positive, or `on_other` is none of the three.
    """

    width: int
    height: int
    on_other: OnOtherSize = "recompile"

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ConfigError(f"image size {self.width}x{self.height}: both sides must be at least 1 pixel")
        if self.on_other not in get_args(OnOtherSize):
            raise ConfigError(f"on_other is {self.on_other!r}: one of {', '.join(get_args(OnOtherSize))} is wanted")

    @classmethod
    def parse(cls, text: str, on_other: OnOtherSize = "recompile") -> ImageSize:
        """Reads `640x480`.

        Raises:
            ConfigError: if it is not of that form.
        """
        match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
        if match is None:
            raise ConfigError(f"image size {text[:40]!r}: WIDTHxHEIGHT in pixels is wanted, as in 640x480")
        return cls(int(match[1]), int(match[2]), on_other)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def fitted(self, frame: Frame, config: N3DConfig) -> Frame:
        """The frame, or what `on_other` makes of it.

        Raises:
            ImageError: if it is refused; the message names both sizes.
        """
        from n3d_core.network.preprocess import patch_grid  # brings torch, which reading a size does without

        here, there = patch_grid(frame.width, frame.height, config), patch_grid(self.width, self.height, config)
        if here == there or self.on_other == "recompile":
            return frame
        if self.on_other == "error":
            raise ImageError(
                f"the image is {frame.width}x{frame.height} ({here[1]}x{here[0]} patches) and the model is compiled "
                f"for {self} ({there[1]}x{there[0]}): set the camera to that size, compile for its own, or set "
                "on_other to resize or recompile"
            )
        size = (self.width, self.height)
        shrinks = self.width * self.height < frame.width * frame.height
        color = cv2.resize(frame.color, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        depth = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST_EXACT)  # a mean of depths is none
        return Frame(
            np.asarray(color, dtype=np.uint8),
            np.asarray(depth, dtype=np.float32),
            frame.camera.resized(*size),
            frame.stamp_ns,
            frame.frame_id,
        )
