"""The continuous query: one text, grounded again and again in the newest image."""

from __future__ import annotations

from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_msgs.msg import String

from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.msg import Result
from n3d_ros.outputs.publishers import Outputs
from n3d_ros.queries.desk import QueryDesk
from n3d_ros.queries.runner import GROUND

# It gave way, or the node ended it: the result before it stands, or is replaced by the one it gave way to.
_GAVE_WAY = (Result.REPLACED, Result.BUSY, Result.NOT_ACTIVE)


class ContinuousQuery:
    """Asks the text of the parameter `continuous_query`, which the topic `~/continuous_query` sets too.

    Without a text no timer runs: an idle node does not wake for it. Where it fails (the camera stopped, say), the boxes
    that are shown are taken back.
    """

    def __init__(self, node: Node, desk: QueryDesk, outputs: Outputs, clock: Clock) -> None:
        self._node = node
        self._desk = desk
        self._outputs = outputs
        self._text = ""
        self._ticker = node.create_timer(1.0, self._ask_again, clock=clock)
        self._ticker.cancel()
        node.create_subscription(String, "~/continuous_query", self._on_text, 1)

    def apply(self, parameters: GroundingParameters) -> None:
        """Takes text and rate from the parameters."""
        self._text = parameters.continuous_query
        self._ticker.timer_period_ns = round(1e9 / parameters.continuous_rate)
        if self._text:
            self._ticker.reset()
        else:
            self._ticker.cancel()

    def _on_text(self, message: String) -> None:
        self._node.set_parameters([Parameter("continuous_query", value=message.data)])

    def _ask_again(self) -> None:
        if self._desk.is_open and self._desk.worker.load == (0, 0):
            self._desk.ask(self._text, GROUND, background=True).add_done_callback(self._on_answer)

    def _on_answer(self, answered: Future) -> None:
        """Runs in the worker, before its next query."""
        if answered.result().result.status not in (Result.OK, *_GAVE_WAY):
            self._outputs.clear()
