"""Runs one query, from the newest frame to boxes in the output frame. Runs in the worker; independent of topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.depth.cleaning import DepthLimits
from n3d_core.errors import EmptyTextError
from n3d_core.geometry.boxes import Box3D, OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.reasoning.question import NOTHING, Value
from n3d_core.reasoning.resolve import listed
from n3d_core.results import Answer, BoxDecoded, Event, Grounding, StageStarted, TextDecoded
from n3d_ros.errors import ReplacedError
from n3d_ros.frames.placement import Placement, Refinement, frame_doubts
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.queries.latest_frame import LatestFrame, Taken, at_once
from n3d_ros.queries.memory import NodeMemory
from n3d_ros.queries.models import SharedModel
from n3d_ros.queries.outcome import ASK, DEPTH, IMAGE, WAIT, Outcome, Place, Progress
from n3d_ros.queries.queue import Job

_EMPTY_QUESTION = "the question is empty: ask one, as in 'How far is the red mug from the blue can?'"
_EMPTY_TEXT = "the text is empty: say what to look for, as in 'red mug', 'mug; bottle' or 'all objects'"


Recall = Callable[[str, Sequence[Box3D]], Answer]  # as of `View.ask`


@dataclass
class QueryRunner:
    """Answers queries with one model and one camera.

    The encoding of the last frame is kept: a second query on the same frame (a paused bag, a slow camera) only
    processes its own text.
    """

    shared: SharedModel
    frames: LatestFrame
    transforms: Transforms
    memory: NodeMemory | None = None
    _view: Any = field(default=None, init=False)
    _limits: DepthLimits | None = field(default=None, init=False)

    def run(self, text: str, mode: int, parameters: GroundingParameters, job: Job, progress: Progress) -> Outcome:
        """Takes the newest frame and grounds `text` in it, or answers it.

        Raises:
            N3DError: see `LatestFrame.take` and `n3d_core.n3d`; nothing else is expected.
        """
        if not text.strip():
            raise EmptyTextError(_EMPTY_QUESTION if mode == ASK else _EMPTY_TEXT)
        limit_s = parameters.query_timeout
        deadline = time.monotonic() + limit_s if limit_s > 0 else None
        progress.on_stage(IMAGE)
        taken = self.frames.take(parameters, job.cancelled, progress.on_messages, deadline)

        def renew() -> None:
            nonlocal taken
            taken = self.frames.renew(taken, parameters, job.cancelled, progress.on_messages, deadline)

        cancelled, waits = partial(self._is_cancelled, job), partial(progress.on_stage, WAIT)
        with self.shared.turn(cancelled, deadline, waits, renew, job.background) as waited:
            if waited:  # the image has aged
                progress.on_stage(IMAGE)
                taken = self.frames.retake(taken, parameters, job.cancelled, progress.on_messages)
            query = _Query(text, mode, at_once(parameters), progress, cancelled, deadline)
            return self._in_turn(taken, query)

    def _recall(self, frame: Frame, place: Place | None, parameters: GroundingParameters) -> Recall | None:
        """Answers from memory where the view of a frame has none; None without a memory."""
        if self.memory is None or not self.memory.is_on:
            return None
        return partial(self.memory.answer, frame, place, parameters.transform_timeout)

    def _in_turn(self, taken: Taken, query: _Query) -> Outcome:
        """The part of a query that uses the models, without other waits."""
        frame, times = self._read(taken, query)
        began = time.monotonic()
        shaping = self._shaping(frame, query.parameters)
        times[IMAGE] += 1000 * (time.monotonic() - began)
        place = self.memory.locate(frame) if self.memory is not None else None
        known = self._known(frame, query.parameters.depth_limits)
        view = known or self._look(frame, query)
        shaping = replace(shaping, refinement=Refinement.of(view.frame, shaping.gravity, query.parameters.refine))
        reply = query.ask(view, _Watcher(frame, shaping, query), self._recall(frame, place, query.parameters))
        spent = {stage: ms for stage, ms in reply.times.items() if known is None or stage not in view.times}
        outcome = _outcome(frame, taken.age_ms, {**times, **spent}, reply, shaping, query.parameters.score_threshold)
        return replace(outcome, place=place)

    def _is_cancelled(self, job: Job) -> bool:
        """Whether the job should stop now; a background one also gives way to clients of other cameras."""
        if job.background and self.shared.is_wanted:
            job.cancel(ReplacedError("a client's query on another camera came first"))
        return job.cancelled()

    def _read(self, taken: Taken, query: _Query) -> tuple[Frame, dict[str, float]]:
        """Reads the taken frame; returns it with the stage times. Depth estimation is a separate stage."""
        estimated = taken.messages.depth is None
        if estimated:
            query.progress.on_stage(DEPTH)
        began = time.monotonic()
        frame = self.frames.read(taken.messages, query.parameters)
        spent = 1000 * (time.monotonic() - began)
        if estimated:
            return frame, {IMAGE: taken.milliseconds, DEPTH: spent}
        return frame, {IMAGE: taken.milliseconds + spent}

    def _shaping(self, frame: Frame, parameters: GroundingParameters) -> _Shaping:
        """Output frame and gravity, both from TF at the frame's stamp."""
        placement = Placement(frame.frame_id)
        if parameters.target_frame not in ("", frame.frame_id):
            placement = Placement(parameters.target_frame, *self._transform(parameters.target_frame, frame, parameters))
        return _Shaping(placement, self._gravity(frame, placement, parameters))

    def _gravity(self, frame: Frame, placement: Placement, parameters: GroundingParameters) -> NDArray[Any] | None:
        """Unit vector along gravity in the optical frame: from `gravity_frame`, else the output frame; else None."""
        if not parameters.refines:
            return None
        if not parameters.gravity_frame:
            return placement.gravity
        rotation, _ = self._transform(parameters.gravity_frame, frame, parameters)
        return -np.asarray(rotation)[2]

    def _transform(self, target: str, frame: Frame, parameters: GroundingParameters) -> tuple[NDArray[Any], ...]:
        return self.transforms.look_up(target, frame.frame_id, frame.stamp_ns, parameters.transform_timeout)

    def _known(self, frame: Frame, limits: DepthLimits) -> Any:
        """The kept view, if it has this frame and these depth limits."""
        if self._view is None or self._limits != limits or not _same(self._view.frame, frame):
            return None
        return self._view

    def _look(self, frame: Frame, query: _Query) -> Any:
        self._view = None  # frees its memory before the next view
        self._limits = query.parameters.depth_limits
        self._view = self.shared.model.look(frame, self._limits, on_event=partial(_tell_stage, query.progress))
        return self._view


@dataclass(frozen=True)
class _Query:
    """One query in its turn; its parameters allow no waits."""

    text: str
    mode: int
    parameters: GroundingParameters
    progress: Progress
    cancelled: Callable[[], bool]
    deadline: float | None

    def ask(self, view: Any, watcher: _Watcher, recall: Recall | None) -> Grounding | Answer:
        options: dict[str, Any] = {"on_event": watcher, "cancel": self.cancelled, "deadline": self.deadline}
        if self.mode == ASK:
            options |= {} if recall is None else {"recall": recall}
            return view.ask(self.text, answer_from=self.parameters.answer_from, **options)
        least = self.parameters.score_threshold
        return view.ground(self.text, min_score=least if least >= 0 else None, **options)


@dataclass(frozen=True)
class _Shaping:
    """How the node converts the model's boxes: upright if refined, in the output frame."""

    placement: Placement
    gravity: NDArray[Any] | None
    refinement: Refinement | None = None

    def shape(self, box: Box3D) -> OrientedBox:
        """The box in the optical frame."""
        plain = OrientedBox.of(box)
        return plain if self.refinement is None else self.refinement.refine(plain)

    def warnings(self) -> list[str]:
        if self.refinement is None or self.refinement.gravity is not None:
            return []
        return ["boxes are not refined: no level plane is in view and gravity_frame is not set"]


def _outcome(
    frame: Frame,
    age_ms: float,
    times: dict[str, float],
    reply: Grounding | Answer,
    shaping: _Shaping,
    least: float,
) -> Outcome:
    """A reply in the output frame. Boxes named by the answer's value are kept whatever their score."""
    answer = reply if isinstance(reply, Answer) else None
    value = NOTHING if answer is None else answer.value
    if answer is not None and answer.remembered:
        return _remembered(frame, age_ms, times, answer, shaping)
    kept = [number for number, box in enumerate(reply.boxes) if box.score >= least or number in value.objects]
    seen = [shaping.shape(reply.boxes[number]) for number in kept]
    value = replace(value, objects=tuple(kept.index(number) for number in value.objects))
    return Outcome(
        frame,
        seen,
        [shaping.placement.place(box) for box in seen],
        shaping.placement.frame_id,
        times,
        age_ms,
        [*reply.warnings, *shaping.warnings(), *frame_doubts(frame.frame_id)],
        answer,
        _placed(value, shaping.placement),
    )


def _remembered(frame: Frame, age_ms: float, times: dict[str, float], answer: Answer, shaping: _Shaping) -> Outcome:
    """An answer from memory in the output frame. Its boxes were not seen in this frame."""
    boxes = [shaping.placement.place(OrientedBox.of(box)) for box in answer.boxes]
    names = listed([f"the {one.label}" for one in answer.remembered])
    warning = f"answered from memory, not from this image: {names}, last seen up to {answer.age:.0f} s before it"
    warnings, value = [*answer.warnings, warning], _placed(answer.value, shaping.placement)
    return Outcome(frame, [], boxes, shaping.placement.frame_id, times, age_ms, warnings, answer, value)


def _placed(value: Value, placement: Placement) -> Value:
    """A value with its point in the output frame."""
    return replace(value, point=placement.place_point(value.point)) if value.kind == "position" else value


def _same(a: Frame, b: Frame) -> bool:
    """Whether two frames are the same image: the stamp alone is not enough, as some drivers leave it at 0."""
    return (
        (a.stamp_ns, a.frame_id, a.camera) == (b.stamp_ns, b.frame_id, b.camera)
        and np.array_equal(a.color, b.color)
        and np.array_equal(a.depth, b.depth, equal_nan=True)
    )


def _tell_stage(progress: Progress, event: Event) -> None:
    if isinstance(event, StageStarted):
        progress.on_stage(event.stage)


@dataclass
class _Watcher:
    """Turns the core's events into progress."""

    frame: Frame
    shaping: _Shaping
    query: _Query

    def __call__(self, event: Event) -> None:
        progress = self.query.progress
        if isinstance(event, BoxDecoded):
            if event.box.score >= self.query.parameters.score_threshold:
                placed = self.shaping.placement.place(self.shaping.shape(event.box))
                progress.on_box(placed, self.frame.stamp_ns, self.shaping.placement.frame_id)
        elif isinstance(event, TextDecoded):
            progress.on_text(event.text_so_far)
        else:
            _tell_stage(progress, event)
