"""Drives a robot in front of an object that the grounding node remembers.

    python examples/nav2_go_to.py "red mug" --distance 0.6

The pose faces the object at a distance from its box, on a side that the costmap says is free and reachable; without a
costmap, on the side of the robot. Needs Nav2 and a grounding node with the parameter `memory`.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from n3d_ros.msg import RememberedObject
from nav_msgs.msg import OccupancyGrid as GridMessage
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot_client import RobotClient, RobotError, own_arguments, ros_node

from n3d_core.geometry.boxes import rotation_of
from n3d_core.memory.approach import ApproachPose, OccupancyGrid, approach_pose
from n3d_ros.frames.transforms import Transforms
from n3d_ros.node.running import REFUSALS
from n3d_ros.outputs.messages import detection_box

LETHAL = 99  # Nav2 publishes 99 where the robot's centre would touch an obstacle, 100 for the obstacle
_DRIVE_S = 600.0
_COSTMAP_S = 2.0


def choose(client: RobotClient, grounding: str, text: str) -> RememberedObject:
    """The object to drive to: the likeliest that is not gone.

    Raises:
        RobotError: if there is no such object.
    """
    if not text.strip():
        raise RobotError("say which object to drive to, such as 'red mug'")
    found = client.recall(grounding, text)
    here = [one for one in found if one.state != RememberedObject.GONE]
    if not here:
        reason = "it was seen to be gone" if found else "it was not seen yet"
        raise RobotError(f"no {text!r} to drive to: {reason}")
    return here[0]


def read_costmap(client: RobotClient, topic: str, frame_id: str) -> OccupancyGrid | None:
    """The latched costmap; None if none is published.

    Raises:
        RobotError: if it is in another frame than the objects.
    """
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard: list[GridMessage] = []
    arrived = threading.Event()

    def on_grid(message: GridMessage) -> None:
        heard.append(message)
        arrived.set()

    subscription = client.node.create_subscription(GridMessage, topic, on_grid, latched)
    arrived.wait(_COSTMAP_S)
    client.node.destroy_subscription(subscription)
    if not heard:
        return None
    grid, info = heard[-1], heard[-1].info
    if grid.header.frame_id != frame_id:
        raise RobotError(f"{topic} is in {grid.header.frame_id!r}, and objects are remembered in {frame_id!r}")
    cells = np.asarray(grid.data, np.int8).reshape(info.height, info.width)
    turn = info.origin.orientation
    axes = rotation_of((turn.x, turn.y, turn.z, turn.w))
    yaw = math.atan2(axes[1, 0], axes[0, 0])
    return OccupancyGrid(cells, info.resolution, (info.origin.position.x, info.origin.position.y, yaw))


def goal_pose(pose: ApproachPose, frame_id: str) -> PoseStamped:
    """The pose as a goal; a stamp of zero is the latest transform."""
    out = PoseStamped()
    out.header.frame_id = frame_id
    out.pose.position.x, out.pose.position.y = pose.x, pose.y
    out.pose.orientation.z, out.pose.orientation.w = math.sin(pose.yaw / 2), math.cos(pose.yaw / 2)
    return out


def go(client: RobotClient, action: Any, name: str, pose: PoseStamped) -> None:
    """Drives to a pose and waits until the robot is there; cancels the drive if interrupted.

    Raises:
        RobotError: if Nav2 is not running, refuses the goal, or does not arrive.
    """
    navigator = ActionClient(client.node, action, name)
    try:
        if not navigator.wait_for_server(client.timeout_s):
            raise RobotError(f"action {name} not found: is Nav2 running?")
        handle = client.wait(navigator.send_goal_async(action.Goal(pose=pose)), name)
        if not handle.accepted:
            raise RobotError(f"{name} refused the goal: is Nav2 active, and the robot localised?")
        try:
            outcome = client.wait(handle.get_result_async(), name, _DRIVE_S)
        except BaseException:
            handle.cancel_goal_async()
            raise
        if outcome.status != GoalStatus.STATUS_SUCCEEDED:
            reason = (
                getattr(outcome.result, "error_msg", "") or f"error code {getattr(outcome.result, 'error_code', 0)}"
            )
            raise RobotError(f"{name} did not arrive (status {outcome.status}): {reason}")
    finally:
        navigator.destroy()


def drive(client: RobotClient, action: Any, args: argparse.Namespace) -> ApproachPose:
    """Chooses the object and the pose, and drives there unless it is a dry run."""
    one = choose(client, args.grounding, args.text)
    box, frame_id = detection_box(one.detection), one.detection.header.frame_id
    newest = 0  # a simulation has another time than this program
    _, robot = Transforms(client.node).look_up(frame_id, args.robot_frame, newest, client.timeout_s)
    grid = read_costmap(client, args.costmap, frame_id)
    pose = approach_pose(box, args.distance, (float(robot[0]), float(robot[1])), grid, occupied=LETHAL)
    side = "" if grid is not None else f" ({args.costmap} is silent: taking the side of the robot)"
    print(f"{box.label}: standing at ({pose.x:.2f}, {pose.y:.2f}), facing {math.degrees(pose.yaw):.0f} degrees{side}")
    if not args.dry_run:
        go(client, action, args.action, goal_pose(pose, frame_id))
        print(f"{box.label}: arrived")
    return pose


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="the object, such as 'red mug'")
    parser.add_argument("--distance", type=float, default=0.6, help="metres from the box to the robot's centre (0.6)")
    parser.add_argument("--grounding", default="/grounding", help="the grounding node (/grounding)")
    parser.add_argument("--costmap", default="/global_costmap/costmap", help="topic (/global_costmap/costmap)")
    parser.add_argument("--robot-frame", default="base_link", help="frame of the robot (base_link)")
    parser.add_argument("--action", default="navigate_to_pose", help="of Nav2 (navigate_to_pose)")
    parser.add_argument("--dry-run", action="store_true", help="print the pose and stay")
    return parser.parse_args(own_arguments(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Drives once."""
    args = parse(arguments)
    try:
        from nav2_msgs.action import NavigateToPose
    except ImportError:
        NavigateToPose = None
        if not args.dry_run:
            print("nav2_msgs is not installed: apt install ros-$ROS_DISTRO-navigation2", file=sys.stderr)
            return 1
    try:
        with ros_node("nav2_go_to") as node, RobotClient(node) as client:  # Ctrl-C cancels the drive first
            drive(client, NavigateToPose, args)
    except (RobotError, *REFUSALS) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
