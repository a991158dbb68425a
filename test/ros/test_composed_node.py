"""Camera and grounding node in one process: no image of the camera is subscribed, and queries are answered."""

import pytest
from lifecycle_msgs.srv import GetState
from n3d_ros.msg import Result
from n3d_ros.srv import Ground

from n3d_core.geometry.frame_folder import FrameFolder
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.shipped import demo_frames

pytestmark = pytest.mark.ros


def test_a_composed_camera_is_asked_without_a_subscription(client, model):
    text = FrameFolder(demo_frames()).truth(0).objects[0].box.label
    settings = {"model": model, "backend": "torch", "frame": 0, "refine": "depth"}
    with NodeProcess("n3d_ros.playback.composed_node", settings) as node:

        def is_active():
            assert node.exit_code is None, "the process ended"
            return client.call(GetState, "/grounding/get_state", 120.0).current_state.label == "active"

        client.until(is_active, 120)
        result = client.call(Ground, "/grounding/ground", text=text).result
        assert result.status == Result.OK, result.message
        assert result.header.frame_id == "camera_color_optical_frame"
        assert client.node.count_publishers("/color/image_raw") == 1
        assert client.node.count_subscribers("/color/image_raw") == 0
        for detection in result.detections.detections:
            turn = detection.bbox.center.orientation
            assert turn.x**2 + turn.y**2 + turn.z**2 + turn.w**2 == pytest.approx(1)
        assert node.interrupt() == 0
