"""With the memory on, an idle node costs at most 2 % of a core more, although TF arrives at 100 Hz."""

import subprocess
import sys
import time

import pytest

from test.ros.ready_node import Source, end, make_ready

pytestmark = pytest.mark.ros

SECONDS = 6.0
PUBLISHER = """
import time, rclpy
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage
rclpy.init()
node = rclpy.create_node("localisation")
publisher = node.create_publisher(TFMessage, "/tf", 100)
while True:
    transform = TransformStamped(child_frame_id="optical")
    transform.header.frame_id, transform.header.stamp = "map", node.get_clock().now().to_msg()
    transform.transform.rotation.w = 1.0
    publisher.publish(TFMessage(transforms=[transform]))
    time.sleep(0.01)
"""


@pytest.fixture
def localisation():
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER])
    yield
    process.kill()
    process.wait()


def idle_share(client, weightless, frame, path):
    """CPU time of this process for each second that the node is idle."""
    node = make_ready(client, weightless, Source(frame), memory=path)
    if path:
        client.until(lambda: node.count_publishers("/tf"))
    client.executor.spin_once(0.0)
    begin, used = time.monotonic(), time.process_time()
    while time.monotonic() < begin + SECONDS:
        client.executor.spin_once(0.1)
    used = time.process_time() - used
    heard = None if not path else node._transforms.look_up("map", "optical", 0, 5.0)
    end(node)
    return used / SECONDS, heard


def test_an_idle_node_with_memory_costs_little_more_than_one_without(
    client, weightless, frame, tmp_path, localisation, record_property
):
    without, _ = idle_share(client, weightless, frame, "")
    with_memory, heard = idle_share(client, weightless, frame, str(tmp_path / "objects.db"))
    assert heard is not None  # TF did arrive
    record_property("with_memory", with_memory)
    record_property("without", without)
    print(f"idle: {without:.4f} without memory, {with_memory:.4f} with it")
    assert with_memory - without < 0.02
