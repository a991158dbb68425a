"""The newest frame of a camera: taken before a query's turn on the model, renewed while it waits, read in its turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from rclpy.clock import Clock
from std_msgs.msg import Header

from n3d_core.errors import N3DError, QueryCancelledError
from n3d_core.geometry.frame import Frame
from n3d_core.messages.assembly import (
    ColorImage,
    DepthEstimator,
    FrameOptions,
    RgbdMessages,
    assemble_color,
    assemble_frame,
    frame_of,
    nanoseconds_of,
    transform_of_depth,
)
from n3d_ros.errors import NoImageError, StaleImageError, TransformError
from n3d_ros.frames.images import is_sound
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters

RENEW_S = 0.25  # how often a waiting query's image is replaced by a newer one
_POLL_S = 0.004
_DAY_S = 86_400.0  # an older stamp is from another clock or from a bag
_FUTURE_S = 0.5  # a stamp further ahead than this is from another clock
DISCOVERY_S = 5.0  # the middleware connects a topic that was subscribed again within this time


class RgbdSource(Protocol):
    """Where the newest messages come from: topics, or a camera node in the same process."""

    @property
    def newest_header(self) -> Header | None:
        """Header of the newest colour image seen so far, complete or not; reads no new message."""
        ...

    def newest(self, bound_ns: int, registration: str) -> RgbdMessages:
        """The newest complete set of messages.

        Args:
            bound_ns: largest difference between the stamps of colour and depth.
            registration: the parameter depth_registration, which decides whether depth's camera info is needed.

        Raises:
            NoImageError: if there is no complete set.
        """
        ...


@dataclass(frozen=True)
class Taken:
    """The messages of one frame.

    Attributes:
        age_ms, milliseconds: their age when they were taken, and how long taking them took.
        has_transform: whether the query needs a transform; if so, it is known.
        tried: `time.monotonic()` of the last check for newer messages.
    """

    messages: RgbdMessages
    age_ms: float
    milliseconds: float
    has_transform: bool
    tried: float


def never() -> bool:
    """Never cancelled."""
    return False


@dataclass(frozen=True)
class LatestFrame:
    """Takes the newest messages of one camera and builds frames from them.

    Attributes:
        clock: the node's, against which the age of images is measured.
        source: where messages come from.
        transforms: for unregistered depth, `target_frame` and `gravity_frame`.
        estimate: estimates depth for a camera without it; None if depth is measured.
    """

    clock: Clock
    source: RgbdSource
    transforms: Transforms
    estimate: DepthEstimator | None = None

    @property
    def newest_header(self) -> Header | None:
        """Header of the newest colour image seen so far, complete or not; None before the first."""
        return self.source.newest_header

    def take(
        self,
        parameters: GroundingParameters,
        cancelled: Callable[[], bool] = never,
        seen: Callable[[RgbdMessages], None] = lambda _messages: None,
        deadline: float | None = None,
    ) -> Taken:
        """The newest fresh messages whose transforms are known.

        Waits up to `image_timeout` for the image and `transform_timeout` for the transforms, so call it before the
        query's turn on the shared model. If the images had to be subscribed again, the wait begins once the middleware
        has connected them, and is longer by `max_image_age`: with them subscribed, an image of that age would do.

        Args:
            parameters: those of the query.
            cancelled: polled during the wait.
            seen: called with the messages before their transforms are looked up.
            deadline: `time.monotonic()` at which no wait goes on; None: there is none.

        Raises:
            NoImageError, StaleImageError, TransformError: what was still missing after the wait.
            QueryCancelledError: once `cancelled` returns True.
        """
        began = time.monotonic()
        messages = self._wait(parameters, cancelled, deadline)
        seen(messages)
        age_ms = self.age_ms(messages)
        wanted = _transforms_for(messages, parameters)
        for target, source in wanted:
            stamp_ns, timeout_s = nanoseconds_of(messages.color.header.stamp), parameters.transform_timeout
            if deadline is not None:
                timeout_s = min(timeout_s, max(0.0, deadline - time.monotonic()))
            self.transforms.look_up(target, source, stamp_ns, timeout_s, cancelled)
        ended = time.monotonic()
        return Taken(messages, age_ms, 1000 * (ended - began), bool(wanted), ended)

    def renew(
        self,
        taken: Taken,
        parameters: GroundingParameters,
        cancelled: Callable[[], bool],
        seen: Callable[..., None],
        deadline: float | None = None,
    ) -> Taken:
        """Takes a newer image now and then while a query waits for its turn, once the image's transforms are known.

        In its turn the query takes a still newer image if it need not wait for it. If TF lags behind the camera it
        would always wait, and then uses this one, which is recent enough.
        """
        if not taken.has_transform or time.monotonic() - taken.tried < RENEW_S:
            return taken
        try:
            return self.take(replace(parameters, image_timeout=0.0), cancelled, seen, deadline)
        except (NoImageError, StaleImageError, TransformError):
            return replace(taken, tried=time.monotonic())

    def retake(
        self, taken: Taken, parameters: GroundingParameters, cancelled: Callable[[], bool], seen: Callable[..., None]
    ) -> Taken:
        """In a query's turn: takes the newest image available without waiting, else keeps a fresh earlier one.

        Raises:
            NoImageError, StaleImageError, TransformError: if neither is usable.
        """
        try:
            return self.take(at_once(parameters), cancelled, seen)
        except (NoImageError, TransformError):
            if self._stale(taken.messages, parameters.max_image_age) is not None:
                raise
            seen(taken.messages)
            return taken

    def read(self, messages: RgbdMessages, parameters: GroundingParameters) -> Frame:
        """Builds the frame from the messages.

        Raises:
            ImageError, DepthError, CameraError, TransformError: see `assemble_frame`.
        """
        look_up = partial(self.transforms.look_up, timeout_s=parameters.transform_timeout)
        return assemble_frame(messages, self._options(parameters), look_up)

    def read_color(self, messages: RgbdMessages, parameters: GroundingParameters) -> ColorImage:
        """Reads the colour image from the messages.

        Raises:
            ImageError, CameraError: see `assemble_color`.
        """
        return assemble_color(messages, self._options(parameters))

    def age_ms(self, messages: RgbdMessages) -> float:
        """Age of a colour image by the node's clock, in milliseconds."""
        return (self.clock.now().nanoseconds - nanoseconds_of(messages.color.header.stamp)) / 1e6

    def _options(self, parameters: GroundingParameters) -> FrameOptions:
        return FrameOptions(parameters.distortion, parameters.depth_registration, self.estimate, parameters.depth_unit)

    def _wait(
        self, parameters: GroundingParameters, cancelled: Callable[[], bool], deadline: float | None
    ) -> RgbdMessages:
        began = time.monotonic()
        bound_ns = round(parameters.pairing_tolerance * 1e9)
        while True:
            try:
                messages = self.source.newest(bound_ns, parameters.depth_registration)
                if stale := self._stale(messages, parameters.max_image_age):
                    raise stale
                return messages
            except (NoImageError, StaleImageError) as error:
                end = parameters.image_timeout + max(began, _later(error, began, parameters.max_image_age))
                if time.monotonic() >= (end if deadline is None else min(end, deadline)):
                    raise
            if cancelled():
                raise QueryCancelledError("cancelled while waiting for an image")
            time.sleep(_POLL_S)

    def _stale(self, messages: RgbdMessages, limit_s: float) -> StaleImageError | None:
        """An error if the messages are too old or from the future; None if they are fresh."""
        age_s = self.age_ms(messages) / 1000
        if limit_s <= 0 or -_FUTURE_S <= age_s <= limit_s:
            return None
        if self.clock.now().nanoseconds == 0:
            return StaleImageError("the node's clock is at 0: use_sim_time is true and nothing publishes /clock")
        if nanoseconds_of(messages.color.header.stamp) == 0:
            return StaleImageError(
                "the newest image is stamped 0: its driver sets no stamp, so its age is unknown; set max_image_age to "
                "0 to take images of any age"
            )
        if age_s < 0:
            return StaleImageError(
                f"the newest image is {-age_s:.1f} s ahead of the node's clock: camera and node use different clocks "
                "(use_sim_time on only one of them?)"
            )
        if age_s > _DAY_S:
            stamped, present = (
                time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment_ns // 1_000_000_000))
                for moment_ns in (nanoseconds_of(messages.color.header.stamp), self.clock.now().nanoseconds)
            )
            return StaleImageError(
                f"the newest image is stamped {stamped} and the node's clock is at {present}: the driver stamps by the "
                "camera's own clock (set it to system time), or a bag is played without its clock (use --clock and "
                "use_sim_time); or set max_image_age to 0"
            )
        return StaleImageError(
            f"the newest image is {age_s:.1f} s old and max_image_age is {limit_s} s: the camera has stopped or is "
            "slow, or a bag is played without its clock (use --clock and use_sim_time); or set max_image_age to 0"
        )


def at_once(parameters: GroundingParameters) -> GroundingParameters:
    """The same parameters with no waits: a query that waits in its turn delays the queries of all other cameras."""
    return replace(parameters, image_timeout=0.0, transform_timeout=0.0)


def _later(error: N3DError, began: float, max_age_s: float) -> float:
    """The moment from which `image_timeout` counts if the images were subscribed again for this query."""
    if not isinstance(error, NoImageError) or error.connected is None:
        return began
    return min(error.connected, began + DISCOVERY_S) + max_age_s


def _transforms_for(messages: RgbdMessages, parameters: GroundingParameters) -> list[tuple[str, str]]:
    """Target and source of the transforms that these messages need."""
    if not is_sound(messages.color.header.stamp):
        return []  # the frame will be rejected for its stamp
    camera = frame_of(messages.color)
    registration = transform_of_depth(messages, parameters.depth_registration)
    wanted = [] if registration is None else [registration]
    if parameters.target_frame not in ("", camera):
        wanted.append((parameters.target_frame, camera))
    if parameters.refines and parameters.gravity_frame:
        wanted.append((parameters.gravity_frame, camera))
    return wanted
