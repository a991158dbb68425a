"""Waits for transforms end when their query is cancelled."""

import sys
import time
from types import SimpleNamespace

import pytest

from n3d_core.errors import QueryCancelledError
from n3d_ros.frames.transforms import Transforms


class Silent(Transforms):
    """A buffer that never hears the transform."""

    def __init__(self):
        self.asked = self.heard = 0
        self._topics = None
        self._buffer = SimpleNamespace(can_transform=self.ask)

    def ask(self, *_frames):
        self.asked += 1
        return False

    def listen(self):
        """Nothing is subscribed."""
        self.heard += 1


def test_a_wait_for_a_transform_ends_when_its_query_is_cancelled(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", SimpleNamespace(TransformException=RuntimeError))
    transforms = Silent()
    began = time.monotonic()
    with pytest.raises(QueryCancelledError, match="from 'optical' to 'map'"):
        transforms.look_up("map", "optical", 1, timeout_s=10.0, cancelled=lambda: transforms.asked >= 3)
    assert time.monotonic() - began < 5.0


def test_a_query_that_was_cancelled_before_does_not_subscribe_transforms():
    transforms = Silent()
    with pytest.raises(QueryCancelledError, match="from 'optical' to 'map'"):
        transforms.look_up("/map", "/optical", 1, timeout_s=10.0, cancelled=lambda: True)
    assert (transforms.asked, transforms.heard) == (0, 0)
