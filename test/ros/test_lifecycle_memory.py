"""configure and cleanup, again and again: what a cleaned node holds does not grow."""

import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from n3d_ros.grounding_node import GroundingNode

pytestmark = pytest.mark.ros


def test_after_cleanup_nothing_holds_the_model(model):
    context = rclpy.Context()
    # rclpy keeps the services of a lifecycle node's states until it is collected: those of the next test must not find
    # them, so this node lives in a domain that no other test uses
    rclpy.init(context=context, domain_id=101)
    settings = {"model": model, "backend": "torch", "autostart": False}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    node = GroundingNode(context=context, parameter_overrides=overrides)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        backend = weakref.ref(node._shared.model.backend)
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert backend() is not None
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert backend() is None
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.slow
def test_twenty_cycles_leave_no_more_memory_than_three(model):
    script = Path(__file__).parent.parent / "lifecycle_memory.py"
    command = [sys.executable, str(script), "--cycles", "20", "--model", model, "--backend", "torch", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0, ran.stderr[-2000:]
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["cycles"] == 20
    assert report["growth_mb"] <= 15
    assert report["held_mb"] > 5
