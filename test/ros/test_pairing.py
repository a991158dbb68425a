"""Which images belong together, and what their arrival tells."""

from types import SimpleNamespace

import pytest

from n3d_ros.inputs.newest_topic import TopicStatistics
from n3d_ros.inputs.rgbd_topics import nearest, newest_pair

MS = 1_000_000


def stamps(*milliseconds):
    return [SimpleNamespace(stamp_ns=value * MS) for value in milliseconds]


@pytest.mark.parametrize(
    ("color", "depth", "expected"),
    [
        ((0, 33, 66), (0, 33, 66), (66, 66)),
        ((0, 33, 66), (0, 33), (33, 33)),  # the newest depth has not come yet: the newest complete pair
        ((0, 33, 66), (5, 38, 70), (66, 70)),
        ((66, 0, 33), (33, 66, 0), (66, 66)),  # any order
        ((0, 33), (60, 90), None),
        ((), (1,), None),
        ((1,), (), None),
    ],
)
def test_the_newest_colour_image_with_depth_in_bounds_is_taken(color, depth, expected):
    pair = newest_pair(stamps(*color), stamps(*depth), 20 * MS)
    assert (pair and tuple(item.stamp_ns // MS for item in pair)) == expected


def test_the_bound_is_inclusive():
    assert newest_pair(stamps(0), stamps(20), 20 * MS) is not None
    assert newest_pair(stamps(0), stamps(20), 20 * MS - 1) is None


def test_of_images_without_stamps_the_last_that_came_are_taken():
    color, depth, info = ([SimpleNamespace(stamp_ns=0, number=n) for n in range(3)] for _ in range(3))
    pair = newest_pair(color, depth, 20 * MS)
    assert pair is not None
    assert [item.number for item in pair] == [2, 2]
    assert nearest(SimpleNamespace(stamp_ns=5), info).number == 2


def test_nearest_of_nothing_is_none():
    assert nearest(stamps(3)[0], []) is None


def batch(*numbers):
    return [(n, n) for n in numbers]


def test_a_steady_topic_of_which_a_tenth_is_looked_at_has_its_rate_and_no_loss():
    statistics = TopicStatistics()
    statistics._since = 0.0
    for second in range(1, 9):  # 30 Hz, the newest three taken once a second
        statistics.record(batch(30 * second - 2, 30 * second - 1, 30 * second), overflow=True, now=float(second))
    assert statistics.published_hz(now=8.0) == pytest.approx(30, rel=0.15)
    assert statistics.received_share() == 1.0


def test_gaps_inside_a_batch_are_loss():
    statistics = TopicStatistics()
    for second in range(1, 9):
        statistics.record(batch(30 * second - 8, 30 * second - 4, 30 * second), overflow=True, now=float(second))
    assert statistics.received_share() == pytest.approx(3 / 9, abs=0.01)


def test_a_batch_that_did_not_fill_the_queue_is_compared_with_the_last_one():
    statistics = TopicStatistics()
    for number in range(1, 60, 2):  # every second message is lost, one is taken at a time
        statistics.record(batch(number), overflow=False, now=number / 60)
    assert statistics.received_share() == pytest.approx(0.5, abs=0.02)


def test_a_publisher_that_begins_again_is_no_loss():
    statistics = TopicStatistics()
    for number in [*range(1, 20), *range(1, 20)]:
        statistics.record(batch(number), overflow=False, now=number / 30)
    assert statistics.received_share() == 1.0


def test_of_few_messages_nothing_is_concluded():
    statistics = TopicStatistics()
    statistics.record(batch(1, 9), overflow=False, now=0.1)
    assert statistics.received_share() == 1.0


def test_a_silent_topic_falls_to_zero():
    statistics = TopicStatistics()
    statistics.record(batch(1, 2, 3), overflow=True, now=1.0)
    statistics.record([], overflow=False, now=100.0)
    assert statistics.published_hz(now=100.0) == 0.0
