"""Transitions beside the executor: what clients see of a node that configures, and of a transition it refuses."""

import threading

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from n3d_ros.msg import Result
from n3d_ros.srv import Ground
from rclpy.lifecycle import TransitionCallbackReturn

from n3d_ros.grounding_node import GroundingNode
from n3d_ros.node.lifecycle import ResponsiveLifecycleNode
from n3d_ros.queries.models import ModelPool
from test.ros.ready_node import Source, make_ready

pytestmark = pytest.mark.ros

WAIT_S = 30.0


class Slow(ResponsiveLifecycleNode):
    """Configures for as long as `loaded` is not set."""

    def __init__(self, **options):
        super().__init__("slow", **options)
        self.loaded = threading.Event()

    def on_configure(self, state):
        return TransitionCallbackReturn.SUCCESS if self.loaded.wait(WAIT_S) else TransitionCallbackReturn.FAILURE


@pytest.fixture
def slow(client):
    node = Slow(context=client.node.context)
    client.executor.add_node(node)
    yield node
    node.loaded.set()
    node.destroy_node()


def state(client):
    return client.call(GetState, "/slow/get_state").current_state.label


def change(client, **transition):
    """The future of a change of state."""
    service = client.node.create_client(ChangeState, "/slow/change_state")
    assert service.wait_for_service(WAIT_S)
    return service.call_async(ChangeState.Request(transition=Transition(**transition)))


def succeeds(client, future):
    client.until(future.done, WAIT_S)
    return future.result().success


def test_a_node_that_configures_answers_and_makes_one_transition_at_a_time(client, slow):
    configured = change(client, id=Transition.TRANSITION_CONFIGURE)
    client.until(lambda: state(client) == "configuring", WAIT_S)
    assert succeeds(client, change(client, id=Transition.TRANSITION_CONFIGURE)) is False
    assert succeeds(client, change(client, id=Transition.TRANSITION_ON_CONFIGURE_SUCCESS)) is False
    assert (state(client), configured.done()) == ("configuring", False)
    slow.loaded.set()
    assert succeeds(client, configured) is True
    assert state(client) == "inactive"
    assert succeeds(client, change(client, label="activate")) is True
    assert state(client) == "active"


def test_a_transition_that_the_state_does_not_allow_is_refused(client, slow):
    for wrong in ({"id": Transition.TRANSITION_ACTIVATE}, {"id": 250}, {"label": "activate"}, {"label": "dance"}):
        assert succeeds(client, change(client, **wrong)) is False
    assert state(client) == "unconfigured"


def test_who_moves_a_node_itself_is_told_that_it_moves_already(client, slow):
    moved = slow.move(slow.trigger_configure)
    with pytest.raises(RuntimeError, match="another transition is in progress"):
        slow.move(slow.trigger_shutdown)
    slow.loaded.set()
    client.until(moved.done, WAIT_S)
    assert (moved.result(), slow.state) == (TransitionCallbackReturn.SUCCESS, "inactive")


class SlowPool(ModelPool):
    """Loads for as long as `loaded` is not set."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared
        self.loaded = threading.Event()

    def acquire(self, choice):
        assert self.loaded.wait(WAIT_S)
        return self.shared


def test_who_asks_while_the_model_is_loaded_is_told_so(client, weightless):
    pool = SlowPool(weightless)
    node = GroundingNode(pool, context=client.node.context)
    client.executor.add_node(node)
    try:
        configured = node.move(node.trigger_configure)

        def ask():
            return client.call(Ground, "/grounding/ground", text="mug").result

        told = "n3d-tiny is loading: ask again once the node is active"
        client.until(lambda: ask().message == told, WAIT_S)
        assert ask().status == Result.NOT_ACTIVE
        pool.loaded.set()
        client.until(configured.done, WAIT_S)
        assert ask().message == "the node is not active: configure and activate it"
    finally:
        pool.loaded.set()
        client.until(configured.done, WAIT_S)
        node.trigger_shutdown()
        node.close()
        node.destroy_node()


@pytest.fixture
def made(client, weightless, frame):
    node = make_ready(client, weightless, Source(frame))
    yield node
    node.close()
    node.destroy_node()


def test_a_transition_that_raises_is_told_releases_everything_and_can_be_tried_again(client, made, monkeypatch, capfd):
    released = []
    monkeypatch.setattr(made._models, "release", released.append)

    def broken():
        raise OSError("no space left")

    monkeypatch.setattr(made._outputs, "clear", broken)
    assert made.trigger_deactivate() == TransitionCallbackReturn.ERROR
    told = capfd.readouterr().err
    assert "on_deactivate failed" in told
    assert "OSError: no space left" in told
    assert (made.state, made._shared, made._topics, len(released)) == ("unconfigured", None, None, 1)
    answer = made._desk.ask("mug", 0).result()
    assert answer.result.status == Result.NOT_ACTIVE
    assert "a transition failed" in answer.result.message
    monkeypatch.undo()
    assert made.trigger_configure() == made.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert made.trigger_shutdown() == TransitionCallbackReturn.SUCCESS


def test_an_events_executor_is_refused_by_name_where_it_would_take_the_images(client, weightless):
    events = pytest.importorskip("rclpy.experimental.events_executor")
    pool = SlowPool(weightless)
    pool.loaded.set()
    node = GroundingNode(pool, context=client.node.context)
    executor = events.EventsExecutor(context=client.node.context)
    executor.add_node(node)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        message = node._desk.ask("mug", 0).result().result.message
        assert "the node spins in an EventsExecutor" in message
        assert "use SingleThreadedExecutor or MultiThreadedExecutor" in message
        assert node._topics is None
    finally:
        executor.remove_node(node)
        node.trigger_shutdown()
        node.close()
        node.destroy_node()
