"""Where queries of all clients become jobs of one worker, and their outcomes or failures messages."""

from __future__ import annotations

import time
import traceback
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Header

from n3d_core.errors import N3DError
from n3d_ros.errors import NotActiveError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.msg import Answer, Result
from n3d_ros.node.parameters import ParameterSet
from n3d_ros.outputs.messages import answer_message, failure_message
from n3d_ros.outputs.publishers import Outputs
from n3d_ros.outputs.query_log import QueryLog
from n3d_ros.queries.queue import Job, Worker
from n3d_ros.queries.runner import ASK, WAIT, Progress, QueryRunner
from n3d_ros.queries.tracker import Tracker

NOT_ACTIVE = "the node is not active: configure and activate it"
_DEACTIVATED = "the node was deactivated while the query ran"
STOP_S = 1.0  # a query stops within a decoding step; one that takes longer than this is left behind


class QueryDesk:
    """Takes queries while it is open; what comes while it is closed is told why.

    Args:
        node: for its log, and for the executor that waits for answers.
        settings: read anew for each query.
        outputs: where answers are published.

    Attributes:
        closed_because: why no queries are taken, told to all who ask while it is closed.
    """

    def __init__(self, node: Node, settings: ParameterSet[GroundingParameters], outputs: Outputs) -> None:
        self.worker = Worker()
        self.log = QueryLog()
        self._node = node
        self._settings = settings
        self._outputs = outputs
        self._tracker = Tracker()
        self._runner: QueryRunner | None = None
        self._stopped: float | None = None
        self.closed_because = NOT_ACTIVE

    @property
    def is_open(self) -> bool:
        """Whether queries are taken."""
        return self._runner is not None

    def open(self, runner: QueryRunner) -> None:
        """Takes queries from now on."""
        self._runner = runner

    def shut(self) -> None:
        """Cancels queries and takes no more."""
        self._runner = None
        if not self.worker.cancel_all(NotActiveError(_DEACTIVATED), STOP_S):
            self._node.get_logger().warning(f"the running query did not stop within {STOP_S} s: its result is dropped")

    def stop(self) -> None:
        """Takes no more queries for good and cancels those that are there; waits for nothing."""
        self._stopped = self._stopped or time.monotonic()
        self.worker.stop()

    def close(self) -> None:
        """Ends the worker; a query that does not end within `STOP_S` of the first `stop` is left behind."""
        self.stop()
        assert self._stopped is not None
        self.worker.close(max(0.0, self._stopped + STOP_S - time.monotonic()))

    def ask(self, text: str, mode: int, progress: Progress | None = None, **options: Any) -> Future:
        """Gives a query to the worker; the future's result is an `Answer` message, of failures too.

        `options`: of `Job`.
        """
        future: Future = Future()
        progress = progress or Progress()
        run = partial(self._answer, text, mode, progress)
        done = partial(self._finish, future, text, mode, progress)
        job = Job(run, done, waits=partial(progress.on_stage, WAIT), **options)
        try:
            if not self.is_open:
                raise NotActiveError(self.closed_because)
            self.worker.submit(job)
        except N3DError as error:
            job.done(None, error)
        return future

    def _answer(self, text: str, mode: int, progress: Progress, job: Job) -> Answer:
        """Runs in the worker."""
        runner, now = self._runner, self._settings.value
        if runner is None:
            raise NotActiveError(_DEACTIVATED)
        outcome = runner.run(text, mode, now, job, progress)
        ids = self._tracker.update(outcome.boxes, outcome.frame.stamp_ns) if job.background else ()
        self.log.succeeded(outcome.times, outcome.age_ms)
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
        """Runs in the worker, or where a job was refused."""
        if error is not None:
            failure = failure_message(text, error, self._header(progress))
            answer = answer_message(failure, text if mode == ASK else "")
            self._note(error, answer.result)
        future.set_result(answer)
        if self._node.executor is not None:
            self._node.executor.wake()  # a future does not wake the executor whose coroutine waits for it

    def _header(self, progress: Progress) -> Header:
        """Of a failed query: that of its image, else of the newest image that is known, else the time and no frame."""
        runner = self._runner
        known = progress.image or (runner.frames.newest_header if runner is not None else None)
        return known or Header(stamp=self._node.get_clock().now().to_msg())

    def _note(self, error: Exception, result: Result) -> None:
        self.log.failed(result.status, result.message)
        if not self._node.context.ok() or result.status in (Result.CANCELLED, Result.REPLACED):  # as it was told
            return
        if result.status == Result.MODEL_FAILURE:  # throttled apart, so that bad queries cannot hide it
            self._node.get_logger().error(f"query failed: {told(error)}", throttle_duration_sec=1.0)
        else:
            self._node.get_logger().warning(f"query failed: {error}", throttle_duration_sec=1.0)


def told(error: Exception) -> str:
    """The message of an error that is raised on purpose, the traceback of any other."""
    return str(error) if isinstance(error, N3DError) else "".join(traceback.format_exception(error))
