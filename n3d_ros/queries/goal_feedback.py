"""Progress of a query as feedback of its action goal."""

from __future__ import annotations

import time

from rclpy.action.server import ServerGoalHandle

from n3d_core.geometry.boxes import OrientedBox
from n3d_ros.action import Query
from n3d_ros.outputs.messages import detection_message, header_message
from n3d_ros.queries.runner import Progress

_TEXT_PERIOD_S = 0.05  # text comes token by token: more than 20 messages a second help nobody


class GoalFeedback(Progress):
    """Publishes stages and boxes at once, text a few times a second."""

    def __init__(self, goal: ServerGoalHandle) -> None:
        self._goal = goal
        self._feedback = Query.Feedback()
        self._published = 0.0

    def on_stage(self, stage: str) -> None:
        """Tells the new stage."""
        self._feedback.stage = stage
        self._publish()

    def on_text(self, text_so_far: str) -> None:
        """Tells the text, if the last time is long enough ago."""
        self._feedback.text_so_far = text_so_far
        if time.monotonic() - self._published >= _TEXT_PERIOD_S:
            self._publish()

    def on_box(self, box: OrientedBox, stamp_ns: int, frame_id: str) -> None:
        """Tells the box."""
        self._feedback.new_detections = [detection_message(box, header_message(stamp_ns, frame_id))]
        self._publish()

    def _publish(self) -> None:
        self._goal.publish_feedback(self._feedback)
        self._feedback.new_detections = []
        self._published = time.monotonic()
