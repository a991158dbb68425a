"""Turns the messages of one moment into a validated `Frame`; units, sizes and frames are resolved here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.monocular import DepthEstimate
from n3d_core.errors import CameraError, DepthError, ImageError
from n3d_core.geometry.camera import Camera, Lens
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.points import register_depth
from n3d_core.messages.images import color_array, depth_array, is_compressed

REGISTRATION_POLICIES = ("auto", "aligned", "register")
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class RgbdMessages:
    """The messages of one moment: rclpy's `sensor_msgs`, or objects with the same fields from a bag.

    Attributes:
        color, depth: Image or CompressedImage; `depth` is None without a depth sensor.
        info, depth_info: CameraInfo; `depth_info` is None if it is not published.
        color_rectified, depth_rectified: whether the image topics are rectified (see `is_rectified`).
    """

    color: Any
    depth: Any
    info: Any
    depth_info: Any = None
    color_rectified: bool = False
    depth_rectified: bool = False


def is_rectified(topic: str) -> bool:
    """Whether a topic's name says that its images are rectified: `image_rect`, `image_color_rect`, `rect/image`, ….

    Their camera info still holds the raw image's D and K; P is the matrix of the published image.
    """
    return not {"rect", "rectified", "undistorted"}.isdisjoint(topic.replace("/", "_").split("_"))


@dataclass(frozen=True)
class FrameOptions:
    """How messages become a frame.

    Attributes:
        distortion, registration: the parameters `distortion` and `depth_registration`.
        estimate: estimates depth if there is no depth image.
        depth_unit: as in `DepthUnit.parse`; empty: the encoding's own.
    """

    distortion: str = "rectify"
    registration: str = "auto"
    estimate: DepthEstimator | None = None
    depth_unit: str = ""


class DepthEstimator(Protocol):
    """Estimates the depth of an RGB image [H, W, 3] with its camera (`n3d_core.depth.monocular`)."""

    def __call__(self, color: NDArray[np.uint8], camera: Camera) -> DepthEstimate: ...


class TransformLookup(Protocol):
    """Looks up a transform: rotation [3, 3] and translation [3] from `source` to `target`."""

    def __call__(self, target: str, source: str, stamp_ns: int) -> tuple[NDArray[Any], NDArray[Any]]: ...


def read_camera_info(
    info: Any, policy: str = "rectify", rectified: bool = False, size: tuple[int, ...] = (0, 0)
) -> Lens:
    """The lens that a CameraInfo describes, at the size of the published image.

    Args:
        info: the message (ROS 1 writes K, D and P in capitals); binning and region of interest are applied to K.
        policy: what to do about distortion: `rectify` the images, treat them as already `rectified` (P is then their
            matrix), or `refuse` them.
        rectified: whether the image topic is rectified (`image_rect`), which overrides the policy.
        size: height and width of the image, for drivers that leave those of the message 0.

    Raises:
        CameraError: if the matrix is missing, zero or not finite, the message contradicts itself, or the distortion is
            refused or unknown.
    """
    k, p, d = (getattr(info, name, getattr(info, name.upper(), ())) for name in "kpd")
    policy = "rectified" if rectified else policy
    use_p = policy == "rectified" and any(p)
    if not use_p and not any(k):
        raise CameraError(
            "camera info has a zero K matrix: the camera is not calibrated; check the driver's camera_info"
            + (" (only P is set: if the images are rectified, set distortion:=rectified)" if any(p) else "")
        )
    matrix = np.asarray(p).reshape(3, 4)[:, :3] if use_p else k
    try:
        height, width = (info.height, info.width) if info.width or info.height else size
        full, roi = Camera.from_matrix(matrix, width, height).checked(), info.roi
        camera = full.of_window(roi.x_offset, roi.y_offset, roi.width, roi.height, info.binning_x, info.binning_y)
    except CameraError as error:
        raise CameraError(f"camera info: {error}") from error
    return Lens.of(camera, info.distortion_model, d, policy)


@dataclass(frozen=True)
class ColorImage:
    """The colour half of a frame.

    Attributes:
        color: RGB uint8 [H, W, 3], rectified.
        lens: lens of the image before rectification.
        stamp_ns, frame_id: as of `Frame`.
    """

    color: NDArray[np.uint8]
    lens: Lens
    stamp_ns: int
    frame_id: str

    @property
    def camera(self) -> Camera:
        """The pinhole camera of the rectified image."""
        return self.lens.camera


def assemble_color(messages: RgbdMessages, options: FrameOptions) -> ColorImage:
    """The messages' colour image, rectified.

    Raises:
        ImageError, CameraError: naming what does not fit, and the two values that disagree.
    """
    color = color_array(messages.color)
    lens = read_camera_info(messages.info, options.distortion, messages.color_rectified, color.shape[:2])
    if color.shape[:2] != (lens.camera.height, lens.camera.width):
        raise CameraError(
            f"camera info is for {lens.camera.width}x{lens.camera.height} but the colour image is "
            f"{color.shape[1]}x{color.shape[0]}: both topics must come from one camera"
        )
    header = messages.color.header
    if header.stamp.sec < 0 or header.stamp.nanosec >= _SECOND:
        raise ImageError(
            f"colour image is stamped {header.stamp.sec} s and {header.stamp.nanosec} ns: seconds must not be "
            "negative, and nanoseconds must be below 1e9; the driver's stamps are broken"
        )
    return ColorImage(lens.rectify(color), lens, nanoseconds_of(header.stamp), frame_of(messages.color))


def assemble_frame(messages: RgbdMessages, options: FrameOptions, look_up: TransformLookup) -> Frame:
    """The messages' frame, rectified, with depth registered to colour.

    Raises:
        ImageError, DepthError, CameraError: naming what does not fit, and the two values that disagree.
        N3DError: raised by the depth estimator.
        TransformError: if depth must be registered and the transform between the cameras is unknown.
    """
    image = assemble_color(messages, options)
    if messages.depth is not None:
        depth = _measured(messages, image, options, look_up)
        camera = image.camera
    elif options.estimate is not None:
        seen = options.estimate(image.color, image.camera)
        depth, camera = seen.depth, seen.camera
    else:
        raise DepthError("no depth image, and no model to estimate depth: set monocular_depth")
    return Frame(image.color, depth, camera, image.stamp_ns, image.frame_id)


def transform_of_depth(messages: RgbdMessages, registration: str) -> tuple[str, str] | None:
    """Target and source of the transform that `assemble_frame` looks up for these messages; None if it needs none.

    `registration`: the parameter depth_registration.
    """
    if messages.depth is None or messages.depth_info is None or registration == "aligned":
        return None
    source, target = frame_of(messages.depth), frame_of(messages.color)
    return None if source in ("", target) else (target, source)


def _measured(
    messages: RgbdMessages, image: ColorImage, options: FrameOptions, look_up: TransformLookup
) -> NDArray[np.float32]:
    """The depth image [H, W] as the rectified colour camera would have measured it."""
    depth = depth_array(messages.depth, options.depth_unit)
    if _is_registered(messages, image.color.shape[:2], depth.shape, options.registration):
        return depth if messages.depth_rectified else image.lens.rectify(depth, nearest=True)
    lens = read_camera_info(messages.depth_info, options.distortion, messages.depth_rectified, depth.shape)
    camera = lens.camera
    if depth.shape != (camera.height, camera.width):
        raise DepthError(
            f"depth image is {depth.shape[1]}x{depth.shape[0]} but depth/camera_info is for "
            f"{camera.width}x{camera.height}: both must come from one camera"
        )
    depth = lens.rectify(depth, nearest=True)
    transform = transform_of_depth(messages, options.registration)
    placed = () if transform is None else look_up(*transform, image.stamp_ns)
    return register_depth(depth, camera, image.camera, *placed)


def needs_depth_info(color: Any, depth: Any, registration: str) -> bool:
    """Whether depth may need registration, judging by the headers (compressed images have no size there)."""
    if registration != "auto":
        return registration == "register"
    sizes = [(image.width, image.height) if not is_compressed(image) else None for image in (color, depth)]
    return None in sizes or sizes[0] != sizes[1] or not _same_frame(color, depth)


def _same_lens(messages: RgbdMessages) -> bool:
    """Whether colour and depth could share one camera: librealsense uses one frame for both streams."""
    color, depth = (np.asarray(getattr(m, "k", getattr(m, "K", None))) for m in (messages.info, messages.depth_info))
    return bool(np.allclose(color, depth, rtol=0.05))


def nanoseconds_of(stamp: Any) -> int:
    """A stamp in nanoseconds."""
    return int(stamp.sec) * _SECOND + int(stamp.nanosec)


def frame_of(message: Any) -> str:
    """The message's frame; ROS 1 wrote names with a leading slash, which tf2 and RViz refuse."""
    return str(message.header.frame_id).lstrip("/")


def _same_frame(color: Any, depth: Any) -> bool:
    return frame_of(depth) in ("", frame_of(color))


def _is_registered(
    messages: RgbdMessages, color_size: tuple[int, ...], depth_size: tuple[int, ...], registration: str
) -> bool:
    """Whether depth and colour match pixel by pixel; raises if they should but cannot."""
    same_size = color_size == depth_size
    sizes = f"depth image is {depth_size[1]}x{depth_size[0]} but colour is {color_size[1]}x{color_size[0]}"
    if registration == "aligned" and not same_size:
        raise DepthError(f"{sizes}: depth_registration 'aligned' needs equal sizes; set it to auto or register")
    if registration == "aligned":
        return True
    if same_size and _same_frame(messages.color, messages.depth) and registration == "auto":
        return messages.depth_info is None or _same_lens(messages)
    if messages.depth_info is None:
        frames = f"depth is in frame {frame_of(messages.depth)!r} but colour is in {frame_of(messages.color)!r}"
        raise DepthError(
            f"{sizes if not same_size else frames}: use the driver's aligned depth, or publish depth/camera_info so "
            "that depth can be registered"
            + ("; if depth is aligned anyway, set depth_registration:=aligned" if same_size else "")
        )
    return False
