"""Detections, markers and answers in a copy of a bag, written by `rosbags`. No ROS is needed.

Results are kept in a journal beside the output while the model runs, so that an interrupted run continues where it
stopped. The bag itself is written at the end, aside, and renamed when it is complete.
"""

from __future__ import annotations

import base64
import heapq
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from n3d_core.display.draw import class_color, edge_points, edge_width, label_of
from n3d_core.errors import BagError, ConfigError, reading
from n3d_core.geometry.boxes import Box3D, pose_covariance
from n3d_core.geometry.frame import Frame
from n3d_core.reasoning.audit import Verdict
from n3d_core.reasoning.question import Kind
from n3d_core.recordings.bag import Bag
from n3d_core.results import Answer, Grounding

DETECTIONS, MARKERS, ANSWER = (
    "vision_msgs/msg/Detection3DArray",
    "visualization_msgs/msg/MarkerArray",
    "n3d_ros/msg/Answer",
)
TOPICS = {"detections": DETECTIONS, "markers": MARKERS, "answers": ANSWER}
# The fields of msg/*.msg and of vision_msgs, which a machine without ROS does not have.
DEFINITIONS = {
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "vision_msgs/msg/Detection3D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\n"
    "string id",
    DETECTIONS: "std_msgs/Header header\nDetection3D[] detections",
    "n3d_ros/msg/StageTime": "string stage\nfloat32 seconds",
    "n3d_ros/msg/Value": "uint8 NONE=0\nuint8 TRUTH=1\nuint8 LENGTH=2\nuint8 COUNT=3\nuint8 OBJECTS=4\n"
    "uint8 DIRECTION=5\nuint8 POSITION=6\nuint8 kind\nbool truth\nfloat64 number\nuint32[] objects\n"
    "geometry_msgs/Point point",
    "n3d_ros/msg/Result": "uint8 UNSET=0\nuint8 OK=1\nuint8 NO_IMAGE=2\nuint8 STALE_IMAGE=3\nuint8 BUSY=4\n"
    "uint8 EMPTY_TEXT=5\nuint8 TEXT_TOO_LONG=6\nuint8 CANCELLED=7\nuint8 TIMEOUT=8\nuint8 BAD_DEPTH=9\n"
    "uint8 BAD_CAMERA=10\nuint8 UNPARSABLE=11\nuint8 MODEL_FAILURE=12\nuint8 NOT_ACTIVE=13\nuint8 NO_TRANSFORM=14\n"
    "uint8 REPLACED=15\nstd_msgs/Header header\nstring text\nuint8 status\nstring message\nstring[] warnings\n"
    "vision_msgs/Detection3DArray detections\nStageTime[] times",
    ANSWER: "uint8 UNSET=0\nuint8 VERIFIED=1\nuint8 CONTRADICTED=2\nuint8 UNVERIFIABLE=3\nuint8 NOT_SEEN=4\n"
    "Result result\nstring question\nstring answer\nstring said\nstring reasoning\nuint8 verdict\n"
    "string verdict_reason\nValue value",
}
_OK = 1  # of Result
_VERDICTS: tuple[Verdict, ...] = ("verified", "contradicted", "unverifiable", "not_seen")  # from 1 on
_KINDS: tuple[Kind, ...] = get_args(Kind)  # from 0 on
_LINE_LIST, _TEXT, _DELETE_ALL = 5, 9, 3

Fields = dict[str, Any]


class MessageWriter:
    """Makes serialised messages of results.

    Raises:
        MissingDependencyError: from `Bag`, which is opened first, if rosbags is not installed.
    """

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self.store = get_typestore(Stores.ROS2_JAZZY)
        for name, text in DEFINITIONS.items():
            self.store.register(get_types_from_msg(text, name))

    def detections(self, frame: Frame, boxes: Sequence[Box3D]) -> bytes:
        """`Detection3DArray` in the image's frame and at its stamp."""
        return self._serialise(DETECTIONS, _detections(frame, boxes))

    def markers(self, frame: Frame, boxes: Sequence[Box3D]) -> bytes:
        """`MarkerArray` that replaces the one before it: the edges of each box, and its label above it."""
        shown = [one for number, box in enumerate(boxes) for one in _markers(frame, box, number)]
        return self._serialise(MARKERS, {"markers": [{"header": _header(frame), "action": _DELETE_ALL}, *shown]})

    def answer(self, frame: Frame, answer: Answer) -> bytes:
        """`n3d_ros/Answer`."""
        value = answer.value
        fields = {
            "result": {
                "header": _header(frame),
                "text": answer.question,
                "status": _OK,
                "warnings": list(answer.warnings),
                "detections": _detections(frame, answer.boxes),
                "times": [{"stage": stage, "seconds": ms / 1000} for stage, ms in answer.times.items()],
            },
            "question": answer.question,
            "answer": answer.answer,
            "said": answer.said,
            "reasoning": answer.reasoning,
            "verdict": 1 + _VERDICTS.index(answer.verdict),
            "verdict_reason": answer.verdict_reason,
            "value": {
                "kind": _KINDS.index(value.kind),
                "truth": value.truth,
                "number": float(value.number),
                "objects": np.array(value.objects, np.uint32),
                "point": _vector(value.point),
            },
        }
        return self._serialise(ANSWER, fields)

    def _serialise(self, kind: str, fields: Fields) -> bytes:
        return bytes(self.store.serialize_cdr(self._message(kind, fields), kind))

    def _message(self, kind: str, given: Mapping[str, Any]) -> Any:
        """A message with these fields; the others have their default."""
        described = self.store.fielddefs[kind][1]
        return self.store.types[kind](**{name: self._field(what, given.get(name)) for name, what in described})

    def _field(self, what: Any, value: Any) -> Any:
        from rosbags.interfaces import Nodetype

        kind, inner = what
        if kind == Nodetype.NAME:
            return self._message(inner, value or {})
        if kind == Nodetype.BASE:
            return ("" if inner[0] == "string" else 0) if value is None else value
        element, length = inner
        if element[0] == Nodetype.BASE and element[1][0] != "string":
            count = length if kind == Nodetype.ARRAY else 0
            return np.zeros(count, element[1][0]) if value is None else np.asarray(value, element[1][0])
        return [self._field(element, one) for one in value or []]


@dataclass(frozen=True)
class Annotations:
    """Results of one image: topic (a key of `TOPICS`) and serialised message each; `skipped` says why there is none."""

    color_ns: int
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    skipped: str = ""


def annotate_frame(
    writer: MessageWriter, color_ns: int, frame: Frame, grounding: Grounding | None, answers: Sequence[Answer]
) -> Annotations:
    """The messages of an image's results; its markers show what was grounded, or else what the answers are about."""
    messages = [("answers", writer.answer(frame, one)) for one in answers]
    boxes = list(dict.fromkeys(box for one in answers for box in one.boxes))
    if grounding is not None:
        boxes = grounding.boxes
        messages.insert(0, ("detections", writer.detections(frame, boxes)))
    return Annotations(color_ns, [*messages, ("markers", writer.markers(frame, boxes))])


class Journal:
    """Results so far, one line of JSON per image; a line that was cut off by a crash is dropped.

    Args:
        settings: everything that the results depend on.

    Raises:
        ConfigError: if the file holds results of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[int, Annotations] = {}
        head, *lines = _whole_lines(path) or [""]
        with reading(path, "the results of an unfinished run", ConfigError, "; delete that folder to start again"):
            if head:
                self._check(json.loads(head), settings)
            self.done = {one.color_ns: one for one in map(_from_line, lines)}
        kept = "".join(f"{line}\n" for line in [head or json.dumps(settings, sort_keys=True), *lines])
        if not path.exists() or path.read_text() != kept:
            path.write_text(kept)

    def add(self, one: Annotations) -> None:
        """Keeps the results of an image; they survive a killed process."""
        packed = [[topic, base64.b64encode(cdr).decode()] for topic, cdr in one.messages]
        with self.path.open("a") as file:
            file.write(json.dumps([one.color_ns, packed, one.skipped]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.done[one.color_ns] = one

    def _check(self, before: Any, settings: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(settings))
        differing = [name for name in now if not isinstance(before, dict) or before.get(name) != now[name]]
        if differing:
            raise ConfigError(
                f"{self.path.parent} holds an unfinished run with another {', '.join(differing)}: repeat its command "
                "to finish it, or delete that folder to start again"
            )


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    text = path.read_text(errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()


def _from_line(line: str) -> Annotations:
    color_ns, packed, skipped = json.loads(line)
    return Annotations(color_ns, [(topic, base64.b64decode(cdr)) for topic, cdr in packed], skipped)


def copy_annotated(
    bag: Bag, output: Path, aside: Path, done: Mapping[int, Annotations], namespace: str, writer: MessageWriter
) -> int:
    """Copies a bag, with the results between its messages, and moves it to `output`. Returns the number of messages.

    Args:
        output: a folder, or a `.mcap` or `.db3` file.
        aside: folder on the same disk to write in.
        namespace: of the topics of the results.

    Raises:
        BagError: if the bag is damaged, or the copy cannot be written.
    """
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

    suffix = output.suffix if output.suffix in (".mcap", ".db3") else bag.storage
    name = output.stem if output.suffix == suffix else output.name
    part = aside / name
    shutil.rmtree(part, ignore_errors=True)
    is_mcap = suffix == ".mcap"
    try:
        target = Writer(part, version=9, storage_plugin=StoragePlugin.MCAP if is_mcap else StoragePlugin.SQLITE3)
        if is_mcap:
            target.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        target.open()
        connections = bag.copy_connections(target)
        for key in sorted({topic for one in done.values() for topic, _ in one.messages}):
            connections[key] = target.add_connection(
                f"{namespace}/{key}", TOPICS[key], typestore=writer.store, offered_qos_profiles=[_qos(key == "markers")]
            )
        count = 0
        for log_ns, key, data in heapq.merge(bag.stored(), _in_order(done), key=lambda one: one[0]):
            target.write(connections[key], log_ns, data)
            count += 1
        target.close()
        os.replace(part / f"{name}{suffix}" if output.suffix == suffix else part, output)
    except (OSError, WriterError, sqlite3.Error) as error:
        raise BagError(f"{output}: the bag cannot be written ({type(error).__name__}: {error})") from error
    return count


def _in_order(done: Mapping[int, Annotations]) -> Iterator[tuple[int, str, bytes]]:
    for color_ns in sorted(done):
        yield from ((color_ns, topic, cdr) for topic, cdr in done[color_ns].messages)


def _qos(latched: bool) -> Any:
    """Reliable, as the node's own publishers are; markers stay for those who come later."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(9223372036, 854775807)
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    liveliness = QosLiveliness.AUTOMATIC
    depth = 1 if latched else 10
    reliable = QosReliability.RELIABLE
    return Qos(QosHistory.KEEP_LAST, depth, reliable, durability, forever, forever, liveliness, forever, False)


def _detections(frame: Frame, boxes: Sequence[Box3D]) -> Fields:
    return {"header": _header(frame), "detections": [_detection(frame, box) for box in boxes]}


def _detection(frame: Frame, box: Box3D) -> Fields:
    """`results[0].pose.pose` equals `bbox.center`; unknown variances are large."""
    pose = {"position": _vector(box.center), "orientation": {"w": 1.0}}
    covariance = pose_covariance(box.covariance).reshape(-1)
    hypothesis = {"class_id": box.label, "score": float(box.score)}
    return {
        "header": _header(frame),
        "results": [{"hypothesis": hypothesis, "pose": {"pose": pose, "covariance": covariance}}],
        "bbox": {"center": pose, "size": _vector(box.size)},
    }


def _markers(frame: Frame, box: Box3D, number: int) -> Iterator[Fields]:
    """A line list of the edges, and a text above the box (the optical frame's y axis points down)."""
    red, green, blue = class_color(box.label)
    shared = {"header": _header(frame), "id": number, "color": {"r": red, "g": green, "b": blue, "a": 1.0}}
    points = [_vector(point) for point in edge_points(box)]
    pose = {"position": _vector(box.center), "orientation": {"w": 1.0}}
    yield {**shared, "ns": "edges", "type": _LINE_LIST, "pose": pose, "scale": {"x": edge_width(box)}, "points": points}
    label = label_of(box)
    pose = {"position": _vector(label.place), "orientation": {"w": 1.0}}
    scale = {"x": label.space, "z": label.height}
    yield {**shared, "ns": "labels", "type": _TEXT, "pose": pose, "scale": scale, "text": label.text}


def _header(frame: Frame) -> Fields:
    stamp = {"sec": frame.stamp_ns // 10**9, "nanosec": frame.stamp_ns % 10**9}
    return {"stamp": stamp, "frame_id": frame.frame_id}


def _vector(xyz: Sequence[float]) -> Fields:
    return dict(zip("xyz", map(float, xyz), strict=True))
