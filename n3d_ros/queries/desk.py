"""Turns queries of all clients into jobs of one worker, and their outcomes or failures into messages."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from n3d_ros.msg import Answer, Result
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Header

from n3d_core.errors import N3DError
from n3d_ros.errors import NotActiveError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.node.parameters import ParameterSet
from n3d_ros.outputs.diagnostics import BackOff, QueryLog
from n3d_ros.outputs.messages import answer_message, failure_message
from n3d_ros.outputs.publishers import Outputs
from n3d_ros.queries.memory import NodeMemory
from n3d_ros.queries.outcome import ASK, WAIT, Outcome, Progress
from n3d_ros.queries.queue import Job, Worker
from n3d_ros.queries.runner import QueryRunner

NOT_ACTIVE = "the node is not active: configure and activate it"
STOP_S = 1.0  # a query stops within a decoding step; one that takes longer than this is abandoned
_DEACTIVATED = "the node was deactivated while the query ran"
_EXPECTED = (Result.CANCELLED, Result.REPLACED)  # ended on request, so not logged


class QueryDesk:
    """Accepts queries while open, and rejects them with the reason while closed.

    Args:
        node: for its log, and for the executor that waits for answers.
        settings: read for each query.
        outputs: where answers are published.
        memory: what remembers the answers.

    Attributes:
        closed_because: why queries are rejected; returned to clients meanwhile.
    """

    def __init__(
        self, node: Node, settings: ParameterSet[GroundingParameters], outputs: Outputs, memory: NodeMemory
    ) -> None:
        self.worker = Worker()
        self.log = QueryLog()
        self._node = node
        self._settings = settings
        self._outputs = outputs
        self._memory = memory
        self._repeats = BackOff()
        self._runner: QueryRunner | None = None
        self._stopped: float | None = None
        self.closed_because = NOT_ACTIVE

    @property
    def is_open(self) -> bool:
        """Whether queries are accepted."""
        return self._runner is not None

    def open(self, runner: QueryRunner) -> None:
        """Starts accepting queries."""
        self._runner = runner

    def shut(self) -> None:
        """Cancels queries and stops accepting them."""
        self._runner = None
        if not self.worker.cancel_all(NotActiveError(_DEACTIVATED), STOP_S):
            self._node.get_logger().warning(f"the running query did not stop within {STOP_S} s: dropping its result")

    def stop(self) -> None:
        """Permanently stops accepting queries and cancels the current ones, without waiting."""
        self._stopped = self._stopped or time.monotonic()
        self.worker.stop()

    def close(self) -> None:
        """Ends the worker; abandons a query that does not end within `STOP_S` of the first `stop`."""
        self.stop()
        assert self._stopped is not None
        self.worker.close(max(0.0, self._stopped + STOP_S - time.monotonic()))

    def ask(
        self,
        text: str,
        mode: int,
        progress: Progress | None = None,
        identify: Callable[[Outcome], Sequence[str]] | None = None,
        **options: Any,
    ) -> Future:
        """Gives a query to the worker; the future's result is an `Answer` message, even for failures.

        Args:
            text, mode: as in Query.action.
            progress: called as the query advances.
            identify: assigns ids to the boxes, in the worker; they are then also published as tracks.
            options: of `Job`.
        """
        future: Future = Future()
        progress = progress or Progress()
        run = partial(self._answer, text, mode, progress, identify)
        done = partial(self._finish, future, text, mode, progress)
        job = Job(run, done, waits=partial(progress.on_stage, WAIT), **options)
        try:
            if not self.is_open:
                raise NotActiveError(self.closed_because)
            self.worker.submit(job)
        except N3DError as error:
            job.done(None, error)
        return future

    def _answer(
        self,
        text: str,
        mode: int,
        progress: Progress,
        identify: Callable[[Outcome], Sequence[str]] | None,
        job: Job,
    ) -> Answer:
        """Runs in the worker."""
        runner, now = self._runner, self._settings.value
        if runner is None:
            raise NotActiveError(_DEACTIVATED)
        outcome = runner.run(text, mode, now, job, progress)
        if self._runner is not runner:  # abandoned by `shut`: do not publish its boxes
            raise NotActiveError(_DEACTIVATED)
        ids = None if identify is None else identify(outcome)
        self.log.succeeded(outcome.times, outcome.age_ms)
        progress.outcome = outcome
        return self._outputs.publish(text, outcome, now, ids)

    def _finish(
        self,
        future: Future,
        text: str,
        mode: int,
        progress: Progress,
        answer: Answer | None,
        error: Exception | None,
    ) -> None:
        """Runs in the worker, or in the caller of a rejected job."""
        if error is not None:
            failure = failure_message(text, error, self._header(progress))
            answer = answer_message(failure, text if mode == ASK else "")
            self._note(error, failure)
        future.set_result(answer)
        if self._node.executor is not None:
            self._node.executor.wake()  # a future does not wake the executor whose coroutine waits for it
        if progress.outcome is not None:  # after the client has its answer, so it does not wait for the memory
            self._memory.look(text, mode, progress.outcome, self._settings.value.transform_timeout)

    def _header(self, progress: Progress) -> Header:
        """Header of a failed query: that of its image, else of the newest known image, else the time and no frame."""
        runner = self._runner
        known = progress.image or (runner.frames.newest_header if runner is not None else None)
        if known is None:
            return Header(stamp=self._node.get_clock().now().to_msg())
        return Header(stamp=known.stamp, frame_id=known.frame_id.lstrip("/"))  # as `frame_of`

    def _note(self, error: Exception, result: Result) -> None:
        self.log.failed(result.status, result.message)
        if not self._node.context.ok() or result.status in _EXPECTED:
            return
        repeats = self._repeats.due(f"{result.status} {result.message}")
        if repeats is None:
            return
        again = f" ({repeats} more times since this was last logged)" if repeats else ""
        if result.status == Result.MODEL_FAILURE:
            reason = str(error) if repeats else error_text(error)  # log the traceback once
            self._node.get_logger().error(f"query failed: {reason}{again}")
        else:
            self._node.get_logger().warning(f"query failed: {error}{again}")


def error_text(error: Exception) -> str:
    """The message of an `N3DError`, the traceback of any other error."""
    return str(error) if isinstance(error, N3DError) else "".join(traceback.format_exception(error))
