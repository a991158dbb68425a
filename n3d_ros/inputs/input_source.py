"""Which source of images the parameters ask for."""

from __future__ import annotations

from rclpy.node import Node

from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.inputs.synchronized_topics import FilteredTopics


def subscribe_inputs(node: Node, parameters: GroundingParameters) -> RgbdTopics:
    """Subscribes the input topics; `close` ends it.

    Raises:
        MissingDependencyError: if message_filters is asked for and not installed.
    """
    options = (parameters.color_transport, parameters.depth_transport, not parameters.monocular_depth)
    if parameters.synchronizer == "message_filters":
        return FilteredTopics(node, round(parameters.pairing_tolerance * 1e9), *options)
    return RgbdTopics(node, *options)
