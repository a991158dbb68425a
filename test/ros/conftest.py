"""What the ROS tests share: a domain of their own, messages of frames, and nodes as real processes."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment (make test sets it up)")
pytest.importorskip("n3d_ros.msg", reason="the interfaces are not built (make test builds them)")
os.environ.setdefault("OMP_NUM_THREADS", "1")
from test.ros.domains import claim_domain

os.environ["ROS_DOMAIN_ID"] = claim_domain()

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from n3d_core.errors import CheckpointError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import FrameFolder, write_frame
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.running import leave_graph
from n3d_ros.node.shipped import dds_profile, demo_frames
from n3d_ros.queries.models import SharedModel

os.environ.update(dds_profile())


class Client:
    """A node that calls, listens and waits."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self.executor = executor

    def until(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        """Spins until `condition` returns something true, which is returned; fails at the time-out."""
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < end, f"nothing came within {timeout_s} s"
            self.executor.spin_once(0.05)
        return found

    @contextmanager
    def spinning(self) -> Iterator[None]:
        """Spins in a thread meanwhile."""
        done = threading.Event()

        def spin() -> None:
            while not done.is_set():
                self.executor.spin_once(0.05)

        thread = threading.Thread(target=spin)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def call(self, kind: type, name: str, timeout_s: float = 120.0, **fields: Any) -> Any:
        """Calls a service and returns its response."""
        client = self.node.create_client(kind, name)
        try:
            assert client.wait_for_service(timeout_s), f"no service {name}"
            future = client.call_async(kind.Request(**fields))
            self.until(future.done, timeout_s)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def listen(self, kind: type, name: str, qos: Any = 10) -> list[Any]:
        """A list that fills with the messages of a topic."""
        heard: list[Any] = []
        self.node.create_subscription(kind, name, heard.append, qos)
        return heard


@pytest.fixture(scope="module", autouse=True)
def _no_node_is_left() -> Iterator[None]:
    """Fails a module that leaves a node of this process alive: the next module's nodes would see it in the graph."""
    alive: weakref.WeakSet[Node] = weakref.WeakSet()
    make, destroy = Node.__init__, Node.destroy_node

    def made(self: Node, *arguments: Any, **options: Any) -> None:
        alive.add(self)
        make(self, *arguments, **options)

    def destroyed(self: Node) -> None:
        alive.discard(self)
        destroy(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "__init__", made)
        patch.setattr(Node, "destroy_node", destroyed)
        yield
    gc.collect()  # only its own callbacks refer to a node that refused to be made
    left = [node for node in alive if hasattr(node, "_Node__handle")]
    names = sorted(node.get_fully_qualified_name() for node in left)
    for node in left:
        node.destroy_node()
    assert not names, f"these nodes were not destroyed: {', '.join(names)}"


@pytest.fixture
def client() -> Iterator[Client]:
    """A client node in a context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("client", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield Client(node, executor)
    executor.shutdown()
    leave_graph(node)
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def frame() -> Frame:
    """A 64x48 image of noise before a wall at 1.5 m, with an unmeasured corner."""
    depth = np.full((48, 64), 1.5, np.float32)
    depth[:4, :4] = np.nan
    color = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Frame(color, depth, Camera.from_fov(60, 64, 48), stamp_ns=1_500_000_001, frame_id="optical")


@pytest.fixture(scope="session")
def model() -> str:
    """The shipped model's name."""
    from n3d_core.models import find_model

    try:
        find_model("n3d-tiny")
    except CheckpointError as missing:
        pytest.skip(str(missing))
    return "n3d-tiny"


@pytest.fixture(scope="module")
def grounding(model: str) -> Iterator[NodeProcess]:
    """The grounding node as a process, one for all tests of a module; it may still be loading."""
    settings = {"model": model, "backend": "torch", "image_timeout": 2.0, "max_image_age": 5.0, "queue_size": 1000}
    with NodeProcess("n3d_ros.grounding_node", settings) as node:
        yield node
        assert node.interrupt(20.0) == 0  # how soon it ends is asserted in test_interrupt, in its own CPU time


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """The camera node as a process, playing two of the demo's frames at 30 Hz, made small."""
    folder = tmp_path_factory.mktemp("frames")
    for index in range(2):
        shown = FrameFolder(demo_frames()).frame(index)
        color = cv2.resize(shown.color, (160, 120), interpolation=cv2.INTER_AREA)
        write_frame(folder, index, Frame(color, shown.depth[::4, ::4].copy(), shown.camera.resized(160, 120)))
    with NodeProcess("n3d_ros.playback.camera_node", {"folder": str(folder)}) as node:
        yield node
        assert node.interrupt(20.0) == 0  # how soon it ends is asserted in test_interrupt, in its own CPU time


@pytest.fixture
def active(client: Client, grounding: NodeProcess) -> Client:
    """A client, once the grounding node is active."""

    def is_active() -> bool:
        assert grounding.exit_code is None, "the grounding node ended"
        with suppress(AssertionError):  # DDS loses an answer where the server has not discovered the client yet
            return client.call(GetState, "/grounding/get_state", 20.0).current_state.label == "active"
        return False

    client.until(is_active, 180.0)
    return client


@pytest.fixture
def weightless() -> SharedModel:
    """A model without weights, for nodes that are asked nothing."""
    backend = SimpleNamespace(name="none", reason="a test")
    return SharedModel(SimpleNamespace(name="none", purpose="", backend=backend, memory_bytes=0))
