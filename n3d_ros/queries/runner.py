"""One query, from the newest frame to boxes in the frame the user wants. Runs in the worker; knows no topics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from n3d_core.depth.cleaning import DepthLimits
from n3d_core.errors import EmptyTextError
from n3d_core.geometry.boxes import Box3D, OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.results import Answer, BoxDecoded, Event, Grounding, StageStarted, TextDecoded
from n3d_ros.errors import ReplacedError
from n3d_ros.frames.assembly import RgbdMessages
from n3d_ros.frames.placement import Placement, Refinement
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.queries.frame_source import FrameSource
from n3d_ros.queries.models import SharedModel
from n3d_ros.queries.query_image import QueryImage, Taken
from n3d_ros.queries.queue import Job

GROUND, ASK = 0, 1  # as in Query.action
WAIT = "wait"  # the stage of a query that waits for its turn


@dataclass(frozen=True)
class Outcome:
    """What a query found.

    Attributes:
        frame: the frame it was asked of.
        seen: boxes in the camera's optical frame.
        boxes: the same boxes in the frame `frame_id`.
        times: stage -> milliseconds, in order.
        age_ms: how old the frame was when it was taken.
        warnings: of the model.
        answer: of a question (mode ASK), else None.
        value: the answer as a value, with points in the frame `frame_id`; None where there is none.
    """

    frame: Frame
    seen: list[OrientedBox]
    boxes: list[OrientedBox]
    frame_id: str
    times: dict[str, float]
    age_ms: float
    warnings: Sequence[str] = ()
    answer: Answer | None = None
    value: Any = None


class Progress:
    """What a query tells while it waits and runs; this one tells nobody.

    Attributes:
        image: header of the newest image that the query has taken; None before the first.
    """

    image: Header | None = None

    def on_messages(self, messages: RgbdMessages) -> None:
        """The messages of a frame have been taken."""
        self.image = messages.color.header

    def on_stage(self, stage: str) -> None:
        """A stage has begun."""

    def on_text(self, text_so_far: str) -> None:
        """More text has been decoded."""

    def on_box(self, box: OrientedBox, stamp_ns: int, frame_id: str) -> None:
        """A box is complete, in the output frame."""


@dataclass
class QueryRunner:
    """Answers queries with one model, one source of frames and one source of transforms.

    The last frame's encoding is kept: a second query of the same frame (a paused bag, a slow camera) pays only for its
    own words.
    """

    shared: SharedModel
    frames: FrameSource
    transforms: Transforms
    _view: Any = field(default=None, init=False)
    _limits: DepthLimits | None = field(default=None, init=False)

    def run(self, text: str, mode: int, parameters: GroundingParameters, job: Job, progress: Progress) -> Outcome:
        """Takes the newest frame and grounds `text` in it, or answers it.

        Raises:
            N3DError: see `FrameSource.newest` and `n3d_core.n3d`; nothing else is expected.
        """
        if not text.strip():
            raise EmptyTextError(
                "the text is empty: say what to look for, as in 'red mug', 'mug; bottle' or 'all objects'"
            )
        began = time.monotonic()
        deadline = began + parameters.query_timeout if parameters.query_timeout > 0 else None
        image = QueryImage(self.frames, self.transforms, parameters, job.cancelled, progress.on_messages)
        progress.on_stage("image")
        taken = image.wait()

        def renew() -> None:
            nonlocal taken
            taken = image.renewed(taken)

        cancelled, waits = partial(self._is_cancelled, job), partial(progress.on_stage, WAIT)
        with self.shared.turn(cancelled, deadline, waits, renew, job.background) as waited:
            if waited:  # the image aged meanwhile
                progress.on_stage("image")
                taken = image.newest(taken)
            frame, times = self._read(taken, image.at_once, progress)
            began_to_place = time.monotonic()
            placement = self._placement(frame, image.at_once)
            gravity = self._gravity(frame, placement, image.at_once)
            times["image"] += 1000 * (time.monotonic() - began_to_place)
            known = self._known(frame, parameters)
            view = known or self._look(frame, parameters, progress)
            refinement = Refinement.of(view.frame, gravity, parameters.refine)
            own = parameters.score_threshold
            watch = _Watcher(frame, placement, refinement, own, progress)
            options = {"on_event": watch, "cancel": cancelled, "deadline": deadline}
            reply: Grounding | Answer = (
                view.ask(text, answer_from=parameters.answer_from, **options)
                if mode == ASK
                else view.ground(text, min_score=own if own >= 0 else None, **options)
            )
        spent = {stage: ms for stage, ms in reply.times.items() if known is None or stage not in view.times}
        seen = [_shaped(box, refinement) for box in reply.boxes if box.score >= own]
        warnings = list(reply.warnings)
        if refinement is not None and refinement.gravity is None:
            warnings.append("boxes are not refined: no level plane is seen, and no gravity_frame is named")
        return Outcome(
            frame,
            seen,
            [placement.place(box) for box in seen],
            placement.frame_id,
            {**times, **spent},
            taken.age_ms,
            warnings,
            reply if isinstance(reply, Answer) else None,
            getattr(reply, "value", None),
        )

    def _is_cancelled(self, job: Job) -> bool:
        """Whether the job should stop now; one in the background does for every other, of other cameras too."""
        if job.background and self.shared.is_wanted:
            job.cancel(ReplacedError("a client's query on another camera came first"))
        return job.cancelled()

    def _read(
        self, taken: Taken, parameters: GroundingParameters, progress: Progress
    ) -> tuple[Frame, dict[str, float]]:
        """The frame that was taken, and what that took; depth that is estimated is a stage of its own."""
        estimated = taken.messages.depth is None
        if estimated:
            progress.on_stage("depth")
        began = time.monotonic()
        frame = self.frames.frame(taken.messages, parameters)
        spent = 1000 * (time.monotonic() - began)
        if estimated:
            return frame, {"image": taken.milliseconds, "depth": spent}
        return frame, {"image": taken.milliseconds + spent}

    def _placement(self, frame: Frame, parameters: GroundingParameters) -> Placement:
        if parameters.target_frame in ("", frame.frame_id):
            return Placement(frame.frame_id)
        found = self.transforms.look_up(
            parameters.target_frame, frame.frame_id, frame.stamp_ns, parameters.transform_timeout
        )
        return Placement(parameters.target_frame, *found)

    def _gravity(self, frame: Frame, placement: Placement, parameters: GroundingParameters) -> NDArray[Any] | None:
        """Unit vector along gravity in the optical frame: of `gravity_frame`, else of the output frame, else None."""
        if parameters.refine == "off":
            return None
        if not parameters.gravity_frame:
            return placement.gravity
        rotation, _ = self.transforms.look_up(
            parameters.gravity_frame, frame.frame_id, frame.stamp_ns, parameters.transform_timeout
        )
        return -np.asarray(rotation)[2]

    def _known(self, frame: Frame, parameters: GroundingParameters) -> Any:
        """The kept view, where it is of this frame and these depth limits."""
        if self._view is None or self._limits != parameters.depth_limits or not _same(self._view.frame, frame):
            return None
        return self._view

    def _look(self, frame: Frame, parameters: GroundingParameters, progress: Progress) -> Any:
        self._view = None  # its memory is free before the next is taken
        progress.on_stage("look")
        self._limits = parameters.depth_limits
        self._view = self.shared.model.look(frame, self._limits)
        return self._view


def _same(a: Frame, b: Frame) -> bool:
    """Whether two frames are one image: a stamp alone is not enough where a driver leaves it 0."""
    return (
        (a.stamp_ns, a.frame_id, a.camera) == (b.stamp_ns, b.frame_id, b.camera)
        and np.array_equal(a.color, b.color)
        and np.array_equal(a.depth, b.depth, equal_nan=True)
    )


def _shaped(box: Box3D, refinement: Refinement | None) -> OrientedBox:
    plain = OrientedBox.of(box)
    return plain if refinement is None else refinement.refine(plain)


@dataclass
class _Watcher:
    """Turns the core's events into progress."""

    frame: Frame
    placement: Placement
    refinement: Refinement | None
    threshold: float
    progress: Progress

    def __call__(self, event: Event) -> None:
        if isinstance(event, BoxDecoded):
            self._on_box(event.box)
        elif isinstance(event, TextDecoded):
            self.progress.on_text(event.text_so_far)
        elif isinstance(event, StageStarted):
            self.progress.on_stage(event.stage)

    def _on_box(self, box: Box3D) -> None:
        if box.score >= self.threshold:
            self.progress.on_box(
                self.placement.place(_shaped(box, self.refinement)), self.frame.stamp_ns, self.placement.frame_id
            )
