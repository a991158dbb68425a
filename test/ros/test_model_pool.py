"""One query at a time uses a model that several cameras share."""

import threading
import time
from types import SimpleNamespace

import pytest

from n3d_core.errors import QueryCancelledError, QueryTimeoutError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.model_pool import SharedModel
from n3d_ros.query import GROUND, Progress, QueryRunner
from n3d_ros.worker import Job

pytestmark = pytest.mark.ros


@pytest.fixture
def busy():
    """A model that answers for another camera until the event is set."""
    shared, begun, over = SharedModel(None), threading.Event(), threading.Event()

    def other():
        with shared.turn(lambda: False, None) as waited:
            assert not waited
            begun.set()
            over.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    assert begun.wait(10)
    yield shared, over
    over.set()
    thread.join(10)


def test_a_turn_is_waited_for(busy):
    shared, over = busy
    threading.Timer(0.1, over.set).start()
    with shared.turn(lambda: False, time.monotonic() + 10) as waited:
        assert waited
    with shared.turn(lambda: False, None) as waited:
        assert not waited


def test_who_waits_for_a_turn_hears_that_it_is_cancelled(busy):
    shared, over = busy
    polls = iter((False, False, True))
    with (
        pytest.raises(QueryCancelledError, match="cancelled while the model answered for another camera"),
        shared.turn(lambda: next(polls), None),
    ):
        pytest.fail("the model is in use")
    assert not over.is_set()


def test_who_waits_for_a_turn_keeps_to_its_time(busy):
    shared, _ = busy
    with pytest.raises(QueryTimeoutError, match="query_timeout"), shared.turn(lambda: False, time.monotonic() + 0.05):
        pytest.fail("the model is in use")


def test_a_frame_that_aged_while_another_camera_was_served_is_taken_anew(busy, monkeypatch):
    shared, over = busy
    seen, taken = [], []

    def look(given, _limits):
        seen.append(given)
        raise QueryCancelledError("far enough")

    def take(*_arguments):
        taken.append(SimpleNamespace(frame=f"frame {len(taken)}", placement=None))
        return taken[-1]

    def polled():
        over.set()  # the other query ends while this one waits
        return False

    shared.model = SimpleNamespace(look=look)
    runner = QueryRunner(shared, SimpleNamespace(), SimpleNamespace())
    monkeypatch.setattr(runner, "_take", take)
    job = Job(print, print, wants_cancel=polled)
    for _ in range(2):
        with pytest.raises(QueryCancelledError, match="far enough"):
            runner.run("mug", GROUND, GroundingParameters(), job, Progress())
    assert seen == ["frame 1", "frame 2"]  # the first had waited, the second had not
