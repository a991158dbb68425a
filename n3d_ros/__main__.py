"""`python -m n3d_ros NODE [ARGUMENTS]`: runs a node so that Ctrl-C ends it cleanly from the start.

ROS handles Ctrl-C from `rclpy.init` on. Before that, while Python is still importing, Ctrl-C would print a traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from n3d_ros.node.shipped import how_to_install

NODES = {
    "bag_node": ("n3d_ros.playback.bag_node", "main"),
    "camera_node": ("n3d_ros.playback.camera_node", "main"),
    "composed_node": ("n3d_ros.playback.camera_node", "run_composed"),
    "grounding_node": ("n3d_ros.grounding_node", "main"),
    "mcp_node": ("n3d_ros.mcp_node", "main"),
    "page_node": ("n3d_ros.page.page_node", "main"),
}


def main(arguments: Sequence[str]) -> int:
    """Runs the node named by the first argument and ends the process; returns only if it cannot start."""
    name = arguments[0] if arguments else ""
    usage = f"usage: python -m n3d_ros {'|'.join(NODES)} [ARGUMENTS]"
    if name in ("-h", "--help"):
        print(f"{usage}\n\nRuns a node; NODE --help tells what it does.")
        return 0
    if name not in NODES:
        print(f"unknown node {name!r}; {usage}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing to close yet
    module, function = NODES[name]
    try:
        node = importlib.import_module(module)
        running = importlib.import_module("n3d_ros.node.running")
    except ModuleNotFoundError as missing:
        print(f"cannot start: {how_to_install(missing)}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):  # both interrupt the main thread, even an import of torch
        signal.signal(number, signal.default_int_handler)
    try:
        code = getattr(node, function)([f"n3d_ros {name}", *arguments[1:]])
    except KeyboardInterrupt:
        code = 0
    return int(running.leave(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
