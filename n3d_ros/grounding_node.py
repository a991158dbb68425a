"""The lifecycle node `grounding`: RGB-D topics and queries in, 3D boxes and answers out.

Queries run in a worker thread, so the executor is never blocked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from n3d_core.errors import ConfigError
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.health import InputWatch
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.inputs.synchronized_topics import subscribe_inputs
from n3d_ros.node.lifecycle import ResponsiveLifecycleNode, reported
from n3d_ros.node.parameters import ON_ACTIVATE, ON_CONFIGURE, ParameterSet, refuse_frozen
from n3d_ros.node.running import leave, run_nodes, start_ros
from n3d_ros.outputs.diagnostics import DiagnosticsTopic, input_status, model_status, query_status
from n3d_ros.outputs.publishers import Outputs
from n3d_ros.queries.continuous import ContinuousQuery
from n3d_ros.queries.desk import NOT_ACTIVE, QueryDesk, error_text
from n3d_ros.queries.latest_frame import LatestFrame, RgbdSource
from n3d_ros.queries.memory import NodeMemory
from n3d_ros.queries.models import ModelPool, SharedModel, give_back
from n3d_ros.queries.runner import QueryRunner
from n3d_ros.queries.servers import QueryServers

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class GroundingNode(ResponsiveLifecycleNode):
    """See docs/ros.md for its topics, services, action and parameters.

    Args:
        models: where models are loaded; nodes of one process that share a pool share a model.
        source: where images come from, such as a camera node in the same process; None: the topics.
        options: passed to `rclpy.node.Node`.
    """

    def __init__(self, models: ModelPool | None = None, source: RgbdSource | None = None, **options: Any) -> None:
        super().__init__("grounding", **options)
        self._models = models or ModelPool()
        self._source = source
        self._topics: RgbdTopics | None = None
        self._watch: InputWatch | None = None
        self._shared: SharedModel | None = None
        self._failure = ""  # of the last configure or activate
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # ticks even under use_sim_time with a stopped clock
        self._settings = ParameterSet(self, GroundingParameters)
        self._transforms = Transforms(self)
        self._outputs = Outputs(self)
        self._memory = NodeMemory(self, self._transforms)
        self._desk = QueryDesk(self, self._settings, self._outputs, self._memory)
        self._servers = QueryServers(self, self._desk.ask, self._desk.worker.drop_cancelled)
        self._continuous = ContinuousQuery(self, self._desk, self._outputs, steady)
        self._diagnostics = DiagnosticsTopic(self, self._statuses, steady)
        self._settings.watch(self._check_parameters, self._apply_parameters)
        self._apply_parameters(self._settings.value)

    def start(self) -> None:
        """Configures and activates if the parameter `autostart` is true; a failure leaves the node in its state."""
        if self._settings.value.autostart:
            self.move(lambda: self.trigger_configure() == _SUCCESS and self.trigger_activate())

    def stop(self) -> None:
        """Cancels its queries without waiting."""
        self._desk.stop()

    def close(self) -> None:
        """Ends the worker; abandons a query that does not stop in time."""
        self._desk.close()
        self._memory.close()

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and warms it up."""
        wanted = self._settings.value
        self.get_logger().info(f"loading {wanted.model} (backend {wanted.backend})")
        load = partial(self._models.acquire, wanted.model_choice)
        self._failure = ""
        self._desk.closed_because = f"{wanted.model} is loading: ask again once the node is active"
        try:
            self._shared = self._desk.worker.call(load)
        except Exception as error:
            return self._fail("configure", error)
        self._desk.closed_because = NOT_ACTIVE
        self._memory.open(wanted)
        model = self._shared.model
        purpose = f": {model.purpose}" if model.purpose else ""
        self._outputs.publish_info(f"N3D-VLM {model.name} on {model.backend.name}{purpose}", wanted.model)
        self.get_logger().info(f"{model.name} runs on {model.backend.name}: {model.backend.reason}")
        if model.purpose:
            self.get_logger().info(f"{model.purpose} (model:=FOLDER)")
        if self._shared.monocular is not None:
            self.get_logger().info(f"depth is estimated by {self._shared.monocular.name}")
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes and takes queries."""
        now = self._settings.value
        assert self._shared is not None  # only a configured node is activated
        self._failure, self._desk.closed_because = "", NOT_ACTIVE
        try:
            self._refuse_events_executor()
            self._transforms.open()
            if now.needs_transforms:
                self._transforms.listen()
            if self._source is None:
                self._topics = subscribe_inputs(self, now)
                self._watch = InputWatch(self._topics)
        except Exception as error:
            self._close_inputs()
            return self._fail("activate", error)
        estimate = self._shared.estimate if self._shared.monocular is not None else None
        frames = LatestFrame(self.get_clock(), self._source or self._topics, self._transforms, estimate)
        self._desk.open(QueryRunner(self._shared, frames, self._transforms, self._memory))
        self._warn_of_namesakes()
        self.get_logger().info("active: ready for queries")
        return super().on_activate(state)

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Cancels queries, ends the subscriptions and removes the boxes on display."""
        self._desk.shut()
        self._close_inputs()
        self._outputs.clear()
        self.get_logger().info("inactive: not taking queries")
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unloads the model."""
        self._unload()
        return super().on_cleanup(state)

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Releases everything; called from any state."""
        self.on_deactivate(state)
        self._desk.closed_because = "the node is shut down: restart its process"
        return self.on_cleanup(state)

    @reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Cleans up after a transition that raised, so that the node can be configured again."""
        self._failure = self._failure or "a transition failed; the log has the traceback"
        self._desk.closed_because = self._failure
        for step in (self._desk.shut, self._close_inputs, self._outputs.clear, self._unload):
            try:
                step()
            except Exception as error:  # the cause may persist; still take the other steps
                self.get_logger().error(f"while recovering: {error_text(error)}")
        return super().on_error(state)

    def _close_inputs(self) -> None:
        topics, self._topics, self._watch = self._topics, None, None
        if topics is not None:
            topics.close()
        self._transforms.close()

    def _unload(self) -> None:
        self._memory.close()
        shared, self._shared = self._shared, None
        if shared is not None:
            self._models.release(shared)
            del shared
            give_back()
            self.get_logger().info("cleaned up: the model is unloaded")

    def _warn_of_namesakes(self) -> None:
        """ROS lets two nodes have one name; both then answer every call, and clients take whichever is first."""
        name = self.get_fully_qualified_name()
        spaces = self.get_node_names_and_namespaces()
        if [f"{space.rstrip('/')}/{node}" for node, space in spaces].count(name) > 1:
            self.get_logger().warning(
                f"another node named {name} is in the graph: if it still runs, both answer its services and publish "
                "its topics; stop one, or give it another namespace"
            )

    def _refuse_events_executor(self) -> None:
        """EventsExecutor takes every message itself, and hangs when another thread subscribes (rclpy 7.1)."""
        name = type(self.executor).__name__
        if name == "EventsExecutor" and self._source is None:
            raise ConfigError(
                f"the node spins in an {name}, which leaves no images for queries: use SingleThreadedExecutor or "
                "MultiThreadedExecutor"
            )

    def _check_parameters(self, now: GroundingParameters, wanted: GroundingParameters) -> None:
        frozen = {ON_ACTIVATE: "deactivate the node first"} if self.state in ("activating", "active") else {}
        if self.state not in ("unconfigured", "finalized"):
            frozen[ON_CONFIGURE] = "deactivate and clean up the node first"
        refuse_frozen(now, wanted, frozen)
        if wanted.needs_transforms and self._desk.is_open:
            self._transforms.listen()

    def _apply_parameters(self, now: GroundingParameters) -> None:
        self._desk.worker.policy, self._desk.worker.capacity = now.queue_policy, now.queue_size
        self._continuous.apply(now)

    @property
    def _may_rest(self) -> bool:
        """A simulation or bag that is paused shows no new image, and its last one does not age."""
        return self._settings.value.may_rest and not self.get_clock().ros_time_is_active

    def _statuses(self) -> Sequence[DiagnosticStatus]:
        name = self.get_fully_qualified_name()
        shared, watch = self._shared, self._watch  # a transition may reset them meanwhile
        model = shared.model if shared is not None else None
        load = self._desk.worker.load
        report = None if watch is None else watch.report(self._settings.value, self._may_rest, load != (0, 0))
        return [
            model_status(name, self.state, model, self._failure),
            input_status(name, report),
            query_status(name, self._desk.log.snapshot(), load),
            self._memory.status(),
        ]

    def _fail(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        self._failure = self._desk.closed_because = f"{transition} failed: {error}"
        self.get_logger().error(f"{transition} failed: {error_text(error)}")
        return _FAILURE


def main(args: list[str] | None = None) -> int:
    """Runs one node, or with `--cameras front,rear` one per namespace, sharing one model."""
    cameras, models = start_ros("grounding_node", args, __doc__), ModelPool()
    return run_nodes([partial(GroundingNode, models, namespace=camera) for camera in cameras])


if __name__ == "__main__":
    leave(main())
