"""Two cameras over one loaded model, as processes: `--cameras front,rear`."""

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from n3d_ros.msg import Result
from n3d_ros.srv import Ground

from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import write_frame
from n3d_ros.demo.node_process import NodeProcess

pytestmark = pytest.mark.ros

CAMERAS = ("front", "rear")


@pytest.fixture(scope="module", autouse=True)
def cameras(tmp_path_factory):
    """A camera in each namespace, told apart by the frame of its images."""
    folder = tmp_path_factory.mktemp("frames")
    color = np.random.default_rng(5).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    write_frame(folder, 0, Frame(color, np.full((120, 160), 1.5, np.float32), Camera.from_fov(60, 160, 120)))
    settings = {"folder": str(folder), "rate": 5.0}
    front, rear = (
        NodeProcess(
            "n3d_ros.playback.camera_node", {**settings, "frame_id": f"{name}_optical"}, remappings={"__ns": f"/{name}"}
        )
        for name in CAMERAS
    )
    with front, rear:
        yield


@pytest.fixture(scope="module")
def grounding(model):
    """One process with a grounding node in each namespace."""
    settings = {"model": model, "backend": "torch", "image_timeout": 2.0, "max_image_age": 5.0}
    with NodeProcess("n3d_ros.grounding_node", settings, arguments=["--cameras", ",".join(CAMERAS)]) as node:
        yield node
        assert node.interrupt() == 0


def ground(client, camera):
    return client.call(Ground, f"/{camera}/grounding/ground", text="all objects").result


def state(client, camera):
    return client.call(GetState, f"/{camera}/grounding/get_state").current_state.label


def answered(client, camera):
    """The result, once the camera is heard."""
    return client.until(lambda: (result := ground(client, camera)).status == Result.OK and result, 180)


def test_each_answers_about_its_own_images(client, grounding):
    assert [answered(client, camera).header.frame_id for camera in CAMERAS] == ["front_optical", "rear_optical"]


def test_what_one_camera_is_told_the_other_does_not_hear(client, grounding):
    answered(client, "front")

    def change(transition):
        request = Transition(id=transition)
        return client.call(ChangeState, "/front/grounding/change_state", transition=request).success

    assert change(Transition.TRANSITION_DEACTIVATE) is True
    assert change(Transition.TRANSITION_DEACTIVATE) is False
    assert change(Transition.TRANSITION_CLEANUP) is True
    assert (ground(client, "front").status, state(client, "front")) == (Result.NOT_ACTIVE, "unconfigured")
    assert answered(client, "rear").header.frame_id == "rear_optical"
    assert change(Transition.TRANSITION_CONFIGURE) is True
    assert change(Transition.TRANSITION_ACTIVATE) is True
    assert answered(client, "front").header.frame_id == "front_optical"
