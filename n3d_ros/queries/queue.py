"""The worker thread in which queries run, and the policy for queries that arrive while it is busy."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from n3d_core.errors import N3DError, QueryCancelledError
from n3d_ros.errors import BusyError, NotActiveError, ReplacedError

T = TypeVar("T")
QUEUE_POLICIES = ("reject", "replace", "wait")
_SHUT_DOWN = "the node is shutting down"
_GAVE_WAY = "a client's query came first"


@dataclass(eq=False)
class Job:
    """Work for the worker.

    Attributes:
        run: does the work; gets the job, and polls `cancelled` between steps.
        done: called once with the result or the error, in the worker or in the thread that drops the job.
        background: gives way to every other job (continuous queries).
        wants_cancel: a further reason to stop, polled with `cancelled` (an action client's request).
        waits: called before `run` if other jobs come first; holds the worker's lock, so it must not call the worker.
    """

    run: Callable[[Job], Any]
    done: Callable[[Any, Exception | None], None]
    background: bool = False
    wants_cancel: Callable[[], bool] = lambda: False
    waits: Callable[[], None] = lambda: None
    _reason: N3DError | None = field(default=None, init=False)

    def cancel(self, reason: N3DError) -> None:
        """Asks the job to stop at its next step; its client gets `reason`."""
        self._reason = self._reason or reason

    def cancelled(self) -> bool:
        """Whether the job should stop now."""
        return self._reason is not None or self.wants_cancel()

    @property
    def reason(self) -> N3DError:
        """Why it was cancelled."""
        return self._reason or QueryCancelledError("cancelled by the client")


class Worker:
    """Runs jobs one at a time in its own thread.

    Args:
        policy: for a job that arrives while another is running: `reject` it, let it `replace` what runs and waits, or
            `wait` for its turn behind at most `capacity` others.
    """

    def __init__(self, policy: str = "wait", capacity: int = 8) -> None:
        self.policy = policy
        self.capacity = capacity
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="n3d-worker", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """Number of running jobs (0 or 1) and of waiting ones."""
        with self._changed:
            return int(self._running is not None), len(self._waiting)

    def submit(self, job: Job) -> None:
        """Queues a job according to the policy.

        Raises:
            BusyError: if the job is rejected.
        """
        with self._changed:
            dropped = self._make_room(job)
            if self._running is not None or self._waiting:
                job.waits()
            self._waiting.append(job)
            self._changed.notify_all()
        for other, reason in dropped:
            other.done(None, reason)

    def call(self, run: Callable[[], T]) -> T:
        """Runs a long task ahead of all waiting jobs, whatever the policy, and waits for it; raises what it raises.

        Raises:
            NotActiveError: if the worker is closed.
        """
        outcome: list[tuple[Any, Exception | None]] = []
        with self._changed:
            if self._closed:
                raise NotActiveError(_SHUT_DOWN)
            self._waiting.appendleft(Job(lambda _job: run(), lambda result, error: outcome.append((result, error))))
            self._changed.notify_all()
        while not outcome:
            time.sleep(0.02)
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    def drop_cancelled(self) -> None:
        """Drops waiting jobs that are cancelled, so that their clients need not wait for the running job."""
        with self._changed:
            dropped = [job for job in self._waiting if job.cancelled()]
            for job in dropped:
                self._waiting.remove(job)
        for job in dropped:
            job.done(None, job.reason)

    def cancel_all(self, reason: N3DError, timeout_s: float) -> bool:
        """Drops waiting jobs, cancels the running one and waits for it; False if it has not ended in time."""
        self._cancel(reason)
        with self._changed:
            return self._changed.wait_for(lambda: self._running is None, timeout_s)

    def stop(self) -> None:
        """Accepts no more jobs, drops the waiting ones and asks the running one to end; does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._cancel(NotActiveError(_SHUT_DOWN))

    def close(self, timeout_s: float) -> bool:
        """Ends the thread; False if the running job has not ended in time."""
        until = time.monotonic() + timeout_s
        self.stop()
        with self._changed:
            ended = self._changed.wait_for(lambda: self._running is None, timeout_s)
        if ended and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, until - time.monotonic()))
        return ended

    def _cancel(self, reason: N3DError) -> None:
        with self._changed:
            dropped = list(self._waiting)
            self._waiting.clear()
            if self._running is not None:
                self._running.cancel(reason)
        for job in dropped:
            job.done(None, reason)

    def _make_room(self, job: Job) -> list[tuple[Job, N3DError]]:
        """Applies the policy; returns the jobs dropped from the queue, to be notified outside the lock."""
        if self._closed:
            raise NotActiveError(_SHUT_DOWN)
        busy = self._running is not None or bool(self._waiting)
        if job.background:
            if busy:
                raise BusyError("another query is running")
            return []
        if self._running is not None and self._running.background:
            self._running.cancel(ReplacedError(_GAVE_WAY))
        background = [waiting for waiting in self._waiting if waiting.background]
        for waiting in background:
            self._waiting.remove(waiting)
        dropped: list[tuple[Job, N3DError]] = [(waiting, ReplacedError(_GAVE_WAY)) for waiting in background]
        foreground = self._waiting or (self._running is not None and not self._running.background)
        if not foreground:
            return dropped
        if self.policy == "reject":
            raise BusyError(
                "another query is running and queue_policy is 'reject'; try again, or set it to wait or replace"
            )
        if self.policy == "replace":
            replaced = ReplacedError("replaced by a newer query (queue_policy is 'replace')")
            dropped += [(waiting, replaced) for waiting in self._waiting]
            self._waiting.clear()
            if self._running is not None:
                self._running.cancel(replaced)
        elif len(self._waiting) >= self.capacity:
            raise BusyError(f"{len(self._waiting)} queries are already waiting (parameter queue_size); try again later")
        return dropped

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                job = self._running = self._waiting.popleft()
            result, error = _outcome(job)
            with self._changed:
                self._running = None
                self._changed.notify_all()
            job.done(result, error)
            del job, result, error  # while waiting, the thread keeps no reference, so a model loaded here can be freed


def _outcome(job: Job) -> tuple[Any, Exception | None]:
    try:
        if job.cancelled():
            return None, job.reason
        return job.run(job), None
    except QueryCancelledError:
        return None, job.reason
    except Exception as error:  # thread boundary: pass the error to the job's owner, who reports it
        return None, error
