"""Publishes the grounding node's results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from n3d_ros.msg import Answer, Result
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray, VisionInfo
from visualization_msgs.msg import MarkerArray

from n3d_core.display.draw import BODY_UP, OPTICAL_UP, draw_boxes
from n3d_core.errors import ConfigError
from n3d_ros.frames.images import image_message
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.outputs.markers import marker_array, object_clouds
from n3d_ros.outputs.messages import answer_message, detections_message, header_message, result_message
from n3d_ros.queries.outcome import Outcome


class Outputs:
    """The node's publishers; images are computed only while there are subscribers.

    Raises:
        ConfigError: if the `qos_overrides` of a topic are invalid.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        make = node.create_lifecycle_publisher
        self._detections = self._publisher(make, Detection3DArray, "detections", QoSProfile(depth=10))
        self._tracks = self._publisher(make, Detection3DArray, "tracks", QoSProfile(depth=10))
        self._markers = self._publisher(make, MarkerArray, "markers", latched())
        self._answers = self._publisher(make, Answer, "answers", QoSProfile(depth=10))
        self._annotated = self._publisher(make, Image, "annotated_image", QoSProfile(depth=1))
        self._clouds = self._publisher(make, PointCloud2, "object_clouds", QoSProfile(depth=1))
        self._info = self._publisher(node.create_publisher, VisionInfo, "vision_info", latched())
        self._shown_in = ""  # frame of the result on display; empty if there is none

    def _publisher(self, make: Callable[..., Any], kind: type, name: str, qos: QoSProfile) -> Any:
        """A publisher of `~/name`; overrides are written into `qos`."""
        try:
            return make(kind, f"~/{name}", qos, qos_overriding_options=QoSOverridingOptions.with_default_policies())
        except (InvalidParameterTypeException, RuntimeError) as error:  # rclpy raises both
            if not self._node.context.ok():
                raise  # interrupted by Ctrl-C
            topic = self._node.resolve_topic_name(f"~/{name}")
            raise ConfigError(
                f"cannot publish {topic}: {error}; restart the node with other parameters "
                f"qos_overrides.{topic}.publisher.*"
            ) from error

    def publish_info(self, method: str, location: str) -> None:
        """Publishes which model is in use, and what it is for; late subscribers receive it too."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._info.publish(VisionInfo(header=header, method=method, database_location=location))

    def publish(
        self, text: str, outcome: Outcome, parameters: GroundingParameters, ids: Sequence[str] | None = None
    ) -> Answer:
        """Publishes a result on all topics, even an empty one, so that old boxes disappear. Returns it as a message.

        In the answer a remembered detection has its id in the map, and the time it was last seen in its own header.

        `ids`: ids of the tracked objects for the continuous query; else None.
        """
        header = header_message(outcome.frame.stamp_ns, outcome.frame_id)
        remembered = [] if outcome.answer is None else outcome.answer.remembered
        names = ids or [str(one.id or "") for one in remembered]
        detections = detections_message(outcome.boxes, header, names)
        self._shown_in = outcome.frame_id
        self._detections.publish(detections)
        if ids is not None:
            self._tracks.publish(detections)
        up = OPTICAL_UP if outcome.frame_id == outcome.frame.frame_id else BODY_UP
        self._markers.publish(marker_array(outcome.boxes, header, parameters.marker_lifetime, up))
        for detection, one in zip(detections.detections, remembered, strict=False):
            detection.header = header_message(max(round(one.last_seen * 1e9), 0), outcome.frame_id)
        result: Result = result_message(text, header, detections, outcome.times, outcome.warnings)
        question = text if outcome.answer is not None else ""
        answer = answer_message(result, question, outcome.answer, outcome.value)
        if outcome.answer is not None:
            self._answers.publish(answer)
        self._publish_images(outcome, parameters)
        return answer

    def clear(self) -> None:
        """Removes the result on display, if any: outdated boxes must not stay in RViz."""
        if not self._shown_in:
            return
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._shown_in)
        self._shown_in = ""
        self._detections.publish(detections_message([], header))
        self._tracks.publish(detections_message([], header))
        self._markers.publish(marker_array([], header))

    def _publish_images(self, outcome: Outcome, parameters: GroundingParameters) -> None:
        frame = outcome.frame
        header = header_message(frame.stamp_ns, frame.frame_id)
        if self._annotated.get_subscription_count():
            picture = draw_boxes(frame.color, frame.camera, outcome.seen)
            self._annotated.publish(image_message(picture, "rgb8", header.stamp, header.frame_id))
        if parameters.publish_object_clouds and self._clouds.get_subscription_count():
            self._clouds.publish(object_clouds(frame, outcome.seen, header))


def latched() -> QoSProfile:
    """A latched profile, for late subscribers; overrides are written into it."""
    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
