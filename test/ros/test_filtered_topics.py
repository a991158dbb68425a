"""Sets that message_filters paired, where the executor takes them back while a query reads them."""

from types import SimpleNamespace

import pytest

from n3d_ros.errors import NoImageError
from n3d_ros.inputs.synchronized_topics import FilteredTopics, _slop

TOLERANCE_NS = 20_000_000


class Forgetful(FilteredTopics):
    """Its set is forgotten by the executor right after it was read once."""

    has_depth = True
    required = ()
    _is_waking, _connected = False, None

    def __init__(self, paired):
        self.paired = paired
        self._synchronizer = SimpleNamespace(slop=_slop(TOLERANCE_NS))
        self.color = self.depth = SimpleNamespace(name="/image_raw")

    @property
    def _set(self):
        paired, self.paired = self.paired, None
        return paired

    def wake(self):
        """They are subscribed."""

    def drain(self, _registration):
        return [], [], [], []

    def _refuse_silence(self, *_arrivals):
        """All has come."""

    def _await_depth_info(self, _arrivals):
        """None is wanted."""


def test_a_set_that_is_forgotten_while_it_is_read_is_handed_out_whole():
    topics = Forgetful(("color", "depth", "info"))
    found = topics.newest(TOLERANCE_NS, "auto")
    assert (found.color, found.depth, found.info, found.depth_info) == ("color", "depth", "info", None)
    with pytest.raises(NoImageError, match="message_filters has not paired"):
        topics.newest(TOLERANCE_NS, "auto")
