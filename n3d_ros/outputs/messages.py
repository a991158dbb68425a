"""Boxes and answers -> messages. Geometry is copied, never changed, here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from n3d_core.geometry.oriented_box import OrientedBox
from n3d_ros.errors import status_of
from n3d_ros.msg import Answer, Result, StageTime
from n3d_ros.node.stamps import stamp_of

VERDICTS = {"verified": Answer.VERIFIED, "contradicted": Answer.CONTRADICTED, "unverifiable": Answer.UNVERIFIABLE}


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
    hypothesis.pose.covariance = _covariance(box.covariance)
    out.results = [hypothesis]
    return out


def detections_message(
    boxes: Sequence[OrientedBox], header: Header, identities: Sequence[str] = ()
) -> Detection3DArray:
    """Boxes as an array with one header; ids are empty where none are given."""
    names = identities or [""] * len(boxes)
    return Detection3DArray(
        header=header, detections=[detection_message(box, header, name) for box, name in zip(boxes, names, strict=True)]
    )


def result_message(
    header: Header, detections: Detection3DArray, times: dict[str, float], warnings: Sequence[str]
) -> Result:
    """A result with status OK; warnings of the model become its message."""
    stages = [StageTime(stage=stage, milliseconds=float(spent)) for stage, spent in times.items()]
    return Result(header=header, status=Result.OK, message="; ".join(warnings), detections=detections, times=stages)


def failure_message(error: Exception, header: Header) -> Result:
    """A result that says what went wrong."""
    text = str(error) or type(error).__name__
    return Result(header=header, status=status_of(error), message=text, detections=Detection3DArray(header=header))


def answer_message(result: Result, question: str = "", answer: Any = None) -> Answer:
    """An answer around a result; `answer` is a core Answer, or None where there is none."""
    out = Answer(result=result, question=question, verdict=Answer.UNVERIFIABLE)
    if answer is not None:
        out.answer, out.reasoning = str(answer.answer), answer.reasoning
        out.verdict = VERDICTS[answer.verdict]
        out.corrected = "" if answer.corrected is None else str(answer.corrected)
        out.verdict_reason = answer.verdict_reason
    return out


def pose_message(box: OrientedBox) -> Pose:
    """Centre and orientation of a box."""
    x, y, z, w = box.quaternion
    center = Point(x=float(box.center[0]), y=float(box.center[1]), z=float(box.center[2]))
    return Pose(position=center, orientation=Quaternion(x=x, y=y, z=z, w=w))


def _covariance(center: tuple[float, ...] | None) -> NDArray[np.float64]:
    """6x6 row-major covariance of a pose: the centre's block; zero where nothing is known."""
    out = np.zeros((6, 6))
    if center is not None:
        out[:3, :3] = np.asarray(center).reshape(3, 3)
    return out.reshape(-1)
