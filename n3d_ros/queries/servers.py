"""The services `~/ground` and `~/ask` and the action `~/query`, all served by one worker.

Their callbacks are coroutines that wait for the worker, so that a single-threaded executor is never blocked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from n3d_ros.action import Query
from n3d_ros.msg import Result
from n3d_ros.srv import Ask, Ground
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from n3d_core.geometry.boxes import OrientedBox
from n3d_ros.outputs.messages import detection_message, header_message
from n3d_ros.queries.outcome import ASK, GROUND, Progress

# Requests that arrive faster than they are taken are queued; the default keeps ten and silently drops the rest.
_MANY = QoSProfile(depth=2000)
_TEXT_PERIOD_S = 0.05  # text arrives token by token: more than 20 messages a second are useless


class AskFunction(Protocol):
    """Gives a query to the worker; the future's result is an `Answer` message, even for failures."""

    def __call__(
        self, text: str, mode: int, progress: Progress | None = None, wants_cancel: object = ...
    ) -> Future: ...


class QueryServers:
    """Takes queries from clients of `node` and passes them to `ask`; `drop_cancelled` ends cancelled waiting ones."""

    def __init__(self, node: Node, ask: AskFunction, drop_cancelled: Callable[[], None]) -> None:
        self._ask = ask
        self._drop_cancelled = drop_cancelled
        self._cancelled: set[bytes] = set()  # ids of goals still in progress
        self._logger = node.get_logger()
        # A waiting coroutine holds its callback group: the node's own one would block timers and parameters.
        group = ReentrantCallbackGroup()
        node.create_service(Ground, "~/ground", self._on_ground, qos_profile=_MANY, callback_group=group)
        node.create_service(Ask, "~/ask", self._on_ask, qos_profile=_MANY, callback_group=group)
        self._actions = ActionServer(
            node,
            Query,
            "~/query",
            self._on_goal,
            goal_callback=self._accept,
            cancel_callback=self._on_cancel,
            callback_group=group,
            goal_service_qos_profile=_MANY,
            result_service_qos_profile=_MANY,
            cancel_service_qos_profile=_MANY,
        )

    async def _on_ground(self, request: Ground.Request, response: Ground.Response) -> Ground.Response:
        response.result = (await self._ask(request.text, GROUND)).result
        return response

    async def _on_ask(self, request: Ask.Request, response: Ask.Response) -> Ask.Response:
        response.answer = await self._ask(request.question, ASK)
        return response

    def _accept(self, goal: Query.Goal) -> GoalResponse:
        if goal.mode in (GROUND, ASK):
            return GoalResponse.ACCEPT
        self._logger.warning(f"rejecting a goal of mode {goal.mode}: mode must be GROUND ({GROUND}) or ASK ({ASK})")
        return GoalResponse.REJECT

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        self._cancelled.add(_identity(goal))
        self._drop_cancelled()
        return CancelResponse.ACCEPT

    async def _on_goal(self, goal: ServerGoalHandle) -> Query.Result:
        request, identity = goal.request, _identity(goal)
        answer = await self._ask(
            request.text, request.mode, GoalFeedback(goal), wants_cancel=lambda: identity in self._cancelled
        )
        self._cancelled.discard(identity)
        if answer.result.status == Result.OK:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return Query.Result(answer=answer)


class GoalFeedback(Progress):
    """Publishes a query's progress as feedback of its goal: stages and boxes at once, text a few times a second."""

    def __init__(self, goal: ServerGoalHandle) -> None:
        self._goal = goal
        self._feedback = Query.Feedback()
        self._published = 0.0

    def on_stage(self, stage: str) -> None:
        """Publishes the new stage."""
        self._feedback.stage = stage
        self._publish()

    def on_text(self, text_so_far: str) -> None:
        """Publishes the text, at a limited rate."""
        self._feedback.text_so_far = text_so_far
        if time.monotonic() - self._published >= _TEXT_PERIOD_S:
            self._publish()

    def on_box(self, box: OrientedBox, stamp_ns: int, frame_id: str) -> None:
        """Publishes the box."""
        self._feedback.new_detections = [detection_message(box, header_message(stamp_ns, frame_id))]
        self._publish()

    def _publish(self) -> None:
        self._goal.publish_feedback(self._feedback)
        self._feedback.new_detections = []
        self._published = time.monotonic()


def _identity(goal: ServerGoalHandle) -> bytes:
    return bytes(goal.goal_id.uuid)
