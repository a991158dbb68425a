"""A lifecycle node whose executor stays free during transitions, and which logs why a transition failed.

rclpy runs a transition inside the service's callback and so blocks the executor: while a model loads for minutes, the
node would not even report its own state. Here transitions run in a thread, one at a time; a second one, or one that the
state does not allow, is refused.
"""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.task import Future

from n3d_ros.node.running import leave_graph

Transition = TypeVar("Transition", bound=Callable[..., Any])


def reported(transition: Transition) -> Transition:
    """Logs what a transition's callback raises: rclpy turns it into an error transition silently."""

    @functools.wraps(transition)
    def called(self: Any, *arguments: Any) -> Any:
        try:
            return transition(self, *arguments)
        except Exception:
            if self.context.ok():
                self.get_logger().error(f"{transition.__name__} failed:\n{traceback.format_exc()}")
            raise

    return cast(Transition, called)


class ResponsiveLifecycleNode(LifecycleNodeMixin, Node):
    """Like `rclpy.lifecycle.LifecycleNode`, but transitions run in a separate thread, not the executor's.

    Args:
        name, options: passed to `rclpy.node.Node`.
    """

    def __init__(self, name: str, **options: Any) -> None:
        Node.__init__(self, name, **options)
        # A waiting coroutine holds its callback group: the node's own one would block timers and parameters.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._moving = threading.Lock()
        service = self._service_change_state  # rclpy has no public API for this (7.1, 9.1)
        self._change_state, service.callback = service.callback, self._on_change_state

    @property
    def state(self) -> str:
        """Name of the lifecycle state, such as "active"; during a transition "configuring" and the like."""
        return str(self._state_machine.current_state[1])

    def move(self, transition: Callable[[], Any]) -> Future:
        """Runs one or several transitions in a thread; the future holds what it returned or raised.

        Raises:
            RuntimeError: if another one is in progress.
        """
        if not self._moving.acquire(blocking=False):
            raise RuntimeError("another transition is in progress")
        future: Future = Future()
        threading.Thread(target=self._run, args=(transition, future), name="transition", daemon=True).start()
        return future

    def destroy_node(self) -> None:
        """Leaves the graph at once: the state machine has a publisher that rclpy's own method leaves alive."""
        leave_graph(self)
        self._state_machine.destroy_when_not_in_use()
        super().destroy_node()

    def _run(self, transition: Callable[[], Any], future: Future) -> None:
        try:
            settle = partial(future.set_result, transition())
        except Exception as error:  # thread boundary: pass the error to the waiter
            settle = partial(future.set_exception, error)
        self._moving.release()
        if self.context.ok():  # otherwise nobody is waiting, and the shutdown caused the error
            settle()
            if self.executor is not None:
                self.executor.wake()  # a future does not wake the executor whose coroutine waits for it

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        before, wanted = self.state, request.transition.label or request.transition.id
        try:
            return await self.move(partial(self._change_state, request, response))
        except RuntimeError as error:  # rcl's error derives from it
            self.get_logger().warning(f"refusing transition {wanted} in state {before!r}: {error}")
            response.success = False
            return response
