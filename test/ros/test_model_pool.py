"""One query at a time uses a model that several cameras share."""

import threading
import time
from types import SimpleNamespace

import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from n3d_core.errors import QueryCancelledError, QueryTimeoutError
from n3d_core.messages.assembly import RgbdMessages
from n3d_core.results import StageStarted
from n3d_ros.errors import ReplacedError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.queries.latest_frame import LatestFrame
from n3d_ros.queries.models import ModelPool, SharedModel
from n3d_ros.queries.outcome import GROUND, Progress
from n3d_ros.queries.queue import Job
from n3d_ros.queries.runner import QueryRunner

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
        pytest.raises(QueryCancelledError, match="cancelled while another camera's query was running"),
        shared.turn(lambda: next(polls), None),
    ):
        pytest.fail("the model is in use")
    assert not over.is_set()


def test_who_waits_for_a_turn_keeps_to_its_time(busy):
    shared, _ = busy
    with pytest.raises(QueryTimeoutError, match="query_timeout"), shared.turn(lambda: False, time.monotonic() + 0.05):
        pytest.fail("the model is in use")


def test_a_query_in_the_background_stops_for_one_of_another_camera_and_never_goes_before_it():
    shared, order = SharedModel(None), []
    holds, begun, served = threading.Event(), threading.Event(), threading.Event()

    def background():
        with shared.turn(lambda: shared.is_wanted, None, background=True):
            holds.set()
            while not shared.is_wanted:
                time.sleep(0.002)
            order.append("gave way")

    def client():
        with shared.turn(lambda: False, time.monotonic() + 20, begun.set) as waited:
            order.append(f"client waited: {waited}")
        served.set()

    threads = [threading.Thread(target=background), threading.Thread(target=client)]
    threads[0].start()
    assert holds.wait(10)
    assert not shared.is_wanted
    threads[1].start()
    assert begun.wait(10)
    assert served.wait(10)
    for thread in threads:
        thread.join(10)
    assert order == ["gave way", "client waited: True"]
    assert not shared.is_wanted
    shared._waiting.add("a client")
    with (
        pytest.raises(QueryCancelledError),
        shared.turn(lambda: shared.is_wanted, None, background=True),
    ):
        pytest.fail("the model is free, and a client waits for it")


@pytest.mark.parametrize("background", [True, False], ids=["continuous", "of a client"])
def test_only_a_continuous_query_is_cancelled_by_a_query_of_another_camera(background):
    shared = SharedModel(None)
    asked, thread = [], threading.Thread(target=lambda: waits_for(shared))

    def ground(_text, cancel, **_options):
        asked.append(cancel())
        thread.start()
        end = time.monotonic() + 10
        while not shared.is_wanted:
            assert time.monotonic() < end
            time.sleep(0.002)
        asked.append(cancel())
        raise QueryCancelledError("far enough")

    shared.model = SimpleNamespace(
        look=lambda frame, _limits, on_event: SimpleNamespace(frame=frame, times={}, ground=ground)
    )
    job = Job(print, print, background=background)
    runner = QueryRunner(shared, Frames(threading.Event()), SimpleNamespace())
    with pytest.raises(QueryCancelledError, match="far enough"):
        runner.run("mug", GROUND, GroundingParameters(), job, Progress())
    thread.join(10)
    assert asked == [False, background]
    assert type(job.reason) is (ReplacedError if background else QueryCancelledError)


def waits_for(shared):
    """Another camera's query."""
    with shared.turn(lambda: False, time.monotonic() + 20):
        pass


class Frames(LatestFrame):
    """A camera that shows another image each time it is asked; it remembers what was taken and what was read."""

    def __init__(self, turn):
        super().__init__(None, None, None)
        object.__setattr__(self, "turn", turn)
        object.__setattr__(self, "events", [])

    def _wait(self, _parameters, _cancelled, _deadline=None):
        number = sum(event[0] == "taken" for event in self.events)
        header = Header(frame_id=f"image {number}")
        self.events.append(("taken", header.frame_id))
        return RgbdMessages(Image(header=header), None, CameraInfo())

    def read(self, messages, _parameters):
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

    def look(given, _limits, on_event):
        on_event(StageStarted("prepare"))
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
    assert told[0].stages == ["image", "wait", "image", "depth", "prepare"]
    assert told[1].stages == ["image", "depth", "prepare"]
    assert told[1].image.frame_id == "image 2"


def test_a_model_is_unloaded_while_another_one_loads(monkeypatch):
    loading, go = threading.Event(), threading.Event()

    def load(choice):
        if choice.name == "slow":
            loading.set()
            assert go.wait(20)
        return Loaded(choice.name)

    monkeypatch.setattr("n3d_ros.queries.models._load", load)
    pool = ModelPool()
    quick, slow = (GroundingParameters(model=name).model_choice for name in ("quick", "slow"))
    shared = pool.acquire(quick)
    loaded = []
    thread = threading.Thread(target=lambda: loaded.append(pool.acquire(slow)))
    thread.start()
    assert loading.wait(10)
    began = time.monotonic()
    pool.release(shared)
    assert pool.acquire(quick) is not shared  # it was unloaded, and is loaded anew
    assert time.monotonic() - began < 5
    go.set()
    thread.join(10)
    assert loaded[0].model == "slow"


def test_a_model_that_cannot_be_loaded_leaves_room_for_the_next_try(monkeypatch):
    tries = iter((OSError("no such file"), Loaded("mended")))

    def load(_choice):
        found = next(tries)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("n3d_ros.queries.models._load", load)
    pool, choice = ModelPool(), GroundingParameters().model_choice
    with pytest.raises(OSError, match="no such file"):
        pool.acquire(choice)
    assert pool.acquire(choice).model == "mended"


class Loaded(SharedModel):
    """A model without weights."""

    def warm_up(self):
        pass
