"""A lifecycle node that answers while a transition runs.

rclpy runs transitions in the executor: while `configure` loads a model, no node of the process answers anything, not
even which state it is in. And up to Jazzy a transition that the state does not allow is raised out of the executor,
which ends the process. Here transitions run in a thread of their own, one at a time; what is not allowed is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.task import Future


class ResponsiveLifecycleNode(LifecycleNodeMixin, Node):
    """As `rclpy.lifecycle.LifecycleNode`, with transitions beside the executor. They may not rely on its thread.

    Args:
        name, options: of `rclpy.node.Node`.
    """

    def __init__(self, name: str, **options: Any) -> None:
        Node.__init__(self, name, **options)
        # A coroutine that waits holds its group: in the node's own one it would hold up timers and parameters.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._moving = threading.Lock()
        service = self._service_change_state  # rclpy offers no public way (7.1, 9.1)
        self._change_state, service.callback = service.callback, self._on_change_state

    @property
    def state(self) -> str:
        """Name of the lifecycle state, as "active"; of a running transition "configuring" and its like."""
        return str(self._state_machine.current_state[1])

    def move(self, transition: Callable[[], Any]) -> Future:
        """Runs a transition, or several, in a thread; the future has what it returned or raised.

        Raises:
            RuntimeError: if another one is under way.
        """
        if not self._moving.acquire(blocking=False):
            raise RuntimeError("another transition is under way")
        future: Future = Future()
        threading.Thread(target=self._run, args=(transition, future), name="transition", daemon=True).start()
        return future

    def _run(self, transition: Callable[[], Any], future: Future) -> None:
        try:
            settle = partial(future.set_result, transition())
        except Exception as error:  # the boundary of the thread: handed to whoever waits
            settle = partial(future.set_exception, error)
        self._moving.release()
        if self.context.ok():  # else nobody waits any more, and the error is that of the end
            settle()
            if self.executor is not None:
                self.executor.wake()  # a future does not wake the executor whose coroutine waits for it

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        before, wanted = self.state, request.transition.label or request.transition.id
        try:
            return await self.move(partial(self._change_state, request, response))
        except RuntimeError as error:  # rcl's error is one
            self.get_logger().warning(f"transition {wanted} is refused in the state {before!r}: {error}")
            response.success = False
            return response
