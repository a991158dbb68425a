"""`python -m tools.ros_reference`: writes the tables of docs/ros.md from the code; `--check` only compares.

The interfaces are read from a running grounding node (unconfigured: no model is needed), the parameters from their
declarations, the codes from the messages' comments. Text outside the marks is written by hand and stays.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rclpy.qos import ReliabilityPolicy

from n3d_core.errors import ConfigError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.newest_topic import SENSOR_INPUT
from n3d_ros.node.parameters import CheckedParameters
from n3d_ros.node.shipped import shipped
from n3d_ros.page.page_node import PageParameters
from n3d_ros.playback.bag_node import BagParameters
from n3d_ros.playback.camera_node import CameraParameters

DOCUMENT = "docs/ros.md"
_OF_EVERY_NODE = re.compile(r"/(rosout|parameter_events)$|_action/")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the document; exit code 1 where `--check` finds it out of date."""
    parser = argparse.ArgumentParser(prog="python -m tools.ros_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if out of date")
    options = parser.parse_args(arguments)
    path = shipped(DOCUMENT)
    before = path.read_text()
    after = filled(before, tables())
    if after == before:
        return 0
    if options.check:
        print(f"{path} is out of date: run python -m tools.ros_reference", file=sys.stderr)
        return 1
    path.write_text(after)
    return 0


def filled(document: str, tables: dict[str, str]) -> str:
    """The document with each table between its marks `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        ConfigError: if the document has no marks for a table.
    """
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(document):
            raise ConfigError(f"{DOCUMENT} has no marks for the table {name!r}")
        document = pattern.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", document)
    return document


def tables() -> dict[str, str]:
    """All tables by name."""
    return {
        "topics": _topics(),
        "services": _services(),
        "parameters": parameter_table(GroundingParameters),
        "camera parameters": parameter_table(CameraParameters),
        "bag parameters": parameter_table(BagParameters),
        "page parameters": parameter_table(PageParameters),
        "statuses": _statuses(),
    }


def parameter_table(kind: type[CheckedParameters]) -> str:
    """Name, type, default, range or choices, when a change takes effect, and the text of each parameter."""
    rows = []
    for each in fields(kind):
        rule = each.metadata
        allowed = ", ".join(f"`{choice}`" for choice in rule["choices"])
        if rule["low"] is not None:
            told = "{:g}".format if isinstance(each.default, float) else str
            allowed = f"{told(rule['low'])} to {told(rule['high'])}"
        default = f'`"{each.default}"`' if isinstance(each.default, str) else f"`{str(each.default).lower()}`"
        rows.append((f"`{each.name}`", type(each.default).__name__, default, allowed, rule["when"], rule["text"]))
    return _table(("parameter", "type", "default", "allowed", "takes effect", "meaning"), rows)


def _topics() -> str:
    import rclpy

    from n3d_ros.grounding_node import GroundingNode
    from n3d_ros.inputs.rgbd_topics import RgbdTopics

    context = rclpy.Context()
    rclpy.init(context=context)
    node = GroundingNode(context=context)
    try:
        inputs = RgbdTopics(node)
        rows = [(f"`{t.name.lstrip('/')}`", "in", _kind(t.message_type), _qos(SENSOR_INPUT)) for t in inputs.all]
        for direction, entities in (("in", node.subscriptions), ("out", node.publishers)):
            for entity in entities:
                if entity.topic_name.startswith(("/color", "/depth")) or _OF_EVERY_NODE.search(entity.topic_name):
                    continue
                name = entity.topic_name.replace("/grounding/", "~/")
                rows.append((f"`{name}`", direction, _kind(entity.msg_type), _qos(entity.qos_profile)))
        return _table(("topic", "direction", "type", "QoS"), rows)
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _services() -> str:
    rows = [
        ("`~/ground`", "service", "`n3d_ros/srv/Ground`"),
        ("`~/ask`", "service", "`n3d_ros/srv/Ask`"),
        ("`~/query`", "action", "`n3d_ros/action/Query`"),
        ("`~/recall`", "service", "`n3d_ros/srv/Recall`"),
        ("`~/forget`", "service", "`n3d_ros/srv/Forget`"),
        ("`~/clear_memory`", "service", "`std_srvs/srv/Trigger`"),
    ]
    texts = (
        _first_comment("srv/Ground.srv"),
        _first_comment("srv/Ask.srv"),
        _first_comment("action/Query.action"),
        _first_comment("srv/Recall.srv"),
        _first_comment("srv/Forget.srv"),
        "Removes all objects from the node's memory.",
    )
    return _table(("name", "kind", "type", "meaning"), [(*row, text) for row, text in zip(rows, texts, strict=True)])


def _statuses() -> str:
    pattern = re.compile(r"^uint8 ([A-Z_]+)=(\d+)\s*# (.*)$", re.MULTILINE)
    found = pattern.findall(shipped("msg/Result.msg").read_text())
    return _table(("code", "name", "meaning"), [(code, f"`{name}`", text) for name, code, text in found])


def _first_comment(interface: str) -> str:
    return shipped(interface).read_text().split("\n", 1)[0].lstrip("# ")


def _kind(message_type: Any) -> str:
    package = message_type.__module__.partition(".msg")[0]
    return f"`{package}/msg/{message_type.__name__}`"


def _qos(profile: Any) -> str:
    if profile.reliability == ReliabilityPolicy.BEST_AVAILABLE:
        return f"as it is offered, keep last {profile.depth}"
    durability = "" if profile.durability.name.lower() in ("volatile", "system_default") else ", transient local"
    return f"{profile.reliability.name.lower().replace('_', ' ')}, keep last {profile.depth}{durability}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    sys.exit(main())
