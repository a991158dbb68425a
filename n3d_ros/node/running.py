"""Runs nodes until Ctrl-C and exits cleanly: code 0 within two seconds, even while a query runs."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException, NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from n3d_core.errors import N3DError
from n3d_ros.node.parameters import warn_of_unknown

REFUSALS = (N3DError, InvalidParameterTypeException, InvalidParameterValueException, NameValidationException)


def run_nodes(factories: Sequence[Callable[[], Node]]) -> int:
    """Creates the nodes, spins them in a single-threaded executor and closes them; returns the exit code.

    Each node has `start()`, called once before the executor spins, and `close()`, called once after it. If `close`
    waits for the node's own work, the node also has `stop()`, which asks that work to end without waiting: all nodes
    are stopped before the first is closed, so they shut down in parallel.
    """
    nodes: list[Node] = []
    try:
        for make in factories:
            nodes.append(make())
        warn_of_unknown(nodes)
        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        for node in nodes:
            node.start()  # type: ignore[attr-defined]
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except REFUSALS as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    except Exception:  # Ctrl-C may shut ROS down in the middle of any call
        if rclpy.ok():
            raise
    finally:
        for node in nodes:
            getattr(node, "stop", _nothing)()
        for node in nodes:
            node.close()  # type: ignore[attr-defined]
        for node in nodes:
            leave_graph(node)
            node.destroy_node()
        gc.collect()  # only its own callbacks refer to a node interrupted in its constructor
        rclpy.try_shutdown()
    return 0


def _nothing() -> None:
    """The default for a node without work to stop."""


def leave_graph(node: Node) -> None:
    """Destroys the node's action servers and clients, which `destroy_node` leaves alive.

    Otherwise other nodes would see this one in the graph for its DDS lease (20 s), and wait for its answers.
    """
    for waitable in list(getattr(node, "waitables", ())):
        if isinstance(waitable, ActionServer | ActionClient):
            waitable.destroy()


def start_ros(program: str, args: Sequence[str] | None, about: str = "", several: bool = True) -> list[str]:
    """Initialises ROS; returns the namespaces in the argument `--cameras`, without it that of the process ("").

    ROS would put all nodes of the process into a namespace that it is given (`__ns`, as launch's PushRosNamespace sets
    it), under one name. With `--cameras` it is put in front of relative namespaces instead.

    Exits with a message on any other argument except ROS's own, and where ROS cannot start.

    Args:
        about: what the program does; `--help` shows the first paragraph.
        several: whether the program knows `--cameras`.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=about.partition("\n\n")[0],
        epilog="Parameters and remappings follow --ros-args: -p NAME:=VALUE, -r TOPIC:=OTHER; docs/ros.md lists them.",
    )
    parser.set_defaults(cameras=[""])
    if several:
        parser.add_argument(
            "--cameras",
            type=_namespaces,
            metavar="front,rear",
            help="namespaces of several cameras, separated by commas: one node in each, all in this process",
        )
    given = list(sys.argv if args is None else args)
    with _startable():
        own = remove_ros_args(given)[1:]
    cameras: list[str] = parser.parse_args(own).cameras
    places = [at for at, word in enumerate(given) if word.startswith("__ns:=")]
    if places and cameras != [""]:
        outer = given[places[0]].partition(":=")[2].rstrip("/")  # ROS applies the first
        cameras = [name if name.startswith("/") else f"{outer}/{name}" for name in cameras]
        for at in reversed(places):
            del given[at - 1 : at + 1]  # with its -r
    with _startable():
        rclpy.init(args=given)
    return cameras


@contextmanager
def _startable() -> Iterator[None]:
    """Exits with a sentence where ROS refuses its arguments or cannot write its log."""
    try:
        yield
    except RuntimeError as error:  # rclpy's exceptions have no other base that is public
        cure = "; set ROS_LOG_DIR to a folder that can be written" if "log directory" in str(error) else ""
        print(f"cannot start: {error}{cure}", file=sys.stderr)
        raise SystemExit(1) from error


def _namespaces(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()] or [""]
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names a camera twice")
    return names


def leave(exit_code: int) -> NoReturn:
    """Ends the process now.

    Everything is closed by then; Python's teardown of torch would delay Ctrl-C by seconds, waiting for kernels that
    cannot be interrupted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
