"""`python -m n3d_ros NODE [ARGUMENTS]`: starts a node, and lets Ctrl-C end it well from the first moment on.

ROS handles Ctrl-C from `rclpy.init` on. Before it, while Python imports what a node needs, it would end in a traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Runs the node that the first argument names, and ends the process; returns only where there is no such node."""
    name = arguments[0] if arguments else ""
    root = Path(__file__).parent
    nodes = {file.stem: file.relative_to(root.parent).with_suffix("") for file in sorted(root.rglob("*_node.py"))}
    if name not in nodes:
        print(f"{name!r} is no node: python -m n3d_ros {'|'.join(nodes)} [ARGUMENTS]", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing is open yet that would have to be closed
    node = importlib.import_module(".".join(nodes[name].parts))
    running = importlib.import_module("n3d_ros.node.running")
    for number in (signal.SIGINT, signal.SIGTERM):  # both stop what the main thread does, be it an import of torch
        signal.signal(number, signal.default_int_handler)
    try:
        code = node.main([f"n3d_ros {name}", *arguments[1:]])
    except KeyboardInterrupt:
        code = 0
    return int(running.leave(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
