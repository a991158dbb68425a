"""Turns a frame into the vision tower's inputs and the conversion from bins to metres. All on the host."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from n3d_core.depth import DepthLimits, DepthReport, clean_depth
from n3d_core.errors import ConfigError, ImageError
from n3d_core.geometry.frame import MAX_PIXELS, Frame
from n3d_core.geometry.points import normalise, to_model_frame
from n3d_core.language.structured import BoxCodec
from n3d_core.network.config import N3DConfig

if TYPE_CHECKING:
    from n3d_core.network.preprocess import VisionInput  # brings torch, which reading an image size does without

_LONGEST_POINT_MAP = 640  # pixels: the cloud is pooled to some dozens of patches a side

_LEAST_SIDE = 16  # pixels; smaller images show nothing

OnOtherSize = Literal["recompile", "resize", "error"]


@dataclass(frozen=True)
class ImageSize:
    """Width and height, in pixels, of the images that a vision tower is compiled for.

    Attributes:
        on_other: what to do with an image of another aspect ratio (another patch grid): `recompile` compiles a tower
            for it too, which takes seconds to minutes; `resize` scales image, depth and intrinsics to this size, which
            distorts the picture but not the boxes; `error` rejects it.

    Raises:
        ConfigError: if the size is too small or too large, or `on_other` is unknown.
    """

    width: int
    height: int
    on_other: OnOtherSize = "recompile"

    def __post_init__(self) -> None:
        if min(self.width, self.height) < _LEAST_SIDE or self.width * self.height > MAX_PIXELS:
            raise ConfigError(
                f"image size {self.width}x{self.height}: both sides must be at least {_LEAST_SIDE} pixels, and at most "
                f"{MAX_PIXELS} together"
            )
        if self.on_other not in get_args(OnOtherSize):
            raise ConfigError(f"on_other must be one of {', '.join(get_args(OnOtherSize))}; got {self.on_other!r}")

    @classmethod
    def parse(cls, text: str, on_other: OnOtherSize = "recompile") -> ImageSize:
        """Reads `640x480`.

        Raises:
            ConfigError: if it is not of that form.
        """
        match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
        if match is None:
            raise ConfigError(f"image size must be WIDTHxHEIGHT in pixels, for example 640x480; got {text[:40]!r}")
        return cls(int(match[1]), int(match[2]), on_other)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def fitted(self, frame: Frame, config: N3DConfig) -> Frame:
        """The frame, resized if `on_other` says so.

        Raises:
            ImageError: if `on_other` rejects it; the message names both sizes.
        """
        from n3d_core.network.preprocess import patch_grid

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
        # nearest neighbour: an average of two depths is neither of them
        depth = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return Frame(
            np.asarray(color, dtype=np.uint8),
            np.asarray(depth, dtype=np.float32),
            frame.camera.resized(*size),
            frame.stamp_ns,
            frame.frame_id,
        )


@dataclass(frozen=True)
class PreparedFrame:
    """The inputs of one view.

    Attributes:
        image: for the vision tower.
        codec: between bins and metres in this view.
        depth: the report of the depth cleaning.
    """

    image: VisionInput
    codec: BoxCodec
    depth: DepthReport


def prepare(frame: Frame, limits: DepthLimits, config: N3DConfig, size: ImageSize | None = None) -> PreparedFrame:
    """Fits a frame to the compiled size, cleans its depth, makes and normalises its points, and cuts its patches.

    An image of an aspect ratio that the model was not trained on is letterboxed, and the report's warnings say so.

    The point map is subsampled by a whole stride to at most 640 points a side.

    Raises:
        DepthError: if no usable depth is left. ImageError: if the image is too elongated, or its size is rejected.
    """
    from n3d_core.network.preprocess import vision_input

    seen = frame if size is None else size.fitted(frame, config)
    depth, report = clean_depth(seen.depth, limits)
    report = replace(report, warnings=(*frame.camera.doubts, *report.warnings))
    boxed = letterboxed(replace(seen, depth=depth), config)
    if boxed.camera != seen.camera:
        report = replace(report, warnings=(*report.warnings, _letterbox_warning(seen, boxed, config)))
    seen, depth = boxed, boxed.depth
    points = seen.camera.back_project(depth, stride=-(-max(depth.shape) // _LONGEST_POINT_MAP))
    valid = np.isfinite(points[..., 2])
    cloud, normalisation = normalise(to_model_frame(points, in_place=True), valid, in_place=True)
    return PreparedFrame(vision_input(seen.color, cloud, valid, config), BoxCodec(normalisation, seen.camera), report)


def letterboxed(frame: Frame, config: N3DConfig) -> Frame:
    """The frame on a black canvas whose aspect ratio the model was trained on; unchanged if its own is one.

    The border has no depth, and the principal point moves with the image: points and boxes in metres stay the same.
    """
    from n3d_core.network.preprocess import canvas_size

    width, height = canvas_size(frame.width, frame.height, config)
    if (width, height) == (frame.width, frame.height):
        return frame
    left, top = (width - frame.width) // 2, (height - frame.height) // 2
    inside = np.s_[top : top + frame.height, left : left + frame.width]
    color = np.zeros((height, width, 3), dtype=np.uint8)
    depth = np.full((height, width), np.nan, dtype=np.float32)
    color[inside], depth[inside] = frame.color, frame.depth
    return replace(frame, color=color, depth=depth, camera=frame.camera.cropped(-left, -top, width, height))


def _letterbox_warning(frame: Frame, boxed: Frame, config: N3DConfig) -> str:
    known = ", ".join(f"{width}:{height}" for width, height in config.ratios)
    return (
        f"the image is {frame.width}x{frame.height} and this model was trained on {known}: it is letterboxed to "
        f"{boxed.width}x{boxed.height}, and its objects appear smaller"
    )
