"""The one thread in which queries run."""

import threading
import time
import weakref

import pytest

from n3d_core.errors import QueryCancelledError
from n3d_ros.errors import BusyError, NotActiveError, ReplacedError
from n3d_ros.queries.queue import Job, Worker


class Probe:
    """A job that runs until it is let go, and remembers how it ended."""

    def __init__(self, background: bool = False, value: int = 0) -> None:
        self.started, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.value, self.result, self.error = value, None, None
        self.job = Job(self._run, self._done, background)

    def _run(self, job: Job) -> int:
        self.started.set()
        while not self.go.wait(0.002):
            if job.cancelled():
                raise QueryCancelledError("at a step")
        return self.value

    def _done(self, result, error) -> None:
        self.result, self.error = result, error
        self.ended.set()


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close(1.0)


def running(worker: Worker, **options) -> Probe:
    probe = Probe(**options)
    worker.submit(probe.job)
    assert probe.started.wait(2)
    return probe


def test_a_job_runs_off_the_callers_thread_and_its_result_comes_back(worker):
    names = []
    probe = Probe(value=7)
    probe.job.run = lambda job: names.append(threading.current_thread().name) or 7
    worker.submit(probe.job)
    assert probe.ended.wait(2)
    assert (probe.result, names, worker.load) == (7, ["n3d-worker"], (0, 0))


def test_reject_refuses_a_second_query_and_serves_the_next_after_the_first(worker):
    worker.policy = "reject"
    first = running(worker)
    with pytest.raises(BusyError, match="queue_policy is 'reject'"):
        worker.submit(Probe().job)
    first.go.set()
    assert first.ended.wait(2)
    running(worker).go.set()


def test_replace_cancels_what_runs_and_what_waits(worker):
    first = running(worker)
    waiting = Probe()
    worker.submit(waiting.job)
    worker.policy = "replace"
    newest = Probe(value=3)
    newest.go.set()
    worker.submit(newest.job)
    for probe in (first, waiting):
        assert probe.ended.wait(2)
        assert isinstance(probe.error, ReplacedError)
        assert str(probe.error).startswith("replaced by a newer query")
    assert newest.ended.wait(2)
    assert newest.result == 3


def test_wait_serves_in_order_up_to_its_capacity(worker):
    worker.capacity = 2
    probes = [running(worker), Probe(value=1), Probe(value=2)]
    order = []
    for probe in probes[1:]:
        probe.job.run = lambda job, value=probe.value: order.append(value)
        worker.submit(probe.job)
    assert worker.load == (1, 2)
    with pytest.raises(BusyError, match="2 queries are already waiting"):
        worker.submit(Probe().job)
    probes[0].go.set()
    assert probes[2].ended.wait(2)
    assert order == [1, 2]


def test_who_waits_is_told_so_before_it_runs_and_who_does_not_wait_is_told_nothing(worker):
    told = []

    def probe(name):
        made = Probe()
        made.job.waits = lambda: told.append(f"{name} waits")
        made.job.run = lambda job, go=made.go: told.append(f"{name} runs") or made.started.set() or go.wait(5)
        worker.submit(made.job)
        return made

    first = probe("first")
    assert first.started.wait(2)
    second = probe("second")
    assert told == ["first runs", "second waits"]
    second.go.set()
    first.go.set()
    assert second.ended.wait(2)
    assert told == ["first runs", "second waits", "second runs"]


def test_a_waiting_job_that_is_cancelled_is_dropped_at_once_and_makes_room(worker):
    worker.capacity = 2
    first, second, third = running(worker), Probe(), Probe(value=3)
    third.go.set()
    second.job.wants_cancel = lambda: True
    worker.submit(second.job)
    worker.submit(third.job)
    worker.drop_cancelled()
    assert second.ended.is_set()
    assert str(second.error) == "cancelled by the client"
    assert (worker.load, first.ended.is_set()) == ((1, 1), False)
    first.go.set()
    assert third.ended.wait(2)
    assert (first.error, third.result) == (None, 3)


@pytest.mark.parametrize("policy", ["reject", "replace", "wait"])
def test_a_background_query_gives_way_to_a_client_under_every_policy(worker, policy):
    worker.policy = policy
    background = running(worker, background=True)
    with pytest.raises(BusyError):
        worker.submit(Probe(background=True).job)
    client = Probe(value=5)
    client.go.set()
    worker.submit(client.job)
    assert client.ended.wait(2)
    assert client.result == 5
    assert isinstance(background.error, ReplacedError)


def test_cancel_all_tells_everyone_and_reports_what_does_not_stop(worker):
    deaf = threading.Event()
    stubborn = Probe()
    stubborn.job.run = lambda job: stubborn.started.set() or deaf.wait(5)
    worker.submit(stubborn.job)
    assert stubborn.started.wait(2)
    waiting = Probe()
    worker.submit(waiting.job)
    deactivated = NotActiveError("the node was deactivated")
    assert worker.cancel_all(deactivated, 0.05) is False
    assert waiting.error is deactivated
    deaf.set()
    assert worker.cancel_all(NotActiveError("again"), 2.0) is True


def test_an_error_in_a_job_goes_to_its_owner_and_the_thread_lives_on(worker):
    broken = Probe()
    broken.job.run = lambda job: 1 // 0
    worker.submit(broken.job)
    assert broken.ended.wait(2)
    assert isinstance(broken.error, ZeroDivisionError)
    running(worker).go.set()


def test_a_closed_worker_takes_nothing():
    worker = Worker()
    assert worker.close(1.0) is True
    with pytest.raises(NotActiveError, match="is shutting down"):
        worker.submit(Probe().job)


def test_workers_that_are_stopped_together_end_together():
    workers = [Worker() for _ in range(3)]
    deaf, stubborn = threading.Event(), [Probe() for _ in range(3)]
    for worker, probe in zip(workers, stubborn, strict=True):
        probe.job.run = lambda job, probe=probe: probe.started.set() or deaf.wait(20)
        worker.submit(probe.job)
        assert probe.started.wait(2)
    waiting = Probe()
    workers[2].submit(waiting.job)
    for worker in workers:
        worker.stop()
    assert [str(probe.job.reason) for probe in stubborn] == ["the node is shutting down"] * 3
    assert isinstance(waiting.error, NotActiveError)
    with pytest.raises(NotActiveError, match="is shutting down"):
        workers[0].submit(Probe().job)
    assert [probe.ended.is_set() for probe in stubborn] == [False] * 3
    deaf.set()
    assert [worker.close(5.0) for worker in workers] == [True] * 3


def test_a_call_returns_or_raises_what_the_work_did_and_the_thread_keeps_nothing_of_it(worker):
    class Model:
        pass

    made = weakref.ref(worker.call(Model))
    end = time.monotonic() + 10
    while made() is not None:
        assert time.monotonic() < end, "the worker holds on to a result"
        time.sleep(0.01)
    with pytest.raises(BusyError, match="no room"):
        worker.call(lambda: (_ for _ in ()).throw(BusyError("no room")))


@pytest.mark.parametrize("policy", ["reject", "replace", "wait"])
def test_a_transition_is_no_query_so_no_policy_refuses_it_or_lets_it_end_one(worker, policy):
    worker.policy, worker.capacity = policy, 0
    left_behind = running(worker, value=3)
    loaded = []
    transition = threading.Thread(target=lambda: loaded.append(worker.call(lambda: "model")))
    transition.start()
    end = time.monotonic() + 5
    while worker.load != (1, 1):
        assert time.monotonic() < end
        time.sleep(0.005)
    left_behind.go.set()
    transition.join(5)
    assert (left_behind.ended.wait(2), left_behind.result, loaded) == (True, 3, ["model"])


def test_a_closed_worker_refuses_a_transition(worker):
    worker.close(1.0)
    with pytest.raises(NotActiveError, match="is shutting down"):
        worker.call(lambda: None)
