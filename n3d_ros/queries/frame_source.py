"""The newest fresh frame, waited for within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from rclpy.node import Node
from std_msgs.msg import Header

from n3d_core.errors import QueryCancelledError
from n3d_core.geometry.frame import Frame
from n3d_ros.errors import NoImageError, StaleImageError
from n3d_ros.frames.assembly import ColorImage, DepthEstimator, Door, RgbdMessages, assemble_color, assemble_frame
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.stamps import nanoseconds_of

_POLL_S = 0.004
_FUTURE_S = 0.5  # a stamp further ahead than this is another clock, not a late one


class RgbdSource(Protocol):
    """Where the newest messages come from: topics, or a camera node in the same process."""

    @property
    def newest_header(self) -> Header | None:
        """Of the newest colour image that is known, whatever it lacks; nothing is taken for it."""
        ...

    def newest(self, bound_ns: int, registration: str) -> RgbdMessages:
        """The newest complete set of messages; NoImageError where there is none.

        `registration`: the parameter depth_registration; says whether depth's camera info is looked for.
        """
        ...


class FrameSource:
    """Takes the newest messages and makes a frame of them.

    Args:
        node: for its clock.
        source: where messages come from.
        transforms: between the cameras of unregistered depth.
        estimate: depth of a camera without; None where depth is measured.
    """

    def __init__(
        self, node: Node, source: RgbdSource, transforms: Transforms, estimate: DepthEstimator | None = None
    ) -> None:
        self._clock = node.get_clock()
        self._source = source
        self._transforms = transforms
        self._estimate = estimate

    @property
    def newest_header(self) -> Header | None:
        """Of the newest colour image that is known, whatever it lacks; None before the first."""
        return self._source.newest_header

    def newest(self, parameters: GroundingParameters, cancelled: Callable[[], bool]) -> RgbdMessages:
        """The newest messages that are not stale; waits up to `image_timeout` for them.

        Raises:
            NoImageError, StaleImageError: what was wrong at the end of the wait.
            QueryCancelledError: if `cancelled` says so meanwhile.
        """
        deadline = time.monotonic() + parameters.image_timeout
        while True:
            try:
                messages = self._source.newest(round(parameters.pairing_tolerance * 1e9), parameters.depth_registration)
                self._refuse_stale(messages, parameters.max_image_age)
                return messages
            except (NoImageError, StaleImageError):
                if time.monotonic() >= deadline:
                    raise
            if cancelled():
                raise QueryCancelledError("cancelled while waiting for an image")
            time.sleep(_POLL_S)

    def frame(self, messages: RgbdMessages, parameters: GroundingParameters) -> Frame:
        """The frame that they hold.

        Raises:
            ImageError, DepthError, CameraError, TransformError: see `assemble_frame`.
        """
        look_up = partial(self._transforms.look_up, timeout_s=parameters.transform_timeout)
        return assemble_frame(messages, self._door(parameters), look_up)

    def color(self, messages: RgbdMessages, parameters: GroundingParameters) -> ColorImage:
        """The colour image that they hold.

        Raises:
            ImageError, CameraError: see `assemble_color`.
        """
        return assemble_color(messages, self._door(parameters))

    def _door(self, parameters: GroundingParameters) -> Door:
        return Door(parameters.distortion, parameters.depth_registration, self._estimate, parameters.units_per_metre)

    def age_ms(self, messages: RgbdMessages) -> float:
        """How old a colour image is by the node's clock, in milliseconds."""
        return (self._clock.now().nanoseconds - nanoseconds_of(messages.color.header.stamp)) / 1e6

    def is_fresh(self, messages: RgbdMessages, parameters: GroundingParameters) -> bool:
        """Whether they are not too old by now (`max_image_age`)."""
        try:
            self._refuse_stale(messages, parameters.max_image_age)
        except StaleImageError:
            return False
        return True

    def _refuse_stale(self, messages: RgbdMessages, limit_s: float) -> None:
        if limit_s <= 0:
            return
        age_s = self.age_ms(messages) / 1000
        if -_FUTURE_S <= age_s <= limit_s:
            return
        if self._clock.now().nanoseconds == 0:
            raise StaleImageError("the node's clock is at 0: use_sim_time is true and nothing publishes /clock")
        if age_s < 0:
            raise StaleImageError(
                f"the newest image is {-age_s:.1f} s ahead of the node's clock: camera and node use different clocks "
                "(use_sim_time on one of them only?)"
            )
        raise StaleImageError(
            f"the newest image is {age_s:.1f} s old and max_image_age is {limit_s} s: the camera has stopped or is "
            "slow; of a bag, play it with --clock and set use_sim_time, or set max_image_age to 0"
        )
