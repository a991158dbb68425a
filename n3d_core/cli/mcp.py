"""`n3d mcp SOURCE`: a Model Context Protocol server, with which an agent looks, finds and asks."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from n3d_core.cli.query import add_model_arguments, check_timeout, load_model, tell
from n3d_core.errors import ConfigError, N3DError, optional

DESCRIPTION = """\
Serves an agent over the Model Context Protocol: tools that look, find objects, answer questions, and say where things
are, with results in metres. SOURCE is a frame folder, a tour, a bag or another recording; --node NAME asks a running
grounding node instead. Speaks on stdin and stdout, or over HTTP on this machine only. No tool moves a robot."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("source", nargs="?", type=Path, metavar="SOURCE", help="frame folder, tour, bag or recording")
    parser.add_argument("--node", default="", metavar="NAME", help="ask a running node, such as /grounding (needs ROS)")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve http://127.0.0.1:PORT/mcp instead of stdio")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="frame to begin with (with poses: the last, otherwise the first)"
    )
    parser.add_argument("--memory", type=Path, metavar="FILE", help="keep what is remembered, if there are poses")
    add_model_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    """Serves until the client closes the connection, or Ctrl-C."""
    if (args.source is None) == (not args.node):
        raise ConfigError("give either a SOURCE, such as demo/frames, or --node NAME, such as --node /grounding")
    check_timeout(args)
    if args.node and not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", args.node, re.ASCII):
        raise ConfigError(f"--node must be the name of a ROS node, such as /grounding; got {args.node!r}")
    if args.node:
        _serve_node(args)
    with optional("n3d mcp needs mcp", "'n3d-ros[mcp]'"):
        from n3d_core.mcp_server import make_server, serve
    from n3d_core.models import find_model
    from n3d_core.recorded_scene import RecordedScene

    find_model(args.model)
    scene = RecordedScene(args.source, lambda: load_model(args), args.frame, args.memory, args.timeout or 60.0)
    threading.Thread(target=_open, args=(scene,), daemon=True).start()
    serve(make_server(scene), args.http)
    return 0


def _open(scene: Any) -> None:
    with suppress(N3DError):  # the first call raises it again, and the agent reads it
        scene.open()


def _serve_node(args: argparse.Namespace) -> None:
    """Replaces this process by `mcp_node`: the core itself knows no ROS."""
    if importlib.util.find_spec("n3d_ros") is None or importlib.util.find_spec("rclpy") is None:
        raise ConfigError(
            "--node needs ROS 2 and n3d_ros: source the workspace first, or run `ros2 run n3d_ros mcp_node`"
        )
    tell(args, f"asking {args.node}")
    given = {"grounding": args.node, "port": args.http, "timeout": args.timeout}
    settings = [word for name, value in given.items() if value is not None for word in ("-p", f"{name}:={value}")]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "n3d_ros", "mcp_node", "--ros-args", *settings])
