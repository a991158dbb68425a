"""One query at a time uses a model that several cameras share."""

import threading
import time
from types import SimpleNamespace

import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from n3d_core.errors import QueryCancelledError, QueryTimeoutError
from n3d_ros.frame_assembly import RgbdMessages
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


class Frames:
    """A camera that shows another image each time it is asked; it remembers what was taken and what was read."""

    def __init__(self, turn):
        self.turn, self.events = turn, []

    def newest(self, _parameters, _cancelled):
        number = sum(event[0] == "taken" for event in self.events)
        header = Header(frame_id=f"image {number}")
        self.events.append(("taken", header.frame_id))
        return RgbdMessages(Image(header=header), None, CameraInfo())

    def frame(self, messages, _parameters):
        """Reads it, which for a camera without depth asks a network."""
        self.events.append(("estimated", messages.color.header.frame_id, self.turn.is_set()))
        return SimpleNamespace(frame_id="optical", name=messages.color.header.frame_id)

    def age_ms(self, _messages):
        return 0.0


class Told(Progress):
    """Remembers the stages."""

    def __init__(self):
        self.stages = []

    def on_stage(self, stage):
        self.stages.append(stage)


def test_who_waits_for_a_turn_is_told_so_takes_the_image_anew_and_estimates_depth_once_in_its_turn(busy):
    shared, over = busy
    seen = []

    def look(given, _limits):
        seen.append(given.name)
        raise QueryCancelledError("far enough")

    def polled():
        over.set()  # the other query ends while this one waits
        return False

    shared.model = SimpleNamespace(look=look)
    frames = Frames(over)
    runner = QueryRunner(shared, frames, SimpleNamespace())
    told = [Told(), Told()]
    for progress in told:
        with pytest.raises(QueryCancelledError, match="far enough"):
            runner.run("mug", GROUND, GroundingParameters(), Job(print, print, wants_cancel=polled), progress)
    assert seen == ["image 1", "image 2"]  # the first query had waited, the second had not
    assert frames.events == [
        ("taken", "image 0"),
        ("taken", "image 1"),
        ("estimated", "image 1", True),
        ("taken", "image 2"),
        ("estimated", "image 2", True),
    ]
    assert told[0].stages == ["image", "wait", "image", "depth", "look"]
    assert told[1].stages == ["image", "depth", "look"]
    assert told[1].image.frame_id == "image 2"
