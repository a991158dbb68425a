"""The camera's images for the page, read as the grounding node of its namespace reads them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.task import Future

from n3d_core.errors import ConfigError
from n3d_core.geometry.frame import Frame
from n3d_ros.errors import NoImageError
from n3d_ros.frames.assembly import ColorImage
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.inputs.synchronized_topics import subscribe_inputs
from n3d_ros.queries.frame_source import FrameSource

TRANSFORM_S = 0.05  # it is looked up in the executor's thread
PAIRING_S = 0.05  # at least: to be looked at, not measured
ASK_EVERY_S = 3.0
_ANSWER_S = 1.0  # the page shows images of a camera that nobody grounds too

# Parameters of the grounding node that decide how images become frames; the page takes them from it.
READ_BY = (
    "color_transport",
    "depth_transport",
    "depth_registration",
    "distortion",
    "units_per_metre",
    "monocular_depth",
    "pairing_tolerance",
)


class PageInput:
    """The newest frame of the camera; nothing is subscribed before `newest` and after `close`.

    Its parameters are those of the grounding node, asked every few seconds; without one, the defaults.

    Args:
        node: which subscribes.
        grounding: name of the grounding node.
        transforms: between the cameras of unregistered depth.
    """

    def __init__(self, node: Node, grounding: str, transforms: Transforms) -> None:
        self._node = node
        self._transforms = transforms
        self._client = node.create_client(GetParameters, f"{grounding}/get_parameters")
        self._asked: Future | None = None
        self._asked_at = float("-inf")
        self._opened: float | None = None
        self._told = False
        self._parameters = _for_the_page(GroundingParameters())
        self._topics: RgbdTopics | None = None

    @property
    def open_for_s(self) -> float:
        """Seconds since images are wanted; 0 where they are not."""
        return 0.0 if self._opened is None else time.monotonic() - self._opened

    def newest(self) -> Frame | ColorImage:
        """The newest frame, or the image alone of a camera whose depth is estimated; called by the executor.

        Raises:
            N3DError: as `FrameSource` does; it waits for nothing.
        """
        self._opened = self._opened or time.monotonic()
        self._ask()
        if self._topics is None:
            if not self._told and self._client.service_is_ready() and self.open_for_s < _ANSWER_S:
                raise NoImageError(f"{self._client.srv_name} has not answered yet")
            self._topics = subscribe_inputs(self._node, self._parameters)
        frames = FrameSource(self._node, self._topics, self._transforms)
        messages = frames.newest(self._parameters, lambda: False)
        if messages.depth is None:
            return frames.color(messages, self._parameters)
        return frames.frame(messages, self._parameters)

    def close(self) -> None:
        """Ends the subscriptions."""
        self._unsubscribe()
        self._opened = None

    def _unsubscribe(self) -> None:
        if self._topics is not None:
            self._topics.close()
            self._topics = None

    def _ask(self) -> None:
        if time.monotonic() - self._asked_at < ASK_EVERY_S or not self._client.service_is_ready():
            return
        if self._asked is not None:
            self._client.remove_pending_request(self._asked)
        self._asked_at = time.monotonic()
        self._asked = self._client.call_async(GetParameters.Request(names=READ_BY))
        self._asked.add_done_callback(self._on_answer)

    def _on_answer(self, answered: Future) -> None:
        response = None if answered.cancelled() else answered.result()
        if response is None:
            return
        self._told = True
        wanted = _read(response.values)
        if wanted != self._parameters:
            self._parameters = wanted
            self._unsubscribe()


def _read(values: Sequence[ParameterValue]) -> GroundingParameters:
    """The values in the order of `READ_BY`; the defaults, where the node has other parameters."""
    given = [parameter_value_to_python(value) for value in values]
    try:
        return _for_the_page(GroundingParameters(**dict(zip(READ_BY, given, strict=True))))
    except (ConfigError, TypeError, ValueError):  # another version's
        return _for_the_page(GroundingParameters())


def _for_the_page(parameters: GroundingParameters) -> GroundingParameters:
    """The same, of any age, with nothing waited for."""
    return replace(
        parameters,
        pairing_tolerance=max(parameters.pairing_tolerance, PAIRING_S),
        max_image_age=0.0,
        image_timeout=0.0,
        transform_timeout=TRANSFORM_S,
    )
