"""The image of a query: waited for before its turn on the shared model, renewed meanwhile, and newest in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from n3d_ros.errors import NoImageError, StaleImageError, TransformError
from n3d_ros.frames.assembly import RgbdMessages, transform_of_depth
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.stamps import is_sound, nanoseconds_of
from n3d_ros.queries.frame_source import FrameSource

RENEW_S = 0.25  # an image that waits for its turn with its transforms is replaced by a newer one this often


@dataclass(frozen=True)
class Taken:
    """The messages of a frame.

    Attributes:
        age_ms, milliseconds: how old they were when they were taken, and what that took.
        is_placed: whether a transform is known that belongs to them.
        tried: `time.monotonic()` when newer ones were last looked for.
    """

    messages: RgbdMessages
    age_ms: float
    milliseconds: float
    is_placed: bool
    tried: float


@dataclass(frozen=True)
class QueryImage:
    """Takes images for one query.

    Attributes:
        parameters: those of the query; `at_once` are the same, with nothing waited for.
        cancelled: polled while an image is waited for.
        seen: told of messages before their transforms are looked up.
    """

    frames: FrameSource
    transforms: Transforms
    parameters: GroundingParameters
    cancelled: Callable[[], bool]
    seen: Callable[[RgbdMessages], None]

    @property
    def at_once(self) -> GroundingParameters:
        """For use in the turn: who waits there lets the queries of other cameras wait too."""
        return replace(self.parameters, image_timeout=0.0, transform_timeout=0.0)

    def wait(self) -> Taken:
        """The newest messages whose transforms are known; a camera or a TF that is slow is waited for.

        No network runs for it, so that the model need not be held.

        Raises:
            NoImageError, StaleImageError, TransformError, QueryCancelledError: see `FrameSource` and `Transforms`.
        """
        return self._take(self.parameters)

    def renewed(self, taken: Taken) -> Taken:
        """For use while the turn is waited for: now and then a newer image, once its transforms are known.

        In its turn a query takes an image that is newer still, if that needs no wait. Where TF lags behind the camera
        it always does: then this one is young enough.
        """
        if not taken.is_placed or time.monotonic() - taken.tried < RENEW_S:
            return taken
        try:
            return self._take(replace(self.parameters, image_timeout=0.0))
        except (NoImageError, StaleImageError, TransformError):
            return replace(taken, tried=time.monotonic())

    def newest(self, taken: Taken) -> Taken:
        """For use in the turn: the newest image that needs no wait, else the one taken before, while it is fresh.

        Raises:
            NoImageError, StaleImageError, TransformError: if neither will do.
        """
        try:
            return self._take(self.at_once)
        except (NoImageError, TransformError):
            if not self.frames.is_fresh(taken.messages, self.parameters):
                raise
            self.seen(taken.messages)
            return taken

    def _take(self, parameters: GroundingParameters) -> Taken:
        began = time.monotonic()
        messages = self.frames.newest(parameters, self.cancelled)
        self.seen(messages)
        age_ms = self.frames.age_ms(messages)
        wanted = _transforms_for(messages, parameters)
        for target, source in wanted:
            stamp_ns = nanoseconds_of(messages.color.header.stamp)
            self.transforms.look_up(target, source, stamp_ns, parameters.transform_timeout)
        ended = time.monotonic()
        return Taken(messages, age_ms, 1000 * (ended - began), bool(wanted), ended)


def _transforms_for(messages: RgbdMessages, parameters: GroundingParameters) -> list[tuple[str, str]]:
    """Target and source of the transforms that the frame of these messages will need."""
    header = messages.color.header
    if not is_sound(header.stamp):
        return []  # the frame is refused for its stamp
    registration = transform_of_depth(messages, parameters.depth_registration)
    wanted = [] if registration is None else [registration]
    if parameters.target_frame not in ("", header.frame_id):
        wanted.append((parameters.target_frame, header.frame_id))
    if parameters.refine != "off" and parameters.gravity_frame:
        wanted.append((parameters.gravity_frame, header.frame_id))
    return wanted
