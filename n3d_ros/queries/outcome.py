"""A query's mode, progress and outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from std_msgs.msg import Header

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.memory.observations import Pose
from n3d_core.messages.assembly import RgbdMessages
from n3d_core.reasoning.question import NOTHING, Value
from n3d_core.results import Answer

GROUND, ASK = 0, 1  # as in Query.action
Place = tuple[Pose, Pose | None]  # of the camera and of the odometry's frame in the map
# The node's own stages; `n3d_core` names those of the model.
WAIT, IMAGE, DEPTH = "wait", "image", "depth"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a query.

    Attributes:
        frame: the frame that was queried.
        seen: boxes in the camera's optical frame; none where the answer comes from memory.
        boxes: the same boxes in the frame `frame_id`, or the remembered ones.
        times: milliseconds of each stage, in order.
        age_ms: the frame's age when it was taken.
        warnings: what to know about the result, one sentence each.
        answer: of a question (mode ASK), else None.
        value: the answer as a value, with its point in the frame `frame_id`, and indices of `boxes`.
        place: where the camera was, for the memory; None if that was not known yet, or nothing is remembered.
    """

    frame: Frame
    seen: list[OrientedBox]
    boxes: list[OrientedBox]
    frame_id: str
    times: dict[str, float]
    age_ms: float
    warnings: Sequence[str] = ()
    answer: Answer | None = None
    value: Value = NOTHING
    place: Place | None = None


class Progress:
    """Receives a query's progress; the base class ignores it.

    Attributes:
        image: header of the newest image that the query has taken; None before the first.
        outcome: what it found; None until it has succeeded.
    """

    image: Header | None = None
    outcome: Outcome | None = None

    def on_messages(self, messages: RgbdMessages) -> None:
        """The messages of a frame have been taken."""
        self.image = messages.color.header

    def on_stage(self, stage: str) -> None:
        """A stage has begun."""

    def on_text(self, text_so_far: str) -> None:
        """More text has been decoded."""

    def on_box(self, box: OrientedBox, stamp_ns: int, frame_id: str) -> None:
        """A box is complete, in the output frame."""
