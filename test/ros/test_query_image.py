"""The image of a query: what is waited for before its turn, and what is not waited for in it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from n3d_core.errors import QueryCancelledError
from n3d_core.messages.assembly import RgbdMessages
from n3d_ros.errors import NoImageError, StaleImageError, TransformError
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.queries import latest_frame
from n3d_ros.queries.latest_frame import LatestFrame
from n3d_ros.queries.models import SharedModel
from n3d_ros.queries.outcome import GROUND, Progress
from n3d_ros.queries.queue import Job
from n3d_ros.queries.runner import QueryRunner

WAITS = GroundingParameters(image_timeout=1.5, transform_timeout=0.3, target_frame="map")
WANTED = [("optical", "depth"), ("map", "optical"), ("odom", "optical")]


class Camera:
    """Shows another image each second, and knows the transforms of those up to the second `placed`.

    `waits`: for how long images and transforms would have been waited for, each with whether the model was held.
    """

    def __init__(self, placed=100):
        self.second, self.placed, self.age_s, self.error = 0, placed, 0.0, None
        self.shared, self.waits, self.asked = SharedModel(None), [], []

    def _note(self, what, timeout_s):
        self.waits.append((what, timeout_s, self.shared._busy.locked()))

    @property
    def newest_header(self):
        return Header(stamp=Time(sec=self.second))

    def newest(self, _bound_ns, _registration):
        if self.error is not None:
            raise self.error
        self.second += 1
        header = Header(stamp=Time(sec=self.second), frame_id="optical")
        return RgbdMessages(Image(header=header), Image(header=header), CameraInfo())

    def now(self):
        return SimpleNamespace(nanoseconds=round((self.second + self.age_s) * 1e9))

    def look_up(self, target, source, stamp_ns, timeout_s, *_cancelled):
        self._note("transform", timeout_s)
        self.asked.append((target, source, stamp_ns))
        if stamp_ns > self.placed * 10**9:
            raise TransformError(f"no transform to {target}")
        return np.eye(3), np.zeros(3)


class Noting(LatestFrame):
    """Notes for how long it would wait for an image, and makes a frame of nothing."""

    def _wait(self, parameters, *options):
        self.source._note("image", parameters.image_timeout)
        return super()._wait(replace(parameters, image_timeout=0.0), *options)

    def read(self, messages, parameters):
        self.source._note("frame", parameters.transform_timeout)
        return SimpleNamespace(frame_id="optical", stamp_ns=messages.color.header.stamp.sec * 10**9)


class Query:
    """The images of one query."""

    def __init__(self, camera, parameters=WAITS):
        self.camera, self.parameters, self.seconds = camera, parameters, []
        self.frames = Noting(camera, camera, camera)

    def seen(self, messages):
        self.seconds.append(messages.color.header.stamp.sec)

    def take(self):
        return self.frames.take(self.parameters, latest_frame.never, self.seen)

    def renew(self, taken):
        return self.frames.renew(taken, self.parameters, latest_frame.never, self.seen)

    def retake(self, taken):
        return self.frames.retake(taken, self.parameters, latest_frame.never, self.seen)


def test_the_transforms_of_an_image_are_those_that_its_frame_will_need():
    camera = Camera()
    header = Header(stamp=Time(sec=7), frame_id="optical")
    messages = RgbdMessages(Image(header=header), Image(header=Header(frame_id="depth")), CameraInfo(), CameraInfo())
    camera.second, camera.newest = 7, lambda _bound_ns, _registration: messages
    leveled = replace(WAITS, refine="depth", gravity_frame="odom")
    assert Query(camera, leveled).take().has_transform
    assert camera.asked == [(name, source, 7 * 10**9) for name, source in WANTED]
    camera.asked.clear()
    plain = replace(WAITS, target_frame="optical", depth_registration="aligned", gravity_frame="odom")
    assert not Query(camera, plain).take().has_transform
    messages.color.header.stamp.sec = -1  # which tf2 cannot hold: the frame is refused for it
    camera.second = -1
    assert not Query(camera, leveled).take().has_transform
    assert camera.asked == []


def test_a_stamp_of_another_clock_is_told_as_that_and_not_as_a_camera_that_stopped():
    camera = Camera()
    camera.second = 1_233  # seconds since the camera was switched on
    camera.age_s = 1_796_000_000.0
    with pytest.raises(
        StaleImageError, match=r"stamped 1970-01-01 00:20 UTC and .* is at 2026-11-30 01:13 UTC"
    ) as raised:
        Query(camera).take()
    assert "camera's own clock" in str(raised.value)
    assert "stopped" not in str(raised.value)


def test_an_image_that_waits_for_its_turn_is_renewed_now_and_then_if_that_needs_no_image_to_be_waited_for(monkeypatch):
    camera = Camera()
    image = Query(camera)
    first = image.take()
    assert image.renew(first) is first
    monkeypatch.setattr(latest_frame, "RENEW_S", 0.0)
    second = image.renew(first)
    assert (first.messages.color.header.stamp.sec, second.messages.color.header.stamp.sec) == (1, 2)
    for error in (NoImageError("none"), StaleImageError("old")):
        camera.error = error
        kept = image.renew(second)
        assert kept.messages is second.messages
        assert kept.tried > second.tried
    assert {timeout for what, timeout, _ in camera.waits[2:] if what == "image"} == {0.0}


def test_in_its_turn_a_query_keeps_its_image_where_the_newest_has_no_transform_yet_and_it_is_fresh():
    camera = Camera(placed=1)
    image = Query(camera)
    first = image.take()
    assert image.retake(first) is first
    assert image.seconds == [1, 2, 1]
    with pytest.raises(TransformError, match="no transform to map"):
        image.retake(first)  # by now it is 2 s old
    camera.error, camera.age_s = NoImageError("they do not pair"), -2.0
    assert image.retake(first) is first
    camera.error = StaleImageError("the camera stopped")
    with pytest.raises(StaleImageError, match="the camera stopped"):
        image.retake(first)


def test_while_a_query_holds_the_model_it_waits_neither_for_images_nor_for_transforms():
    camera = Camera()
    assert camera.shared._busy.acquire(blocking=False)  # another camera's query

    def polled():
        if camera.shared._busy.locked() and len(camera.waits) == 2:
            camera.waits.append("the other query ends")
            camera.shared._busy.release()
        return False

    def look(_frame, _limits, on_event):
        raise QueryCancelledError("far enough")

    camera.shared.model = SimpleNamespace(look=look)
    runner = QueryRunner(camera.shared, Noting(camera, camera, camera), camera)
    with pytest.raises(QueryCancelledError, match="far enough"):
        runner.run("mug", GROUND, WAITS, Job(print, print, wants_cancel=polled), Progress())
    assert camera.waits == [
        ("image", 1.5, True),  # the other query holds it
        ("transform", 0.3, True),
        "the other query ends",
        ("image", 0.0, True),
        ("transform", 0.0, True),
        ("frame", 0.0, True),
        ("transform", 0.0, True),
    ]
    camera.waits.clear()
    with pytest.raises(QueryCancelledError, match="far enough"):
        runner.run("mug", GROUND, WAITS, Job(print, print), Progress())
    assert camera.waits == [
        ("image", 1.5, False),
        ("transform", 0.3, False),
        ("frame", 0.0, True),
        ("transform", 0.0, True),
    ]
