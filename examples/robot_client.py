"""What the examples share: a node that spins in a thread, and the objects that a grounding node remembers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration
from n3d_ros.msg import RememberedObject, Result
from n3d_ros.srv import Recall
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.utilities import remove_ros_args


class RobotError(Exception):
    """The robot cannot do what it was asked; the message says why."""


def own_arguments(arguments: Sequence[str] | None) -> list[str]:
    """A command line without ROS's own arguments, such as `--ros-args -p use_sim_time:=true`."""
    return list(remove_ros_args(list(sys.argv) if arguments is None else ["", *arguments])[1:])


@contextmanager
def ros_node(name: str) -> Iterator[Node]:
    """A node of a program that handles Ctrl-C itself, to tidy up first."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node(name)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


class RobotClient:
    """A client that waits for answers while a thread spins its node."""

    def __init__(self, node: Node, timeout_s: float = 10.0) -> None:
        self.node, self.timeout_s = node, timeout_s
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._clients: dict[str, Client] = {}
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> RobotClient:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(1.0)
        self._thread.join(2.0)

    def wait(self, future: Future, what: str, timeout_s: float | None = None) -> Any:
        """The result of a future.

        Raises:
            RobotError: if it is not done in time.
        """
        done, longest = threading.Event(), timeout_s or self.timeout_s
        future.add_done_callback(lambda _: done.set())
        if not done.wait(longest):
            raise RobotError(f"{what} did not answer within {longest:.0f} s")
        return future.result()

    def recall(self, grounding: str, text: str, max_age_s: float = 0.0) -> list[RememberedObject]:
        """The remembered objects that a text names (empty: all), the most likely first; 0 seconds are any age.

        Raises:
            RobotError: if the node does not answer, or has no memory.
        """
        name = f"{grounding}/recall"
        client = self._clients.get(name) or self._clients.setdefault(name, self.node.create_client(Recall, name))
        end = time.monotonic() + self.timeout_s
        while not client.service_is_ready():
            if time.monotonic() > end:
                raise RobotError(f"service {client.srv_name} not found: is the grounding node running?")
            time.sleep(0.05)
        seconds, rest = divmod(max_age_s, 1)
        request = Recall.Request(text=text, max_age=Duration(sec=int(seconds), nanosec=int(rest * 1e9)))
        response = self.wait(client.call_async(request), client.srv_name)
        if response.result.status != Result.OK:
            raise RobotError(f"{client.srv_name}: {response.result.message}")
        return list(response.objects)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
