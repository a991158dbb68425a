"""Keeps MoveIt's planning scene filled with the objects that the grounding node remembers.

    python examples/moveit_scene.py --lifetime 300 --confidence 0.95

Each object is a box, padded by the uncertainty of its place. It is removed once it was seen to be gone, or was not seen
for its lifetime, and when this program ends. Needs MoveIt and a grounding node with the parameter `memory`; in a
simulation, add `--ros-args -p use_sim_time:=true`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Pose
from n3d_ros.msg import RememberedObject
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from robot_client import RobotClient, RobotError, own_arguments, ros_node

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.memory.approach import padded
from n3d_core.messages.assembly import nanoseconds_of
from n3d_ros.node.running import REFUSALS
from n3d_ros.outputs.messages import detection_box, pose_message

PREFIX = "n3d_"  # of ids; other objects in the planning scene are left alone
_SAME_M = 0.005  # smaller changes are not worth a new plan


@dataclass(frozen=True)
class _Known:
    """A box that MoveIt has, and when its object was last seen."""

    frame_id: str
    box: OrientedBox
    seen_ns: int


class PlanningScene:
    """The boxes that MoveIt knows from here.

    Args:
        collision_object, primitive: the message types `moveit_msgs/CollisionObject` and `shape_msgs/SolidPrimitive`.
        publish: sends a collision object.
        confidence: probability with which a box holds its whole object.
    """

    def __init__(
        self, collision_object: Any, primitive: Any, publish: Callable[[Any], None], confidence: float
    ) -> None:
        self._collision_object, self._primitive = collision_object, primitive
        self._publish, self._confidence = publish, confidence
        self._known: dict[str, _Known] = {}

    def update(self, objects: Sequence[RememberedObject]) -> None:
        """Adds and moves the remembered objects, and removes those that are gone or no longer remembered."""
        now = {
            PREFIX + one.detection.id: _Known(
                one.detection.header.frame_id,
                padded(detection_box(one.detection), self._confidence),
                nanoseconds_of(one.last_seen),
            )
            for one in objects
            if one.state != RememberedObject.GONE
        }
        self._remove([name for name in self._known if name not in now])
        for name, one in now.items():
            before = self._known.get(name)
            self._known[name] = one if before is None or _differ(one, before) else replace(before, seen_ns=one.seen_ns)
            if self._known[name] is one:
                self._publish(self._box(name))

    def expire(self, oldest_ns: int) -> None:
        """Removes what was last seen before a time."""
        self._remove([name for name, one in self._known.items() if one.seen_ns < oldest_ns])

    def repeat(self) -> None:
        """Sends everything again, for a MoveIt that has just started."""
        for name in self._known:
            self._publish(self._box(name))

    def clear(self) -> None:
        """Removes all of its objects."""
        self.update([])

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            self._publish(self._message(name, self._collision_object.REMOVE))
            del self._known[name]

    def _box(self, name: str) -> Any:
        box = self._known[name].box
        message = self._message(name, self._collision_object.ADD)
        message.pose = pose_message(box)
        shape = self._primitive()
        shape.type, shape.dimensions = self._primitive.BOX, [float(side) for side in box.size]
        place = Pose()  # of the shape in the object
        place.orientation.w = 1.0
        message.primitives, message.primitive_poses = [shape], [place]
        return message

    def _message(self, name: str, operation: Any) -> Any:
        message = self._collision_object()
        message.header.frame_id = self._known[name].frame_id
        message.id, message.operation = name, operation
        return message


def _differ(a: _Known, b: _Known) -> bool:
    return a.frame_id != b.frame_id or float(np.abs(a.box.corners() - b.box.corners()).max()) > _SAME_M


def keep(client: RobotClient, scene: PlanningScene, listeners: Callable[[], int], args: argparse.Namespace) -> None:
    """Updates the scene until interrupted; without a grounding node, boxes stay for the rest of their lifetime."""
    heard_by = 0
    while rclpy.ok(context=client.node.context):
        try:
            scene.update(client.recall(args.grounding, args.text, args.lifetime))
        except RobotError as error:
            client.node.get_logger().warning(str(error), throttle_duration_sec=10.0)
            if args.lifetime > 0:
                scene.expire(client.node.get_clock().now().nanoseconds - round(args.lifetime * 1e9))
        now_heard_by = listeners()
        if now_heard_by > heard_by:
            scene.repeat()
        heard_by = now_heard_by
        time.sleep(args.period)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default="", help="which objects, such as 'mug; bottle' (all)")
    parser.add_argument("--lifetime", type=float, default=300.0, help="seconds without being seen (300); 0: for ever")
    parser.add_argument("--confidence", type=float, default=0.95, help="that a box holds its object (0.95)")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between updates (1)")
    parser.add_argument("--grounding", default="/grounding", help="the grounding node (/grounding)")
    parser.add_argument("--topic", default="/collision_object", help="of MoveIt (/collision_object)")
    return parser.parse_args(own_arguments(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until Ctrl-C."""
    args = parse(arguments)
    try:
        from moveit_msgs.msg import CollisionObject
        from shape_msgs.msg import SolidPrimitive
    except ImportError as missing:
        package = (missing.name or "moveit_msgs").partition(".")[0]
        print(f"{package} is not installed: apt install ros-$ROS_DISTRO-moveit", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ros_node("moveit_scene") as node:
        try:
            publisher = node.create_publisher(CollisionObject, args.topic, QoSProfile(depth=1000))
            scene = PlanningScene(CollisionObject, SolidPrimitive, publisher.publish, args.confidence)
            try:
                with RobotClient(node) as client:
                    keep(client, scene, publisher.get_subscription_count, args)
            except KeyboardInterrupt:  # remove the objects while the node still exists
                scene.clear()
                publisher.wait_for_all_acked(Duration(seconds=2))
        except REFUSALS as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
