"""Camera and grounding node in one process: images go from one to the other by reference, not over DDS.

`python -m n3d_ros composed_node --ros-args -p folder:=FRAMES -p model:=n3d-tiny` (`ros2 run n3d_ros composed_node`).
The camera publishes its topics all the same, for RViz and bags. A driver written in Python composes alike: it passes an
`RgbdSource` to `GroundingNode`.
"""

from __future__ import annotations

import rclpy

from n3d_ros.grounding_node import GroundingNode
from n3d_ros.node.running import leave, run_nodes
from n3d_ros.playback.camera_node import CameraNode


def main(args: list[str] | None = None) -> int:
    """Runs both until Ctrl-C."""
    rclpy.init(args=args)
    cameras: list[CameraNode] = []

    def camera() -> CameraNode:
        cameras.append(CameraNode())
        return cameras[-1]

    return run_nodes([camera, lambda: GroundingNode(source=cameras[-1])])


if __name__ == "__main__":
    leave(main())
