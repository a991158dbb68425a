"""Ctrl-C at every moment of a node's life, on real processes: exit code 0, soon, and no traceback."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench.client import cpu_seconds
from n3d_ros.demo.node_process import NodeProcess

pytestmark = pytest.mark.ros

SOON_S = 2.0  # of the node's own time: on a busy machine others' time passes too


class Started:
    """`python -m n3d_ros NODE` with its output in a file."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("w") as output:
            command = [sys.executable, "-m", "n3d_ros", *arguments]
            self.process = subprocess.Popen(command, stdout=output, stderr=output)

    def until(self, condition, timeout_s=240.0):
        end = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.005)

    def ends(self, number: int) -> int:
        """Sends a signal; the exit code. Fails where the node is still at work after `SOON_S`."""
        self.process.send_signal(number)
        used = cpu_seconds(self.process.pid)
        end = time.monotonic() + 60
        while self.process.poll() is None:
            assert cpu_seconds(self.process.pid) - used < SOON_S, "it works on"
            assert time.monotonic() < end, "it waits"
            time.sleep(0.02)
        return self.process.returncode

    def maps(self, library: str) -> bool:
        """Whether a shared library is loaded: how far the imports have come."""
        return library in Path(f"/proc/{self.process.pid}/maps").read_text()

    def tells(self, words: str) -> bool:
        return words in self.log.read_text()


MOMENTS = {
    "numpy_is_imported": lambda node: node.maps("_multiarray_umath"),
    "rclpy_is_imported": lambda node: node.maps("_rclpy_pybind11"),
    "the_node_is_made": lambda node: node.maps("librmw_fastrtps_cpp"),
    "the_model_is_loaded": lambda node: node.tells("loading n3d-tiny"),
    "torch_is_imported": lambda node: node.maps("libtorch_cpu"),
}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="progress is read from /proc, which is not here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_node_ends_well_while(model, tmp_path, moment, number):
    if number == signal.SIGTERM and moment not in ("numpy_is_imported", "torch_is_imported"):
        pytest.skip("SIGTERM is tried at the first and at the last moment")
    node = Started(tmp_path / "log", "grounding_node", "--ros-args", "-p", f"model:={model}", "-p", "backend:=torch")
    try:
        node.until(lambda: MOMENTS[moment](node))
        assert node.ends(number) == 0, node.log.read_text()[-2000:]
    finally:
        node.process.kill()
    assert "Traceback" not in node.log.read_text()


GOODBYES = 3
"""DDS says goodbye in one datagram that nobody acknowledges: on a busy machine it can get lost, but not each time."""


def gone_at_once(client, is_gone):
    """Whether nodes have left the graph well before their DDS lease of 20 s ends; waits until they have."""
    with suppress(AssertionError):
        client.until(is_gone, 5.0)
    at_once = is_gone()
    client.until(is_gone, 40.0)
    return at_once


IN_THE_GRAPH = {
    "playback.camera_node": ({"n3d_camera"}, {}),
    "playback.bag_node": ({"n3d_bag"}, {}),
    "grounding_node": ({"grounding"}, {"autostart": False}),
    "page.page_node": ({"n3d_page"}, {"port": 0}),
    "playback.composed_node": ({"n3d_camera", "grounding"}, {"autostart": False}),
}


@pytest.mark.parametrize("name", IN_THE_GRAPH)
def test_a_node_that_has_ended_is_gone_from_the_graph(client, name):
    names, settings = IN_THE_GRAPH[name]

    def present():
        return names & set(client.node.get_node_names())

    def endpoints():
        topics = [topic for topic, _ in client.node.get_topic_names_and_types()]
        found = [e for t in topics for e in client.node.get_publishers_info_by_topic(t)]
        found += [e for t in topics for e in client.node.get_subscriptions_info_by_topic(t)]
        return [end for end in found if end.node_name != "client"]

    def services():
        known = [service for service, _ in client.node.get_service_names_and_types()]
        return [service for service in known if not service.startswith("/client/")]

    def is_gone():
        return not present() and not endpoints()

    def left_at_once():
        with NodeProcess(f"n3d_ros.{name}", settings) as node:
            client.until(lambda: present() == names, 120.0)
            client.until(endpoints)
            assert node.interrupt(20.0) == 0
        return gone_at_once(client, is_gone)

    assert any(left_at_once() for _ in range(GOODBYES))
    assert not services()


HALF_MADE = """
import sys
from n3d_ros.playback.camera_node import CameraNode
from n3d_ros.node.running import leave, run_nodes
import rclpy

class Interrupted(CameraNode):
    def __init__(self):
        super().__init__(namespace="rear")
        print("made", flush=True)
        sys.stdin.readline()
        raise KeyboardInterrupt

rclpy.init()
leave(run_nodes([lambda: CameraNode(namespace="front"), Interrupted]))
"""


def test_a_node_that_is_stopped_while_it_is_made_is_gone_from_the_graph_too(client):
    def cameras():
        return {space for name, space in client.node.get_node_names_and_namespaces() if name == "n3d_camera"}

    def left_at_once():
        command = [sys.executable, "-c", HALF_MADE]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "made\n"
            client.until(lambda: cameras() == {"/front", "/rear"})
            process.communicate("\n", timeout=20)
        assert process.returncode == 0
        return gone_at_once(client, lambda: not cameras())

    assert any(left_at_once() for _ in range(GOODBYES))


def test_an_unknown_node_is_refused_with_the_names_of_all():
    ran = subprocess.run([sys.executable, "-m", "n3d_ros", "nothing"], capture_output=True, text=True)
    assert ran.returncode == 2
    assert "unknown node 'nothing'" in ran.stderr
    assert "grounding_node" in ran.stderr


NAMED = """
import sys
import rclpy
from n3d_ros.node.running import start_ros
from rclpy.node import Node

print([Node("grounding", namespace=camera).get_fully_qualified_name() for camera in start_ros("nodes", sys.argv)])
rclpy.shutdown()
"""


@pytest.mark.parametrize(
    ("cameras", "names"),
    [
        (["--cameras", "front,/rear"], ["/robot/front/grounding", "/rear/grounding"]),
        ([], ["/robot/grounding"]),
    ],
)
def test_a_namespace_of_the_process_stands_before_those_of_its_cameras(cameras, names):
    """As launch's PushRosNamespace gives it."""
    options = ["--ros-args", "-p", "x:=1", "-r", "__ns:=/robot", "--log-level", "warn"]
    ran = subprocess.run([sys.executable, "-c", NAMED, *cameras, *options], capture_output=True, text=True)
    assert ran.stdout == f"{names}\n", ran.stderr


def test_a_mistyped_argument_is_refused_before_ros_starts():
    command = [sys.executable, "-m", "n3d_ros", "grounding_node", "--camera", "front,front"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "'front,front' names a camera twice" in ran.stderr


@pytest.mark.parametrize(
    ("node", "arguments", "code", "words"),
    [
        ("bag_node", ["room.mcap"], 2, "unrecognized arguments: room.mcap"),
        ("camera_node", ["--cameras", "front"], 2, "unrecognized arguments: --cameras front"),
        ("camera_node", ["--ros-args", "-r", "__ns:=1front"], 1, "cannot start: .*'-r __ns:=1front'"),
        ("grounding_node", ["--ros-args", "--params-file", "/no/file.yaml"], 1, "cannot start: .*/no/file.yaml"),
    ],
)
def test_arguments_that_a_node_or_ros_cannot_read_are_refused_in_one_sentence(node, arguments, code, words):
    command = [sys.executable, "-m", "n3d_ros", node, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == code
    assert re.search(words, ran.stderr)
    assert "Traceback" not in ran.stderr


def test_a_log_that_cannot_be_written_is_told_with_the_setting_that_moves_it():
    command = [sys.executable, "-m", "n3d_ros", "camera_node"]
    environment = {**os.environ, "ROS_LOG_DIR": "/proc/no/log"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ran.returncode == 1
    assert re.match("cannot start: .*/proc/no/log.*; set ROS_LOG_DIR to a folder that can be written\n", ran.stderr)
