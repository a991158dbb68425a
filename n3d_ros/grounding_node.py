"""The lifecycle node `grounding`: RGB-D topics and queries in, 3D boxes and answers out.

It declares, subscribes, publishes and times. Queries run in a worker thread, so that the executor is never blocked.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future
from rclpy.utilities import remove_ros_args
from std_msgs.msg import String

from n3d_core.errors import N3DError
from n3d_ros import diagnostics
from n3d_ros.errors import NotActiveError
from n3d_ros.frame_source import FrameSource, RgbdSource
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.model_pool import ModelPool, SharedModel
from n3d_ros.msg import Answer, Result
from n3d_ros.outputs import Outputs
from n3d_ros.parameters import ON_ACTIVATE, ON_CONFIGURE, ParameterSet, refuse_frozen
from n3d_ros.query import ASK, GROUND, Progress, QueryRunner
from n3d_ros.query_log import QueryLog
from n3d_ros.query_server import QueryServer
from n3d_ros.results import answer_message, failure_message
from n3d_ros.rgbd_topics import RgbdTopics
from n3d_ros.running import leave, run_nodes
from n3d_ros.tracker import Tracker
from n3d_ros.transforms import Transforms
from n3d_ros.worker import Job, Worker

STOP_S = 1.0  # a query stops within a decoding step; one that takes longer than this is left behind
_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class GroundingNode(LifecycleNode):
    """See docs/ros.md for its topics, services, action and parameters.

    Args:
        models: where models are loaded; nodes of one process that share a pool share a model.
        source: where images come from; None subscribes the topics. A camera node of the same process is one too.
        options: of `rclpy.node.Node`.
    """

    def __init__(self, models: ModelPool | None = None, source: RgbdSource | None = None, **options: Any) -> None:
        super().__init__("grounding", **options)
        self._models = models or ModelPool()
        self._source = source
        self._topics: RgbdTopics | None = None
        self._shared: SharedModel | None = None
        self._runner: QueryRunner | None = None
        self._last_failure = ""
        self._worker = Worker()
        self._tracker = Tracker()
        self._transforms = Transforms(self)
        self._log = QueryLog()
        self._outputs = Outputs(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # ticks under use_sim_time with a stopped clock too
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self._ticker = self.create_timer(1.0, self._ask_again, clock=steady)
        self._settings = ParameterSet(self, GroundingParameters, self._check_parameters, self._apply_parameters)
        self._apply_parameters(self._settings.value)
        self.create_subscription(String, "~/continuous_query", self._on_continuous_query, 1)
        self._server = QueryServer(self, self._ask)

    def start(self) -> None:
        """Configures and activates, if the parameter `autostart` says so; a failure leaves the node unconfigured."""
        if self._settings.value.autostart and self.trigger_configure() == _SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Ends the worker; a query that does not stop within `STOP_S` is left behind."""
        self._worker.close(STOP_S)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and warms it up."""
        wanted = self._settings.value
        self.get_logger().info(f"loading {wanted.model} (backend {wanted.backend})")
        try:
            self._shared = self._in_worker(lambda _job: self._models.acquire(wanted.model, wanted.backend))
        except Exception as error:
            return self._fail("configure", error)
        model = self._shared.model
        self._outputs.publish_info(f"N3D-VLM {model.name} on {model.backend.name}", wanted.model)
        self.get_logger().info(f"{model.name} runs on {model.backend.name}: {model.backend.reason}")
        self._last_failure = ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes and takes queries."""
        now = self._settings.value
        assert self._shared is not None  # only a configured node is activated
        try:
            if now.target_frame:
                self._transforms.listen()
            if self._source is None:
                self._topics = RgbdTopics(self, now.color_transport, now.depth_transport)
        except Exception as error:
            return self._fail("activate", error)
        look_up = partial(self._transforms.look_up, timeout_s=now.transform_timeout)
        frames = FrameSource(self, self._source or self._topics, look_up)
        self._runner = QueryRunner(self._shared, frames, self._transforms)
        self.get_logger().info("active: ready for queries")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Cancels queries and ends the subscriptions."""
        self._runner = None
        if not self._worker.cancel_all("the node was deactivated", STOP_S):
            self.get_logger().warning(f"the running query did not stop within {STOP_S} s: its result is dropped")
        if self._topics is not None:
            self._topics.close()
            self._topics = None
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the model go."""
        if self._shared is not None:
            self._models.release(self._shared)
            self._shared = None
            gc.collect()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets everything go, from any state."""
        self.on_deactivate(state)
        return self.on_cleanup(state)

    # Queries

    def _on_continuous_query(self, message: String) -> None:
        self.set_parameters([Parameter("continuous_query", value=message.data)])

    def _ask_again(self) -> None:
        text = self._settings.value.continuous_query
        if text and self._runner is not None and self._worker.load == (0, 0):
            self._ask(text, GROUND, background=True)

    def _ask(self, text: str, mode: int, progress: Progress | None = None, **options: Any) -> Future:
        """Gives a query to the worker; the future's result is an Answer message, of failures too."""
        future: Future = Future()
        run = partial(self._answer, text, mode, progress or Progress())
        job = Job(run, partial(self._finish, future, text if mode == ASK else ""), **options)
        try:
            if self._runner is None:
                raise NotActiveError(self._last_failure or "the node is not active: configure and activate it")
            self._worker.submit(job)
        except N3DError as error:
            job.done(None, error)
        return future

    def _answer(self, text: str, mode: int, progress: Progress, job: Job) -> Answer:
        """Runs in the worker."""
        runner, now = self._runner, self._settings.value
        if runner is None:
            raise NotActiveError("the node was deactivated")
        outcome = runner.run(text, mode, now, job, progress)
        ids = self._tracker.update(outcome.boxes, outcome.frame.stamp_ns) if job.background else ()
        self._log.succeeded(outcome.times, outcome.age_ms)
        return self._outputs.publish(outcome, now, text if mode == ASK else "", ids)

    def _finish(self, future: Future, question: str, answer: Answer | None, error: Exception | None) -> None:
        """Runs in the worker, or where a job was refused."""
        if error is not None:
            answer = answer_message(failure_message(error), question)
            self._note(error, answer.result)
        future.set_result(answer)
        if self.executor is not None:
            self.executor.wake()  # a future does not wake the executor whose coroutine waits for it

    # The rest

    def _in_worker(self, run: Any) -> Any:
        """Runs something long in the worker while this thread stays open to Ctrl-C."""
        future: Future = Future()
        self._worker.submit(Job(run, lambda result, error: future.set_result((result, error))))
        while not future.done():
            time.sleep(0.02)
        result, error = future.result()
        if error is not None:
            raise error
        return result

    def _check_parameters(self, now: GroundingParameters, wanted: GroundingParameters) -> None:
        frozen = {ON_ACTIVATE: "deactivate the node first"} if self._runner is not None else {}
        if self._shared is not None:
            frozen[ON_CONFIGURE] = "deactivate and clean up the node first"
        refuse_frozen(now, wanted, frozen)
        if wanted.target_frame and self._runner is not None:
            self._transforms.listen()

    def _apply_parameters(self, now: GroundingParameters) -> None:
        self._worker.policy, self._worker.capacity = now.queue_policy, now.queue_size
        self._ticker.timer_period_ns = round(1e9 / now.continuous_rate)
        self._ticker.reset()

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name()
        state = self._state_machine.current_state[1]
        model = self._shared.model if self._shared is not None else None
        now = self._settings.value
        inputs = diagnostics.input_status(name, self._topics, now.pairing_tolerance, now.depth_registration)
        if inputs.level != inputs.OK:
            self.get_logger().warning(inputs.message, throttle_duration_sec=10.0)
        message = DiagnosticArray(
            status=[
                diagnostics.model_status(name, state, model, self._last_failure),
                inputs,
                diagnostics.query_status(name, self._log.snapshot(), self._worker.load),
            ]
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _fail(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        self._last_failure = f"{transition} failed: {error}"
        self.get_logger().error(f"{transition} failed: {_told(error)}")
        return _FAILURE

    def _note(self, error: Exception, result: Result) -> None:
        self._log.failed(result.status, result.message)
        if self.context.ok() and result.status != Result.CANCELLED:  # a cancelled query did what it was asked to
            self.get_logger().warning(f"query failed: {_told(error)}", throttle_duration_sec=1.0)


def _told(error: Exception) -> str:
    """The message of an error that is raised on purpose, the traceback of any other."""
    return str(error) if isinstance(error, N3DError) else "".join(traceback.format_exception(error))


def main(args: list[str] | None = None) -> int:
    """Runs one node, or with `--cameras front,rear` one in each of these namespaces over one loaded model."""
    rclpy.init(args=args)
    parser = argparse.ArgumentParser(prog="grounding_node")
    parser.add_argument(
        "--cameras", default="", help="namespaces, separated by commas; one node each, one model for all"
    )
    cameras = parser.parse_args(remove_ros_args(sys.argv if args is None else args)[1:]).cameras
    models = ModelPool()
    return run_nodes([partial(GroundingNode, models, namespace=name) for name in cameras.split(",")])


if __name__ == "__main__":
    leave(main())
