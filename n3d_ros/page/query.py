"""Asks the grounding node for the page, through its action: what it tells meanwhile can be shown meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from vision_msgs.msg import Detection3D

from n3d_ros.action import Query
from n3d_ros.msg import Answer
from n3d_ros.page.content import UnavailableError

_MODES = {"ground": Query.Goal.GROUND, "ask": Query.Goal.ASK}


@dataclass
class QueryProgress:
    """What the newest query that runs has told so far; see Query.action."""

    stage: str = ""
    text: str = ""
    detections: list[Detection3D] = field(default_factory=list)


class PageQuery:
    """A client of the action `query` for threads that wait while the node's executor spins elsewhere.

    Args:
        node: whose client it is.
        grounding: name of the grounding node.
        timeout_s: gives the longest wait for an answer.
    """

    def __init__(self, node: Node, grounding: str, timeout_s: Callable[[], float]) -> None:
        self._client = ActionClient(node, Query, f"{grounding}/query")
        self._name = node.resolve_service_name(f"{grounding}/query")
        self._timeout_s = timeout_s
        self.progress: QueryProgress | None = None

    def ask(self, text: str, mode: Literal["ground", "ask"]) -> Answer:
        """The answer; `progress` tells how far it is until then.

        Raises:
            UnavailableError: if there is no such action, or no answer in time; then the query is cancelled.
        """
        if not self._client.server_is_ready():
            raise UnavailableError(
                f"there is no action {self._name}: the grounding node is not running (yet), or has another name or "
                "namespace (parameter grounding)"
            )
        progress = self.progress = QueryProgress()
        end = time.monotonic() + self._timeout_s()
        goal = Query.Goal(text=text, mode=_MODES[mode])
        try:
            handle = self._wait(self._client.send_goal_async(goal, partial(_note, progress)), end)
            result = handle.get_result_async()
            try:
                return self._wait(result, end).result.answer
            except UnavailableError:
                handle.cancel_goal_async()
                raise
        finally:
            if self.progress is progress:
                self.progress = None

    def _wait(self, future: Future, end: float) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(max(end - time.monotonic(), 0.0)):
            raise UnavailableError(
                f"{self._name} did not answer within {self._timeout_s():.0f} s (parameter answer_timeout)"
            )
        return future.result()


def _note(progress: QueryProgress, message: Any) -> None:
    """Takes feedback in, in the executor's thread."""
    told = message.feedback
    progress.stage, progress.text = told.stage, told.text_so_far
    progress.detections = [*progress.detections, *told.new_detections]
