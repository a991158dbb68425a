"""What a client is told of a query that waits, and what header a failed one has."""

import threading

import pytest
from action_msgs.msg import GoalStatus
from n3d_ros.action import Query
from n3d_ros.msg import Result
from n3d_ros.srv import Ask, Ground
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header

from n3d_core.errors import UnparsableError
from n3d_core.messages.assembly import nanoseconds_of
from n3d_ros.queries.outcome import GROUND
from test.ros.ready_node import MUG, Source, end, make_ready

pytestmark = pytest.mark.ros


class Model:
    """Grounds a text when it is let go; "nonsense" comes out as such."""

    def __init__(self):
        self.go = threading.Event()
        self.go.set()

    def ground(self, text, **_options):
        assert self.go.wait(20)
        if text == "nonsense":
            raise UnparsableError("'nonsense' is in no language")
        return MUG


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def source(frame):
    return Source(frame)


@pytest.fixture
def node(client, weightless, source, model):
    node = make_ready(client, weightless, source, model.ground)
    yield node
    model.go.set()
    end(node)


def test_a_goal_behind_another_hears_that_it_waits_and_the_first_hears_no_such_thing(client, node, model):
    actions = ActionClient(client.node, Query, "/grounding/query")
    assert actions.wait_for_server(20)
    model.go.clear()
    told = [], []

    def send(heard):
        sent = actions.send_goal_async(Query.Goal(text="mug"), lambda message: heard.append(message.feedback.stage))
        client.until(sent.done)
        return sent.result().get_result_async()

    first = send(told[0])
    client.until(lambda: "prepare" in told[0])
    second = send(told[1])
    client.until(lambda: told[1])
    assert told[1] == ["wait"]
    model.go.set()
    client.until(lambda: first.done() and second.done())
    assert {done.result().status for done in (first, second)} == {GoalStatus.STATUS_SUCCEEDED}
    client.until(lambda: len(told[1]) >= 2)
    assert told == (["image", "prepare"], ["wait", "image"])  # the second query is of the same image


def test_a_second_node_of_the_same_name_is_told_of_the_first(client, weightless, source, node, capfd):
    words = "another node named {} is in the graph: if it still runs, both answer"
    elsewhere = make_ready(client, weightless, source, namespace="/rear")
    assert words.format("/rear/grounding") not in capfd.readouterr().err
    end(elsewhere)
    client.until(lambda: client.node.get_node_names().count("grounding") == 1)
    second = make_ready(client, weightless, source)
    assert words.format("/grounding") in capfd.readouterr().err
    end(second)


def failed(client, text="nonsense"):
    return client.call(Ground, "/grounding/ground", text=text).result


def test_a_query_that_fails_after_its_image_came_has_the_header_of_that(client, node, source):
    result = failed(client)
    assert (result.status, result.header) == (Result.UNPARSABLE, source.messages.color.header)
    assert result.detections.header == result.header
    assert (result.header.frame_id, nanoseconds_of(result.header.stamp)) == ("optical", 1_500_000_001)


def test_a_query_that_fails_before_has_the_header_of_the_newest_image_that_is_known(client, node, source):
    result = failed(client, "")
    assert (result.status, result.header) == (Result.EMPTY_TEXT, source.messages.color.header)


def test_a_failure_without_any_image_has_the_time_and_no_frame(client, node, source):
    source.there.clear()
    before = client.node.get_clock().now().nanoseconds
    answers = [failed(client)]
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    answers.append(client.call(Ask, "/grounding/ask", question="How far?").answer.result)
    after = client.node.get_clock().now().nanoseconds
    assert [answer.status for answer in answers] == [Result.NO_IMAGE, Result.NOT_ACTIVE]
    for answer in answers:
        assert answer.header == Header(stamp=answer.header.stamp, frame_id="")
        assert before <= nanoseconds_of(answer.header.stamp) <= after
        assert answer.detections.header == answer.header


def test_a_query_that_a_deactivation_left_behind_shows_nothing_later(client, node, model, monkeypatch):
    monkeypatch.setattr("n3d_ros.queries.desk.STOP_S", 0.1)
    model.go.clear()
    left = node._desk.ask("mug", GROUND)
    client.until(lambda: node._desk.worker.load == (1, 0))
    assert node.trigger_deactivate() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    published = []
    monkeypatch.setattr(node._outputs, "publish", lambda *given: published.append(given))
    model.go.set()
    client.until(left.done)
    assert left.result().result.status == Result.NOT_ACTIVE
    assert "deactivated while the query ran" in left.result().result.message
    assert published == []


@pytest.mark.parametrize(
    ("frame_id", "words"), [("robot/link/rgbd", "x forward"), ("", "no frame_id"), ("optical", "")]
)
def test_boxes_of_images_whose_frame_is_not_optical_come_with_a_warning(client, node, source, frame_id, words):
    for message in (source.messages.color, source.messages.depth, source.messages.info):
        message.header.frame_id = frame_id
    result = client.call(Ground, "/grounding/ground", text="mug").result
    assert (result.status, len(result.detections.detections)) == (Result.OK, 1)
    assert [words in warning for warning in result.warnings] == ([True] if words else [])
