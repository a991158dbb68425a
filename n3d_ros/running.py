"""Runs nodes until Ctrl-C, and ends well: exit code 0 within two seconds, even while a query runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import rclpy
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from n3d_core.errors import N3DError


class Startable(Protocol):
    """A node that is started when it spins, and closed before the process ends."""

    def start(self) -> None:
        """Called once, before the executor spins."""
        ...

    def close(self) -> bool:
        """Called once, after it; False if something is still running that cannot be stopped."""
        ...


def run_nodes(factories: Sequence[Callable[[], Node]]) -> int:
    """Makes the nodes, spins them in one single-threaded executor and closes them; returns the exit code."""
    nodes: list[Node] = []
    stopped = True
    try:
        nodes += [make() for make in factories]
        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        for node in nodes:
            node.start()  # type: ignore[attr-defined]
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (N3DError, InvalidParameterTypeException, InvalidParameterValueException) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    finally:
        closed = [node.close() for node in nodes]  # type: ignore[attr-defined]
        stopped = all(closed)
        rclpy.try_shutdown()
    if not stopped:
        sys.stderr.flush()
        os._exit(0)  # a kernel that cannot be interrupted still runs; Python would wait for it
    return 0
