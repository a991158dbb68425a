"""A grounding node in the test's process that is active at once: its images are given, its model has no weights."""

import threading
from types import SimpleNamespace

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from n3d_core.geometry.boxes import Box3D
from n3d_core.results import Grounding, StageStarted
from n3d_ros.errors import NoImageError
from n3d_ros.grounding_node import GroundingNode
from n3d_ros.playback.camera_node import frame_messages
from n3d_ros.queries.models import ModelPool

MUG = Grounding("mug", [Box3D("mug", (0.0, 0.0, 1.5), (0.2, 0.2, 0.2), 0.9)], {}, 1.0)


class Source:
    """One image, for as long as it is `there`."""

    def __init__(self, frame):
        self.messages = frame_messages(frame, "optical")
        self.there = threading.Event()
        self.there.set()

    @property
    def newest_header(self):
        return self.messages.color.header if self.there.is_set() else None

    def newest(self, _bound_ns, _registration):
        if not self.there.is_set():
            raise NoImageError("the camera stopped")
        return self.messages


class ReadyPool(ModelPool):
    """Has the model already."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def acquire(self, choice):
        return self.shared


def make_ready(client, shared, source, ground=lambda *_, **__: MUG, ask=None, namespace="", **parameters):
    """The active node; `ground` and `ask` are what the model does with a text. `end` ends it."""

    def look(frame, _limits, on_event):
        on_event(StageStarted("prepare"))
        return SimpleNamespace(frame=frame, times={}, ground=ground, ask=ask)

    shared.model.look = look
    values = {"max_image_age": 0.0, "image_timeout": 0.0, **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    options = {"context": client.node.context, "parameter_overrides": overrides, "namespace": namespace}
    node = GroundingNode(ReadyPool(shared), source, **options)
    client.executor.add_node(node)
    assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return node


def end(node):
    """Shuts the node down."""
    node.trigger_shutdown()
    node.close()
    node.destroy_node()
