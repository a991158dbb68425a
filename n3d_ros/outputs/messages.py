"""Boxes and answers -> messages. Geometry is copied, never changed, here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from n3d_ros.msg import Answer, Result, StageTime, Value
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from n3d_core.geometry.boxes import OrientedBox, pose_covariance
from n3d_core.reasoning.question import NOTHING
from n3d_core.reasoning.question import Value as CoreValue
from n3d_core.results import Answer as CoreAnswer
from n3d_ros.errors import status_of
from n3d_ros.frames.images import stamp_of

VERDICTS = {
    "verified": Answer.VERIFIED,
    "contradicted": Answer.CONTRADICTED,
    "unverifiable": Answer.UNVERIFIABLE,
    "not_seen": Answer.NOT_SEEN,
}
VALUE_KINDS = {
    name.lower(): getattr(Value, name)
    for name in ("NONE", "TRUTH", "LENGTH", "COUNT", "OBJECTS", "DIRECTION", "POSITION")
}


def header_message(stamp_ns: int, frame_id: str) -> Header:
    """A header from nanoseconds."""
    return Header(stamp=stamp_of(stamp_ns), frame_id=frame_id)


def detection_message(box: OrientedBox, header: Header, identity: str = "") -> Detection3D:
    """One box as a detection; `results[0].pose.pose` equals `bbox.center`, as RViz's plugin and Nav2 read either."""
    out = Detection3D(header=header, id=identity)
    out.bbox.center = pose_message(box)
    out.bbox.size = Vector3(x=float(box.size[0]), y=float(box.size[1]), z=float(box.size[2]))
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = box.label
    hypothesis.hypothesis.score = float(box.score)
    hypothesis.pose.pose = pose_message(box)
    hypothesis.pose.covariance = pose_covariance(box.covariance).reshape(-1)
    out.results = [hypothesis]
    return out


def detection_box(detection: Detection3D) -> OrientedBox:
    """The box of a detection, with its likeliest label; the inverse of `detection_message`."""
    pose, size = detection.bbox.center, detection.bbox.size
    best = max(detection.results, key=lambda each: each.hypothesis.score, default=None)
    covariance = None
    if best is not None:
        covariance = tuple(np.reshape(best.pose.covariance, (6, 6))[:3, :3].reshape(-1).tolist())
    return OrientedBox(
        best.hypothesis.class_id if best else "",
        (pose.position.x, pose.position.y, pose.position.z),
        (size.x, size.y, size.z),
        best.hypothesis.score if best else 0.0,
        covariance,
        (pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w),
    )


def detections_message(
    boxes: Sequence[OrientedBox], header: Header, identities: Sequence[str] = ()
) -> Detection3DArray:
    """Boxes as an array with one header; ids are empty if none are given."""
    names = identities or [""] * len(boxes)
    return Detection3DArray(
        header=header, detections=[detection_message(box, header, name) for box, name in zip(boxes, names, strict=True)]
    )


def result_message(
    text: str, header: Header, detections: Detection3DArray, times_ms: Mapping[str, float], warnings: Sequence[str]
) -> Result:
    """A result with status OK; `times_ms` are milliseconds of each stage."""
    stages = [StageTime(stage=stage, seconds=spent / 1000) for stage, spent in times_ms.items()]
    return Result(
        header=header, text=text, status=Result.OK, warnings=list(warnings), detections=detections, times=stages
    )


def failure_message(text: str, error: Exception, header: Header) -> Result:
    """A result that says why a query failed."""
    return Result(
        header=header,
        text=text,
        status=status_of(error),
        message=str(error) or type(error).__name__,
        detections=Detection3DArray(header=header),
    )


def answer_message(
    result: Result, question: str = "", answer: CoreAnswer | None = None, value: CoreValue = NOTHING
) -> Answer:
    """An answer around a result; `value` is that of `answer`, with its point in the header's frame."""
    out = Answer(result=result, question=question, value=value_message(value))
    if answer is not None:
        out.answer, out.said, out.reasoning = answer.answer, answer.said, answer.reasoning
        out.verdict, out.verdict_reason = VERDICTS[answer.verdict], answer.verdict_reason
    return out


def value_message(value: CoreValue) -> Value:
    """A value as a message."""
    out = Value(kind=VALUE_KINDS[value.kind], truth=value.truth, number=float(value.number))
    out.objects = [int(index) for index in value.objects]
    out.point = _point(value.point)
    return out


def pose_message(box: OrientedBox) -> Pose:
    """Centre and orientation of a box."""
    x, y, z, w = box.quaternion
    return Pose(position=_point(box.center), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _point(xyz: Sequence[float]) -> Point:
    return Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))
