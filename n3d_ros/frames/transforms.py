"""Transforms between frames at an image's stamp, from tf2_ros where it is installed, imported on first use."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time

from n3d_core.errors import QueryCancelledError
from n3d_core.geometry.boxes import rotation_of
from n3d_ros.errors import TransformError

_POLL_S = 0.01


class Transforms:
    """Looks up transforms; subscribes to /tf from the first `listen` or `look_up` until `close`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._buffer: Any = None
        self._topics: Any = None
        self._is_closed = False

    def open(self) -> None:
        """Allows subscriptions again after `close`."""
        with self._lock:
            self._is_closed = False

    def listen(self) -> None:
        """Subscribes to /tf and /tf_static. Call it early: earlier transforms are not received.

        Raises:
            TransformError: if tf2_msgs is not installed, or after `close`.
        """
        with self._lock:
            if self._is_closed:  # a look-up that outlives its node's activity must not subscribe again
                raise TransformError("transforms are not received: the node was deactivated")
            if self._topics is None:
                self._topics = self._subscribe()

    def _subscribe(self) -> Any:
        try:
            from n3d_ros.frames.tf_topics import TransformTopics
        except ImportError as missing:
            raise TransformError(
                "a transform is needed (memory, target_frame, gravity_frame, or depth that is not registered), and "
                "tf2_msgs is not installed: apt install ros-$ROS_DISTRO-tf2-ros-py, or leave them empty and use "
                "aligned depth"
            ) from missing
        self._buffer = self._buffer or _tf2().Buffer(node=self._node)  # created once: each would leave a service behind
        return TransformTopics(self._node, self._buffer)

    def close(self) -> None:
        """Ends the subscriptions and drops all transforms except static ones, which do not age."""
        with self._lock:
            self._is_closed = True
            if self._topics is not None:
                self._topics.close()
                self._topics = None
                self._buffer.clear()

    def look_up(
        self,
        target: str,
        source: str,
        stamp_ns: int,
        timeout_s: float,
        cancelled: Callable[[], bool] | None = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rotation [3, 3] and translation [3] that take points of `source` to `target` at `stamp_ns`.

        Args:
            timeout_s: longest wait for the transform.
            cancelled: polled during the wait.

        Raises:
            TransformError: naming both frames, if the transform is not known at that time within `timeout_s`.
            QueryCancelledError: once `cancelled` returns True.
        """
        at, deadline = Time(nanoseconds=stamp_ns), time.monotonic() + timeout_s
        target, source = target.lstrip("/"), source.lstrip("/")  # tf2 refuses ROS 1's leading slash
        while True:
            if cancelled is not None and cancelled():
                raise QueryCancelledError(f"cancelled while waiting for a transform from {source!r} to {target!r}")
            self.listen()
            if self._is_known(target, source, at) or time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)
        try:
            found = self._buffer.lookup_transform(target, source, at).transform
        except _tf2().TransformException as problem:
            at_what = "at the image's stamp" if stamp_ns else "at any time"
            raise TransformError(
                f"no transform from {source!r} to {target!r} {at_what} within {timeout_s} s: {problem}"
            ) from problem
        r, t = found.rotation, found.translation
        length = math.hypot(r.x, r.y, r.z, r.w)  # tf2 takes 0.5 % more or less
        return rotation_of((r.x / length, r.y / length, r.z / length, r.w / length)), np.array([t.x, t.y, t.z])

    def _is_known(self, target: str, source: str, at: Time) -> bool:
        """Whether the buffer has a transform, once it has what the topics hold."""
        topics = self._topics
        if topics is not None:
            topics.drain()
        return bool(self._buffer.can_transform(target, source, at))


def _tf2() -> Any:
    """tf2_ros, or what stands in for it."""
    try:
        return import_module("tf2_ros")
    except ImportError:
        return import_module("n3d_ros.frames.tf_topics")
