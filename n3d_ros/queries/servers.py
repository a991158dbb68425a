"""The services `~/ground` and `~/ask` and the action `~/query`: three doors to one worker.

Their callbacks are coroutines that wait for the worker, so that a single-threaded executor is never blocked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from n3d_ros.action import Query
from n3d_ros.msg import Result
from n3d_ros.queries.goal_feedback import GoalFeedback
from n3d_ros.queries.runner import ASK, GROUND, Progress
from n3d_ros.srv import Ask, Ground

# Requests that come faster than they are taken wait; the default keeps ten and drops the others without a word.
_MANY = QoSProfile(depth=2000)
RESULT_KEPT_S = 60  # a finished goal's result waits this long for its client


class AskFunction(Protocol):
    """Gives a query to the worker; the future's result is an `Answer` message, of failures too."""

    def __call__(
        self, text: str, mode: int, progress: Progress | None = None, wants_cancel: object = ...
    ) -> Future: ...


class QueryServer:
    """Takes queries from clients of `node` and hands them to `ask`; `drop_cancelled` ends those that wait in vain."""

    def __init__(self, node: Node, ask: AskFunction, drop_cancelled: Callable[[], None]) -> None:
        self._ask = ask
        self._drop_cancelled = drop_cancelled
        self._cancelled: set[bytes] = set()  # ids of goals that have not ended yet
        self._logger = node.get_logger()
        # A coroutine that waits holds its group: in the node's own one it would hold up timers and parameters.
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
            result_timeout=RESULT_KEPT_S,
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
        self._logger.warning(f"a goal of mode {goal.mode} is rejected: GROUND ({GROUND}) or ASK ({ASK}) is wanted")
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


def _identity(goal: ServerGoalHandle) -> bytes:
    return bytes(goal.goal_id.uuid)
